"""What the page is made of: neighbours, verdicts, bars, curves and figures."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import rcParams
from matplotlib.axes import Axes
from torch.nn import functional as F

from mscon.data.labels import LabelColumn
from mscon.report.counts import TOP, LabelCounts, count_classes, count_numbers, count_paths, count_tags
from mscon.report.course import read_course
from mscon.report.curves import POINTS, read_curves
from mscon.report.matches import compare, difference
from mscon.report.neighbours import choose_queries, nearest
from mscon.report.panels import curve_panels
from mscon.report.probes import Floor, Score, read_probes
from mscon.report.svg import Margins, inline_svg
from mscon.report.text import catalog_name, change, score

CODES = st.lists(st.integers(-1, 5), min_size=1, max_size=60)


@given(CODES, st.integers(1, 15))
def test_queries_are_spread_over_the_classes_as_evenly_as_they_can_be(codes: list[int], count: int) -> None:
    codes_of = np.array(codes, dtype=np.int64)
    chosen = choose_queries(np.arange(len(codes)), codes_of, count=count, seed=0)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, len(codes))
    there = np.bincount(codes_of[codes_of >= 0], minlength=6)
    taken = np.bincount(codes_of[chosen][codes_of[chosen] >= 0], minlength=6)
    left = taken[there > taken]  # a class that could give more has given as many as any other, or one less
    assert left.size == 0 or left.min() >= taken.max() - 1
    if there.sum() >= count:
        assert (codes_of[chosen] >= 0).all()


def test_queries_are_the_same_for_the_same_seed_and_come_in_order_of_class() -> None:
    codes = np.random.default_rng(1).integers(0, 9, 200)
    first, again, other = (choose_queries(np.arange(200), codes, count=12, seed=seed) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()
    assert np.all(np.diff(codes[first]) >= 0)


def test_neighbours_are_those_of_the_largest_cosine_outside_the_querys_group() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = F.normalize(torch.randn(40, 5, generator=generator), dim=1)
    groups = np.arange(40) // 3
    pool, queries = np.arange(2, 40, 2), np.array([4, 7])
    for query, found in zip(queries, nearest(vectors, queries, pool, groups=groups, count=6), strict=True):
        allowed = [row for row in pool.tolist() if groups[row] != groups[query]]
        expected = sorted(allowed, key=lambda row: -float(vectors[row] @ vectors[query]))[:6]
        assert [row for row, _ in found] == expected
        cosines = torch.tensor([cosine for _, cosine in found])
        torch.testing.assert_close(cosines, vectors[expected] @ vectors[query])


def test_a_small_pool_gives_fewer_neighbours_and_never_the_query_itself() -> None:
    vectors = F.normalize(torch.ones(4, 2), dim=1)
    (found,) = nearest(vectors, np.array([1]), np.array([0, 1]), groups=None, count=6)
    assert [row for row, _ in found] == [0]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.2, "above"), (-0.2, -0.01, "below"), (-0.1, 0.1, "level"), (0.0, 0.1, "level"), (None, None, None)],
)
def test_verdict_is_whether_the_interval_of_the_difference_holds_zero(
    low: float | None, high: float | None, verdict: str | None
) -> None:
    assert Floor(Score(0.5, None, None), Score(0.0, low, high)).verdict == verdict


def test_a_probe_is_above_only_when_it_is_above_every_floor() -> None:
    def floor(low: float, high: float) -> dict[str, object]:
        return {"value": 0.5, "difference": {"value": 0.0, "low": low, "high": high}}

    above, level, below = floor(0.1, 0.2), floor(-0.1, 0.1), floor(-0.2, -0.1)
    floors = {"a": [above, above], "b": [above, level], "c": [below, level], "d": []}
    labels = {
        name: {"role": "ood", "metric": "accuracy", "value": 0.5, "floors": dict(zip("xy", each, strict=False))}
        for name, each in floors.items()
    }
    probes = read_probes({"labels": labels})
    assert [probe.verdict for probe in probes] == ["above", "level", "below", None]
    assert all(list(probe.floors) == ["x", "y"] for probe in probes)


@given(st.lists(st.integers(-1, 30), min_size=1, max_size=200))
def test_bars_of_classes_are_all_rows_with_the_rest_and_the_missing_apart(codes: list[int]) -> None:
    column = LabelColumn("colour", "categorical", tuple(f"c{code}" for code in range(31)))
    counts = count_classes(column, np.array(codes, dtype=np.int64))
    rows = [bar.rows for bar in counts.bars if bar.kind == "class"]
    assert sum(bar.rows for bar in counts.bars) == len(codes)
    assert len(rows) == TOP
    assert rows == sorted(rows, reverse=True)
    assert sum(bar.rows for bar in counts.bars if bar.kind == "missing") == codes.count(-1)


@given(st.lists(st.integers(-1, 30), min_size=1, max_size=100))
def test_bars_of_tags_are_the_rows_that_have_them(sets: list[int]) -> None:
    # Set v holds tag v, and every odd set the first tag too.
    members = tuple((code, 0) if code % 2 else (code,) for code in range(31))
    column = LabelColumn("tags", "tags", tuple(f"t{code}" for code in range(31)), members=members)
    counts = count_tags(column, np.array(sets, dtype=np.int64))
    rows = {f"t{tag}": sum(each >= 0 and tag in members[each] for each in sets) for tag in range(31)}
    shown = {bar.name: bar.rows for bar in counts.bars if bar.kind == "class"}
    assert len(shown) == TOP
    assert shown == {name: rows[name] for name in shown}
    assert list(shown.values()) == sorted(rows.values(), reverse=True)[:TOP]
    (rest,) = (bar.rows for bar in counts.bars if bar.kind == "rest")
    assert rest == sum(each >= 0 and any(f"t{tag}" not in shown for tag in members[each]) for each in sets)
    assert sum(bar.rows for bar in counts.bars if bar.kind == "missing") == sets.count(-1)


def test_numbers_on_a_circle_are_compared_the_shorter_way_round() -> None:
    values = np.array([23.0, 1.0, 22.5, np.nan])
    circle, line = (LabelColumn("hour", "continuous", period=period) for period in (24.0, None))
    assert [compare(circle, values, 0, row).sign for row in range(4)] == ["=", "+2", "−0.5", "?"]
    assert compare(circle, values, 1, 0).sign == "−2"
    assert compare(line, values, 0, 1).sign == "−22"
    assert count_numbers(circle, values).summary == "1 to 23, on a circle of 24"


@given(st.lists(st.integers(-1, 2), min_size=1, max_size=30))
def test_bars_of_paths_are_all_rows_by_the_paths_own_names(paths: list[int]) -> None:
    column = LabelColumn("kind", "hierarchy", ("a", "a/x", "b"), members=((0,), (0, 1), (2,)))
    counts = count_paths(column, np.array(paths, dtype=np.int64))
    assert {bar.name: bar.rows for bar in counts.bars if bar.kind == "class"} == {
        name: paths.count(code) for code, name in enumerate(("a", "a/x", "b"))
    }
    assert sum(bar.rows for bar in counts.bars) == len(paths)
    assert counts.summary == "3 paths of up to 2 levels"


def test_a_difference_has_a_sign_and_few_digits() -> None:
    found = [difference(each) for each in (3.0, -0.254, 0.0, 1234.5, -100.0, 0.00012)]
    assert found == ["+3", "−0.25", "=", "+1,234", "−100", "+0.00012"]


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=60))
def test_bars_of_numbers_are_all_rows(values: list[float]) -> None:
    counts = count_numbers(LabelColumn("price", "continuous"), np.array(values))
    assert sum(bar.rows for bar in counts.bars) == len(values)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).integers(2**62, 2**63 - 1, 200).astype(np.float64),
        1.0 + np.arange(9) * 2.0**-52,
        1.0 + np.arange(200) % 3 * 2.0**-52,
        np.array([-1.7e308, 1.7e308, *(np.linspace(-1.0, 1.0, 50) * 1e308)]),
        np.array([5e-324, *np.arange(20) * 1e-320]),
    ],
    ids=["beyond whole floats", "neighbours", "three neighbours", "from end to end", "next to nothing"],
)
def test_bars_of_odd_numbers_are_all_rows(values: np.ndarray) -> None:
    counts = count_numbers(LabelColumn("price", "continuous"), values)
    assert sum(bar.rows for bar in counts.bars) == len(values)
    assert len({bar.name for bar in counts.bars}) == len(counts.bars) or np.ptp(values) < 1e-10


def test_whole_numbers_are_counted_in_whole_steps() -> None:
    def names(counts: LabelCounts) -> list[tuple[str, int]]:
        return [(bar.name, bar.rows) for bar in counts.bars]

    column = LabelColumn("year", "continuous")
    few = count_numbers(column, np.array([2007.0, 2009.0, 2009.0, np.nan]))
    assert names(few) == [("2007", 1), ("2008", 0), ("2009", 2), ("missing", 1)]
    many = count_numbers(column, np.arange(2000.0, 2012.0))
    assert names(many)[0] == ("2000 – 2001", 2)
    assert len(many.bars) == 6


def test_a_long_curve_is_averaged_and_its_gaps_stay_gaps() -> None:
    terms = [{"a": {"relative_excess": None if step < 500 else step / 1000}} for step in range(1000)]
    records = [{"kind": "train", "step": step, "terms": each} for step, each in enumerate(terms)]
    curve = read_curves(records, ["a"])["a"].train.relative_excess
    assert len(curve.steps) == POINTS
    assert np.isnan(curve.values[0])
    known = np.isfinite(curve.values)
    np.testing.assert_allclose(curve.values[known], np.maximum(curve.steps[known], 500) / 1000, atol=2e-3)


def line(kind: str, step: int, floor: float = 3.0, weight: float = 1.0) -> dict[str, Any]:
    term = {"loss": floor + 1.0, "floor": floor, "chance": floor + 2.0, "excess": 1.0, "relative_excess": 0.5}
    return {"kind": kind, "step": step, "total": 0.5, "terms": {"a": term | {"weight": weight}}}


def test_held_out_losses_have_bounds_of_their_own_drawn_where_they_differ_from_those_of_training() -> None:
    def dashes(floor: float) -> int:
        lines = [line(kind, step, 3.0 if kind == "train" else floor) for step in (1, 2) for kind in ("train", "val")]
        curves = read_curves(lines, ["a"])
        assert curves["a"].held_out.floor.values.tolist() == [floor, floor]
        assert curves["a"].train.floor.values.tolist() == [3.0, 3.0]
        return curve_panels(curves, read_course(lines, ["a"]))["a"]["loss, nats"].count("stroke-dasharray")

    assert (dashes(3.0), dashes(1.5)) == (2, 4)


def test_weights_are_read_where_more_is_logged_of_them() -> None:
    train = [line("train", step, weight=2.0) for step in (3, 6)]
    held_out = [line("val", step, weight=0.5) for step in (2, 4, 6)]
    weights = [read_curves(lines, ["a"])["a"].weight for lines in (train + held_out, train + held_out[:2], held_out)]
    assert [weight.values.tolist() for weight in weights] == [[0.5] * 3, [2.0] * 2, [0.5] * 3]


def test_of_a_similarity_without_labels_no_noise_in_them_is_told() -> None:
    names, lines = ["a", "appearance"], []
    for step in (1, 2):
        of_a = line("val", step)
        both = {"terms": dict.fromkeys(names, of_a["terms"]["a"])}
        lines.append(of_a | both | {"trust": {name: {"noise_share": step / 4} for name in names}})
    course = read_course(lines, names, ["a"])
    panels = curve_panels(read_curves(lines, names), course)
    assert ["noise share" in panels[name] for name in names] == [True, False]
    assert [end.noise_share for end in course.ends] == [0.5, None]


@pytest.mark.parametrize("steps", [1, 2])
def test_a_curve_of_a_single_point_has_a_mark(steps: int) -> None:
    lines = [line("train", step) for step in range(steps)]
    panels = curve_panels(read_curves(lines, ["a"]), read_course(lines, ["a"]))["a"]
    assert list(panels) == ["loss, nats", "excess, nats", "relative excess", "weight"]
    for panel in panels.values():
        assert bool(re.search(r"<use[^>]*var\(--model\)", panel)) == (steps == 1)


def test_a_figure_leaves_matplotlibs_settings_as_they_were() -> None:
    before = dict(rcParams)

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1])

    margins = Margins(left=9, bottom=9, right=9, top=9)
    svg = inline_svg(draw, name="f", alt='<"&>', width=90, height=60, margins=margins)
    assert dict(rcParams) == before
    assert 'aria-label="&lt;&quot;&amp;&gt;"' in svg
    assert "<style" not in svg
    assert inline_svg(draw, name="f", alt="", width=90, height=60, margins=margins) in svg.replace(
        "&lt;&quot;&amp;&gt;", ""
    )


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("glyphs", "glyphs"),
        ("/data/shoes.parquet", "shoes"),
        ("/data/shoes/*.parquet", "shoes"),
        ("*.parquet", "*.parquet"),
        ("https://host/shoes.csv", "shoes"),
        ("shoes/", "shoes"),
    ],
)
def test_a_catalog_is_called_by_the_last_part_of_its_address(source: str, name: str) -> None:
    assert catalog_name(source) == name


def test_numbers_have_a_true_minus_and_no_negative_zero() -> None:
    assert [score(value) for value in (0.8049, -0.3, -0.0001, None)] == ["0.805", "−0.300", "0.000", "–"]
    assert [change(value) for value in (0.01, -0.01, -0.0001)] == ["+0.010", "−0.010", "+0.000"]

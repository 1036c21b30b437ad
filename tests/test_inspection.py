"""Inspection: what it counts, and what it warns of before anything is trained."""

import math
import re
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from mscon.errors import UserError
from mscon.inspection import ColumnFacts, Redundancy, batch_facts, column_facts, inspect, larger_batches, show
from mscon.inspection.warnings import reading_warnings, redundancy_warnings
from mscon.prepare import prepare, training_batches
from mscon.recipe import Recipe

RNG = np.random.default_rng(0)


def test_batches_counts_and_gaps(tiny: dict) -> None:
    recipe = Recipe.of(tiny, {"similarities.instance": {}})
    data = prepare(recipe)
    facts = inspect(recipe, data)
    table = pl.read_parquet(recipe.catalog.source)
    assert facts.rows == len(table)
    assert sum(facts.split.values()) == len(table)
    columns = {column.name: column for column in facts.columns}
    assert columns["character"].classes == dict(table["character"].value_counts().iter_rows())
    assert columns["typeface"].role == "ood"
    assert columns["ink"].low == pytest.approx(table["ink"].min())
    batches = {each.name: each for each in facts.batches}
    assert batches["instance"].positives == pytest.approx(1.0)
    assert batches["instance"].floor == pytest.approx(0.0)
    assert batches["character"].chance == pytest.approx(math.log(63))
    assert batches["character"].lonely < 0.01
    # 64 rows, 5 classes of about the same size: each anchor has about 11.8 positives.
    assert batches["character"].positives == pytest.approx(11.8, rel=0.15)


def linked(tiny: dict, folder: Path) -> Recipe:
    """A recipe that learns `like` from a table of pairs alone."""
    table = (
        pl.read_parquet(tiny["catalog"]["source"]).with_row_index("item").with_columns(pl.col("item").cast(pl.String))
    )
    table.write_parquet(folder / "letters.parquet")
    train, test = (table.filter(split=part)["item"].to_list() for part in ("train", "test"))
    pairs = [*zip(train[::2], train[1::2], strict=False), (test[0], test[1]), (test[0], train[0]), (test[2], test[3])]
    strengths = [1] * (len(pairs) - 1) + [-1]
    ends = dict(zip(("first", "second"), zip(*pairs, strict=True), strict=True))
    pl.DataFrame({**ends, "strength": strengths}).write_csv(folder / "pairs.csv")
    edges = {"kind": "pairs", "edges": str(folder / "pairs.csv")}
    catalog = {"source": str(folder / "letters.parquet"), "id": "item"}
    return Recipe.of(tiny | {"catalog": catalog, "similarities": {"like": edges}})


def test_a_table_of_pairs_is_counted_by_split(tiny: dict, tmp_path: Path) -> None:
    recipe = linked(tiny, tmp_path)
    data = prepare(recipe)
    facts = inspect(recipe, data)
    (found,) = facts.links
    train = len(data.split.train) // 2
    assert found.linked == {"train": train, "val": 0, "test": 1}
    assert (found.across, found.apart, found.items) == (1, 1, 2 * train + 2)
    console = Console(file=StringIO(), width=200)
    show(facts, console)
    printed = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert re.search(rf"like +{train:,} +0 +1 +1 +1 +{facts.rows - found.items:,} *\n", printed)
    assert "most frequent" not in printed, "there is no label to tell of"


@pytest.mark.parametrize(
    ("cells", "kind", "said"),
    [
        ([1.0, 2.0, None, 3.0], None, "a: read as numbers, though they are few and whole"),
        ([1.0, 2.0, None, 3.0], "continuous", None),
        ([1.0, 2.0, 1.0, 3.0], None, None),  # without a gap a table keeps what it was given
        ([1.0, 2.5, None, 3.0], None, None),
        (["x", "y", "N/A", "x"], None, r"a: 'N/A' \(60 items\) is read as a class like any other"),
        (["x", "None", "null", "x"], None, r"a: 'None', 'null' \(120 items\)"),
        (["x", "nano", "nonesuch", None], None, None),
        ([["x", "y"], ["x", "N/A"], ["x"], ["x"]], "hierarchy", "a: 'x/N"),
    ],
)
def test_labels_that_are_perhaps_read_amiss_are_told_of(
    tiny: dict, tmp_path: Path, cells: list[Any], kind: str | None, said: str | None
) -> None:
    table = pl.read_parquet(tiny["catalog"]["source"]).head(240).with_columns(pl.Series("a", cells * 60))
    table.with_columns(split=pl.Series(["train", "train", "val", "test"] * 60)).write_parquet(tmp_path / "a.parquet")
    similarities = {"a": {"kind": kind} if kind else {}}
    recipe = Recipe.of(tiny | {"catalog": {"source": str(tmp_path / "a.parquet")}, "similarities": similarities})
    found = list(reading_warnings([column_facts("a", recipe, prepare(recipe))]))
    assert len(found) == (said is not None)
    assert said is None or re.match(said, found[0])


@pytest.mark.parametrize(("days", "warned"), [(100, True), (30, False)])
def test_dates_that_are_nearly_all_different_are_told_of(days: int, warned: bool) -> None:
    dates = [str(date(2024, 1, 1) + timedelta(days=row % days)) for row in range(120)]
    counts = dict(Counter(dates))
    facts = ColumnFacts("day", "similarity", "categorical", {}, 0, counts)
    assert [each.startswith("day: dates are read as classes") for each in reading_warnings([facts])] == [True] * warned


def test_a_class_that_no_training_item_has_is_told(tiny: dict) -> None:
    recipe = Recipe.of(tiny)
    data = prepare(recipe)
    new = data.values["character"][data.split.test[0]]
    data.values["character"][data.split.train] = np.where(
        data.values["character"][data.split.train] == new, -1, data.values["character"][data.split.train]
    )
    name = data.labels["character"].classes[new]
    facts = inspect(recipe, data)
    assert {column.name: column.untrained for column in facts.columns}["character"] == (name,)
    assert any(f"character: 1 class has no item in train ({name!r})" in line for line in facts.warnings)


def test_pairs_across_splits_are_told_and_leave_nobody_alone(tiny: dict, tmp_path: Path) -> None:
    recipe = linked(tiny, tmp_path)
    data = prepare(recipe)
    train, test = data.split.train, data.split.test
    edges = np.array([[train[0], train[1]], *([train[2 + i], test[i]] for i in range(30))])
    data.pairs["like"] = replace(data.pairs["like"], edges=edges, strength=np.ones(31))
    facts = inspect(recipe, data)
    assert (facts.links[0].linked["train"], facts.links[0].across) == (1, 30)
    assert facts.batches[0].lonely == 0.0, "who is linked across splits alone is asked by no batch"
    assert any("like: 97% of its pairs have their items in different splits" in line for line in facts.warnings)


def test_a_path_that_training_never_sees_is_told_though_its_nodes_are_known(tiny: dict, tmp_path: Path) -> None:
    table = pl.read_parquet(tiny["catalog"]["source"])
    stops = pl.when(pl.col("split") == "test").then(pl.lit("a")).otherwise(pl.lit("a/") + pl.col("character"))
    table.with_columns(path=stops).write_parquet(tmp_path / "letters.parquet")
    recipe = Recipe.of(
        tiny
        | {"catalog": {"source": str(tmp_path / "letters.parquet")}, "similarities": {"path": {"kind": "hierarchy"}}}
    )
    (column,) = inspect(recipe, prepare(recipe)).columns
    assert column.untrained == ("a",)
    assert column.classes["a"] == len(table)


@pytest.mark.parametrize(
    ("change", "sampler"),
    [
        ({}, "items of a class"),
        ({"training.sampler": "character", "training.per_class": 8}, None),
        ({"similarities.character.kind": "tags"}, None),
        ({"image.cache": False}, None),  # read row group by row group
    ],
)
def test_a_sampler_is_proposed_where_it_would_help(tiny: dict, change: dict, sampler: str | None) -> None:
    recipe = Recipe.of(tiny, {"training.views_per_item": 1} | change)
    facts = {each.name: each for each in batch_facts(recipe, prepare(recipe))}["character"]
    assert facts.sampler == sampler
    assert ("training.sampler" in larger_batches("character", facts.sampler)) == (sampler is not None)


def test_a_training_that_takes_the_sampler_that_is_proposed_begins(tiny: dict) -> None:
    """Of 5 classes a batch of 32 cannot hold 4 items each; 6 labelled items fill none at all."""
    recipe = Recipe.of(tiny, {"training.views_per_item": 1, "similarities.style": {}})
    data = prepare(recipe)
    data.values["style"][:] = -1
    data.values["style"][data.split.train[:6]] = [0, 0, 1, 1, 2, 2]
    facts = {each.name: each for each in batch_facts(recipe, data)}
    assert facts["style"].sampler is None
    advice = larger_batches("character", facts["character"].sampler, facts["character"].per_class)
    taken = dict(re.findall(r"(training\.\w+) = '?(\w+)", advice))
    assert list(taken) == ["training.sampler", "training.per_class"]
    changed = Recipe.of(tiny, taken | {"training.per_class": int(taken["training.per_class"])})
    assert len(training_batches(changed, data)) > 0


def test_redundant_labels_and_lonely_anchors_are_warned_of(tiny: dict) -> None:
    recipe = Recipe.of(tiny, {"similarities.style": {}})
    data = prepare(recipe)
    data.values["style"][:] = -1
    data.values["style"][data.split.train[:6]] = [0, 0, 1, 1, 2, 2]
    data.values["character"][:] = data.values["weight"]
    warnings = inspect(recipe, data).warnings
    assert any("character and weight share 100%" in line for line in warnings)
    assert any("style" in line and "find no other that is alike" in line for line in warnings)


def test_hours_of_other_days_are_the_same_hours(tiny: dict, tmp_path: Path) -> None:
    rows = pl.int_range(pl.len())
    table = pl.read_parquet(tiny["catalog"]["source"]).with_columns(
        hour=((rows * 7) % 240) / 10, any_day=((rows * 7) % 240 + 240 * ((rows * 5) % 11)) / 10
    )
    table.write_parquet(tmp_path / "hours.parquet")
    circles = {f"similarities.{name}.period": 24.0 for name in ("hour", "any_day")}
    recipe = Recipe.of(tiny, circles | {"catalog.source": str(tmp_path / "hours.parquet")})
    data = prepare(recipe)
    np.testing.assert_array_equal(data.values["hour"], data.values["any_day"])
    facts = inspect(recipe, data)
    assert {each.shared for each in facts.redundancy if {each.first, each.second} == {"hour", "any_day"}} == {1.0}
    console = Console(file=StringIO(), width=200)
    show(facts, console)
    assert "0 … 23.9, on a circle of 24" in console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    floors = {each.name: each.floor for each in facts.batches}
    assert floors["hour"] == floors["any_day"]


def test_labels_that_say_the_same_are_warned_of_once_and_by_what_the_weighting_does() -> None:
    pairs = [Redundancy("a", "b", 0.9), Redundancy("b", "c", 0.6), Redundancy("a", "c", 0.2), Redundancy("a", "o", 1.0)]

    def said(weighting: object, **copies: str) -> str:
        (warning,) = redundancy_warnings(pairs, ("o",), weighting=weighting, copies=copies)
        return warning

    for weighting in ("equal", "uncertainty", {"a": 1.0}):
        assert said(weighting).startswith("a, b, c and o share 60% to 100% of what the coarser one says, each with")
        assert "Together they may count twice: leave one out, or set objective.weighting = 'excess'" in said(weighting)
    assert "counts once" in said("excess")
    assert "leave one out" not in said("excess")
    assert "b repeats a: a copy learns without leading the encoder" in said("excess", b="a")
    assert "o can't test what an embedding knows beyond a, b and c" in said("excess")
    (only,) = redundancy_warnings([Redundancy("a", "o", 1.0)], ("o",), weighting="equal", copies={})
    assert only == "a and o share 100% of what the coarser one says. o can't test what an embedding knows beyond a."


def test_pairs_of_labels_that_share_little_have_one_row_together(tiny: dict) -> None:
    recipe = Recipe.of(tiny)
    facts = inspect(recipe, prepare(recipe))
    shares = [0.3, 0.05, 0.049, 0.0]
    pairs = [Redundancy("one", str(number), share) for number, share in enumerate(shares)]
    console = Console(file=StringIO(), width=200)
    show(replace(facts, redundancy=pairs), console)
    printed = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert re.findall(r"one · (\d) +(\d+%)", printed) == [("0", "30%"), ("1", "5%")]
    assert re.search(r"2 other pairs +below 5%", printed)
    console = Console(file=StringIO(), width=200)
    show(replace(facts, redundancy=pairs[3:]), console)
    assert re.search(r"\n1 pair +below 5%", console.file.getvalue())  # pyright: ignore[reportAttributeAccessIssue]
    assert "positives: other views that one is pulled to" in printed
    assert "0% nothing" in printed


def test_an_item_that_a_batch_holds_twice_is_alone_all_the_same(tiny: dict) -> None:
    recipe = Recipe.of(tiny, {"training.sampler": "character", "training.per_class": 2})
    data = prepare(recipe)
    data.values["character"][:] = np.arange(len(data.catalog))
    assert {each.name: each.lonely for each in batch_facts(recipe, data)}["character"] == 1.0


@pytest.mark.parametrize("sampler", ["random", "character"])
def test_batches_larger_than_there_can_be_are_told_of_and_the_largest_are_looked_at(tiny: dict, sampler: str) -> None:
    recipe = Recipe.of(tiny, {"training.batch_size": 100_000, "training.sampler": sampler})
    data = prepare(recipe)
    facts = inspect(recipe, data)
    told = re.search(r"needs as many items.* -s training\.batch_size=(\d+)\.", facts.warnings[0])
    assert told
    most = int(told[1])
    assert most == {"random": len(data.split.train), "character": 5 * recipe.training.per_class}[sampler]
    possible = Recipe.of(recipe.model_dump(), {"training.batch_size": most})
    assert facts.batches == inspect(possible, data).batches
    training_batches(possible, data)
    with pytest.raises(
        UserError, match=re.escape(recipe.catalog.source) + r": training\.batch_size: a batch of 100,000"
    ):
        training_batches(recipe, data)


def test_a_label_that_no_training_item_has_is_refused(tiny: dict, tmp_path: Path) -> None:
    table = pl.read_parquet(tiny["catalog"]["source"])
    gone = pl.when(pl.col("split") == "train").then(None).otherwise(pl.col("character"))
    table.with_columns(character=gone).write_parquet(tmp_path / "letters.parquet")
    recipe = Recipe.of(tiny, {"catalog.source": str(tmp_path / "letters.parquet")})
    with pytest.raises(UserError, match=r"'character' of .* is empty in all rows that are trained on"):
        prepare(recipe)
    one = pl.when(pl.col("split") == "train").then(pl.lit("a")).otherwise(pl.col("character"))
    table.with_columns(character=one).write_parquet(tmp_path / "letters.parquet")
    with pytest.raises(UserError, match=r"'character' of .* is the same in all rows that are trained on"):
        prepare(recipe)

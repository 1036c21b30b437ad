"""Warnings: each named on its own side of its threshold and on no other, with what to do."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from mscon.evaluate import diagnostics
from mscon.evaluate.diagnostics import Diagnostics, HeadFacts, PairFacts, warnings
from mscon.inspection import ALONE

# What an honest run on footwear showed.
CATEGORY = HeadFacts("category", 4.5, -0.92, 0.61, 1.08, None, 0.002)
GENDER = HeadFacts("gender", 2.1, -0.39, 0.74, 0.91, None, 0.006)
PAIR = PairFacts("category", "gender", 0.47, 0.40, 0.13)
HONEST = Diagnostics(924, 107.0, -3.1, (CATEGORY, GENDER), (PAIR,))


def with_head(**changed: Any) -> Diagnostics:
    return replace(HONEST, heads=(replace(CATEGORY, **changed), GENDER))


def with_pair(**changed: Any) -> Diagnostics:
    return replace(HONEST, pairs=(replace(PAIR, **changed),))


def test_an_honest_run_is_not_warned_of() -> None:
    assert warnings(HONEST) == []


def test_figures_that_are_not_known_are_no_reason_to_warn() -> None:
    head = with_head(uniformity=None, relative_excess=None, weight=None)
    pair = with_pair(cka=None, shared_information=None, gradient_cosine=None)
    assert warnings(head) == warnings(pair) == []


@pytest.mark.parametrize(
    ("beyond", "within", "says"),
    [
        (with_pair(cka=0.86), with_pair(cka=diagnostics.REDUNDANT), "category and gender: their heads learned"),
        (with_pair(gradient_cosine=-0.5), with_pair(gradient_cosine=diagnostics.CONFLICT), "opposite ways"),
        (with_head(relative_excess=1.0), with_head(relative_excess=diagnostics.AT_CHANCE), "category: on held-out"),
        (with_head(uniformity=-0.001), with_head(uniformity=diagnostics.POINT), "category: its head has collapsed"),
        (with_head(bound="least", weight=0.3), HONEST, "category: its weight (0.30) is the least"),
        (with_head(bound="most", weight=1.9), HONEST, "category: its weight (1.90) is the most"),
        (with_head(bound="hottest"), HONEST, "category: its learned temperature is the highest"),
        (with_head(bound="coldest"), HONEST, "category: its learned temperature is the lowest"),
        (with_head(alone=0.11, sampler="items of a class"), with_head(alone=ALONE), "training.sampler = 'category'"),
    ],
)
def test_a_figure_beyond_its_threshold_is_named_and_one_at_it_is_not(
    beyond: Diagnostics, within: Diagnostics, says: str
) -> None:
    (warning,) = warnings(beyond)
    assert says in warning
    assert warnings(within) == []


def test_a_similarity_that_is_trusted_least_is_named_once() -> None:
    assert len(warnings(with_head(relative_excess=1.0, bound="least"))) == 1


MEASURED = Path(__file__).parents[2] / "benchmarks" / "diagnostics.csv"


def measured() -> dict[str, Diagnostics]:
    """Every run of the benchmark by its case and seed."""
    runs: dict[str, dict[tuple[str, str], float | None]] = {}
    with MEASURED.open() as file:
        for row in csv.DictReader(file):
            value = float(row["value"]) if row["value"] else None
            runs.setdefault(f"{row['case']} {row['seed']}", {})[row["figure"], row["where"]] = value
    return {case: of_figures(figures) for case, figures in runs.items()}


def of_figures(figures: dict[tuple[str, str], Any]) -> Diagnostics:
    bounds = {-1.0: "least", 0.0: None, 1.0: "most"}
    names = ("effective_rank", "uniformity", "relative_excess", "weight", "alone")
    heads = [
        HeadFacts(name=where, bound=bounds[value], **{name: figures[name, where] for name in names})  # pyright: ignore[reportArgumentType]
        for (figure, where), value in figures.items()
        if figure == "bound"
    ]
    pairs = [
        PairFacts(
            *cast("tuple[str, str]", tuple(where.split(" · "))),
            cka=value,
            shared_information=figures["shared_information", where],
            gradient_cosine=figures["gradient_cosine", where],
        )
        for (figure, where), value in figures.items()
        if figure == "cka"
    ]
    embedding = figures["effective_rank", "embedding"], figures["uniformity", "embedding"]
    return Diagnostics(924, *embedding, tuple(heads), tuple(pairs))


def test_what_is_wrong_with_a_measured_run_is_named_and_nothing_else() -> None:
    found = {case: [each.split(":")[0] for each in warnings(facts)] for case, facts in measured().items()}
    expected = {
        "honest": [],
        "five honest": [],
        "views of an item": [],
        "copy": ["category and category_again"],
        "noisy copy, 20%": ["category and category_20"],
        "noisy copy, 50%": ["category_50"],
        "noise": ["noise"],
        "collapsed by rate": ["The embedding has collapsed"],
        "collapsed by temperature": ["Hardly anything is learned"],
    }
    both = {f"{case} {seed}": [*names] for case, names in expected.items() for seed in (0, 1)}
    both["noisy copy, 50% 1"].append("category and category_50")  # beyond the threshold with one seed of two
    assert found == both


def test_redundancy_is_named_with_what_the_labels_share_where_that_is_known() -> None:
    assert "(CKA 0.96, labels share 40%)" in warnings(with_pair(cka=0.96))[0]
    assert "(CKA 0.96)" in warnings(with_pair(cka=0.96, shared_information=None))[0]


def unlearned(excess: float, rank: float) -> Diagnostics:
    """Both heads at `excess`, and redundant."""
    heads = (replace(CATEGORY, relative_excess=excess), replace(GENDER, relative_excess=excess))
    return replace(with_pair(cka=0.99), heads=heads, effective_rank=rank)


def test_two_heads_that_have_learned_nothing_are_not_called_alike_but_one_that_has_is() -> None:
    unlearned = replace(HONEST, heads=tuple(replace(each, relative_excess=0.99) for each in HONEST.heads))
    third = HeadFacts("colour", 4.5, -0.92, 0.5, 1.08, None, 0.0)  # or nothing at all would be learned
    alike = replace(unlearned, heads=(*unlearned.heads, third), pairs=(replace(PAIR, cka=0.9),))
    assert not any("learned much the same" in each for each in warnings(alike))
    copy = with_head(relative_excess=0.99)
    assert any("learned much the same" in each for each in warnings(replace(copy, pairs=alike.pairs)))


def test_a_collapsed_embedding_is_one_of_few_directions_from_which_nothing_is_learned() -> None:
    (warning,) = warnings(unlearned(0.85, rank=9.2))
    assert "collapsed: held-out items are spread over 9.2 directions" in warning
    (warning,) = warnings(unlearned(diagnostics.UNLEARNED, rank=9.2))
    assert "learned much the same" in warning


def test_where_nothing_is_learned_nothing_else_is_said() -> None:
    (warning,) = warnings(unlearned(0.95, rank=diagnostics.COLLAPSED))
    assert warning.startswith("Hardly anything is learned")
    unknown = replace(HONEST, heads=(replace(CATEGORY, relative_excess=None),))
    assert warnings(unknown) == []
    assert warnings(replace(unknown, effective_rank=3.0)) == [], "what was not measured may have been learned"
    assert "collapsed" in warnings(replace(unknown, effective_rank=0.0))[0]
    better = replace(unlearned(0.95, rank=9.0), above_untrained=True)
    assert not any("collapsed" in each or "Hardly" in each for each in warnings(better)), "a probe says otherwise"
    few = replace(unlearned(0.95, rank=9.0), items=12)
    assert warnings(few)[0].startswith("Hardly anything is learned"), "twelve items cannot span more"


def test_json_holds_every_field_and_the_warnings() -> None:
    found = with_pair(cka=0.86).to_json()
    assert found["pairs"][0]["cka"] == 0.86
    assert found["heads"][1]["name"] == "gender"
    assert found["warnings"] == warnings(with_pair(cka=0.86))

"""Warnings: each named on its own side of its threshold and on no other, with what to do."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch.nn import functional as F

from mscon.evaluate import diagnostics
from mscon.evaluate.bootstrap import FEW
from mscon.evaluate.diagnostics import Diagnostics, HeadFacts, PairFacts, warnings
from mscon.evaluate.geometry import effective_rank, linear_cka
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
    assert found == both


def test_the_estimate_moves_no_measured_pair_across_the_threshold() -> None:
    """They were measured as if the held-out items were the whole; the bound is that of the law below."""
    for facts in measured().values():
        rank = {head.name: head.effective_rank for head in facts.heads}
        for pair in facts.pairs:
            least = (pair.cka or 0.0) - math.sqrt(rank[pair.first] * rank[pair.second]) / 924
            assert (least > diagnostics.REDUNDANT) == ((pair.cka or 0.0) > diagnostics.REDUNDANT)


def simulated(items: int, classes: int, alike: float, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two heads like those of trained runs: unit rows around a direction for each class, of labels partly the same."""
    generator = torch.Generator().manual_seed(seed)
    first, other = torch.randint(classes, (2, items), generator=generator)
    second = torch.where(torch.rand(items, generator=generator) < alike, first, other)
    noise = 0.05 * torch.randn(2, items, 128, generator=generator)
    return F.normalize(torch.eye(128)[first] + noise[0]), F.normalize(torch.eye(128)[50 + second] + noise[1])


@pytest.mark.parametrize("classes", [2, 4, 8, 24])
@pytest.mark.parametrize("alike", [0.0, 0.5, 0.9, 1.0])
def test_the_unbiased_estimate_is_lower_by_no_more_than_the_ranks_over_the_items(classes: int, alike: float) -> None:
    x, y = simulated(924, classes, alike)
    centred = [(each - each.mean(0)).double() for each in (x, y)]
    whole = (centred[0].T @ centred[1]).square().sum() / math.prod((each.T @ each).norm() for each in centred)
    bound = math.sqrt(effective_rank(x) * effective_rank(y)) / 924
    assert -1e-3 < float(whole) - linear_cka(x, y) < bound + 1e-3


@pytest.mark.parametrize("classes", [4, 6, 8])
def test_of_few_items_the_estimate_varies_by_less_than_half_the_way_to_the_threshold(classes: int) -> None:
    def drawn(items: int) -> torch.Tensor:
        return torch.tensor([linear_cka(*simulated(items, classes, 0.84, seed=seed)) for seed in range(30)])

    many = drawn(diagnostics.FEWEST)
    assert 0.6 < many.mean() < 0.75
    assert many.mean() + 2 * many.std() < diagnostics.REDUNDANT
    assert drawn(24).std() > 1.5 * many.std()


def test_redundancy_is_named_with_what_the_labels_share_where_that_is_known() -> None:
    assert "(CKA 0.96, labels share 40%)" in warnings(with_pair(cka=0.96))[0]
    assert "(CKA 0.96)" in warnings(with_pair(cka=0.96, shared_information=None))[0]


COLOUR = HeadFacts("colour", 6.5, -0.92, 0.7, 1.0, None, 0.0)


def of_pairs(*pairs: PairFacts, **changed: Any) -> Diagnostics:
    return replace(HONEST, heads=(CATEGORY, GENDER, COLOUR), pairs=pairs, **changed)


def test_heads_that_learned_the_same_are_named_once_together() -> None:
    chain = PairFacts("category", "gender", 0.9, 0.6, 0.1), PairFacts("gender", "colour", 0.97, 1.0, 0.1)
    (warning,) = warnings(of_pairs(*chain, PairFacts("category", "colour", 0.5, 0.3, 0.1)))
    assert "category, gender and colour: their heads learned much the same" in warning
    assert "(CKA 0.90 to 0.97, labels share 60% to 100%)" in warning


def test_what_is_to_be_done_of_redundancy_is_what_the_runs_weighting_asks_for() -> None:
    def said(weighting: str, **changed: Any) -> str:
        return warnings(replace(with_pair(**{"cka": 0.96, **changed}), weighting=weighting))[0]

    for weighting in ("equal", "uncertainty", "fixed"):
        assert "leave one out, or set objective.weighting = 'excess'" in said(weighting)
    assert "counts once" in said("excess")
    assert "leave one out" not in said("excess")
    assert "leave one out" in said("excess", shared_information=None), "excess compares labels"
    copy = replace(GENDER, repeats="category")
    (warning,) = warnings(replace(with_pair(cka=0.99), heads=(CATEGORY, copy)))
    assert "gender repeats category: a copy learns without leading the encoder" in warning


def unlearned(excess: float, rank: float) -> Diagnostics:
    """Both heads at `excess`, and redundant."""
    heads = (replace(CATEGORY, relative_excess=excess), replace(GENDER, relative_excess=excess))
    return replace(with_pair(cka=0.99), heads=heads, effective_rank=rank)


def test_of_a_head_at_chance_no_pair_is_told_unless_the_labels_are_much_the_same() -> None:
    for which in (0, 1):
        heads = [replace(each, relative_excess=0.99) if at == which else each for at, each in enumerate(HONEST.heads)]
        alike = replace(with_pair(cka=0.9, gradient_cosine=-0.5), heads=tuple(heads))
        assert [each for each in warnings(alike) if "category and gender" in each] == []
        same = replace(alike, pairs=(replace(alike.pairs[0], shared_information=0.9),))
        assert len([each for each in warnings(same) if "category and gender" in each]) == 2


def test_of_few_held_out_items_neither_pairs_nor_a_collapse_are_told_and_that_is_said_once() -> None:
    few = diagnostics.FEWEST - 1
    (warning,) = warnings(replace(with_pair(cka=0.99, gradient_cosine=-0.9), items=few))
    assert warning.startswith(f"Only {few} held-out items: too few")
    assert "heads" in warning
    (alone,) = warnings(replace(HONEST, items=few, heads=(CATEGORY,), pairs=()))
    assert "heads" not in alone
    (nothing,) = warnings(replace(unlearned(0.95, rank=9.0), items=few))
    assert nothing.startswith("Hardly anything is learned:")
    assert "collapsed" in warnings(replace(unlearned(0.95, rank=9.0), items=few + 1))[0]


def test_what_test_items_tell_is_not_called_noise_but_not_learned_yet() -> None:
    late = replace(HONEST, heads=tuple(replace(each, relative_excess=0.99, told=True) for each in HONEST.heads[:1]))
    colour = replace(COLOUR, relative_excess=0.4)
    (warning,) = warnings(replace(late, heads=(*late.heads, colour), pairs=()))
    assert warning.startswith("category: not learned yet")
    assert "Train longer" in warning
    least = replace(late.heads[0], bound="least", weight=0.3)
    both = replace(least, name="gender", relative_excess=0.9)
    (warning,) = warnings(replace(late, heads=(least, both, colour), pairs=()))
    assert warning.startswith("category and gender: not learned yet")


@pytest.mark.parametrize("rank", [9.0, 60.0])
def test_where_test_items_tell_a_label_an_unlearned_run_has_not_learned_yet(rank: float) -> None:
    facts = unlearned(0.95, rank=rank)
    facts = replace(facts, heads=(facts.heads[0], replace(facts.heads[1], told=True)))
    (warning,) = warnings(facts)
    assert warning.startswith("Hardly anything is learned yet")
    assert "on test gender can be told above chance" in warning
    assert ("effective rank 9.0" in warning) == (rank < diagnostics.COLLAPSED)


def entry(low: float | None, *, own: float | None, majority: float | None, gain: float | None = -1.0) -> dict[str, Any]:
    ends = {"value": low, "low": low, "high": low}
    head = {"value": own, "low": own, "high": own}
    gains = {"untrained": {"difference": {"low": gain, "high": 0.1}}}
    return ends | {"role": "in-domain", "own_head": head, "majority": majority, "floors": gains, "n": 100}


@pytest.mark.parametrize(
    ("label", "told"),
    [
        (entry(0.5, own=0.2, majority=0.4), True),
        (entry(0.3, own=0.5, majority=0.4), True),
        (entry(0.4, own=0.4, majority=0.4), False),
        (entry(0.01, own=None, majority=None), True),
        (entry(-0.1, own=0.0, majority=None), False),
        (entry(None, own=None, majority=0.4), False),
    ],
)
def test_a_label_is_told_where_its_probe_or_its_own_head_is_above_chance_with_the_whole_interval(
    label: dict[str, Any], told: bool
) -> None:
    found = HONEST.beside({"category": label, "brand": entry(1.0, own=None, majority=0.1)}, {})
    assert [head.told for head in found.heads] == [told, False]
    assert not found.above_untrained


def test_links_that_the_own_head_finds_are_told_and_a_probe_above_the_untrained_one_is_noted() -> None:
    recall = {"recall": {"10": {"value": 0.5, "low": 0.3, "high": 0.7, "chance": 0.2}}}
    links = {"gender": {"own_head": recall, "asked": 100}}
    found = HONEST.beside({"category": entry(0.1, own=0.1, majority=0.3, gain=0.01)}, links)
    assert [head.told for head in found.heads] == [False, True]
    assert found.above_untrained


def test_of_few_test_items_nothing_is_concluded() -> None:
    floors = {"floors": {"untrained": {"difference": {"low": 0.1, "high": 0.9}}}}
    worse = {"floors": {"untrained": {"difference": {"low": -0.9, "high": -0.1}}}}
    recall = {"own_head": {"recall": {"10": {"value": 1.0, "low": 1.0, "high": 1.0, "chance": 0.2}}}}
    for items in (5, FEW - 1, FEW):
        label = entry(1.0, own=1.0, majority=0.3) | {"n": items}
        found = HONEST.beside(
            {"category": label | floors, "brand": label | worse}, {"gender": recall | {"asked": items}}
        )
        said = [*(head.told for head in found.heads), found.above_untrained, bool(found.below)]
        assert said == [items >= FEW] * 4


def test_a_label_that_a_floor_tells_better_is_named_with_the_floors_and_what_to_do() -> None:
    def beside(role: str, **gains: tuple[float, float] | None) -> dict[str, Any]:
        ends = {floor: dict(zip(("low", "high"), gain or (None, None), strict=True)) for floor, gain in gains.items()}
        floors = {floor: {"difference": gain} for floor, gain in ends.items()}
        return entry(0.9, own=None, majority=0.1) | {"role": role, "floors": floors}

    level = beside("in-domain", untrained=(-0.1, 0.0), classical=(0.0, 0.1), pixels=None)
    assert warnings(HONEST.beside({"category": level, "brand": level | {"role": "ood"}}, {})) == []
    labels = {
        "category": beside("in-domain", untrained=(0.1, 0.2), pixels=(-0.2, -0.1), classical=(-0.2, -0.1)),
        "gender": beside("in-domain", untrained=(0.1, 0.2), pixels=(0.0, 0.1), classical=(-0.2, -0.1)),
        "brand": beside("ood", untrained=(-0.2, -0.1), pixels=(0.0, 0.1), classical=(0.0, 0.1)),
    }
    found = HONEST.beside(labels, {})
    trained, never = warnings(found)
    assert trained.startswith("category and gender: on test a linear probe tells less")
    assert "than from a thumbnail or a histogram of gradients. Train longer" in trained
    assert never.startswith("brand: never trained on, and on test")
    assert "than from the untrained encoder." in never
    assert "appearance" in never
    assert found.to_json()["below"][0] == {"name": "category", "floors": ("pixels", "classical"), "trained": True}


def test_a_collapsed_embedding_is_one_of_few_directions_from_which_nothing_is_learned() -> None:
    (warning,) = warnings(unlearned(0.85, rank=9.2))
    assert "collapsed: held-out items are spread over 9.2 directions" in warning
    (warning,) = warnings(unlearned(diagnostics.UNLEARNED, rank=9.2))
    assert "learned much the same" in warning


def test_a_single_held_out_item_is_no_collapse() -> None:
    single = replace(HONEST, items=1, effective_rank=0.0, uniformity=None, heads=(), pairs=())
    (warning,) = warnings(single)
    assert warning.startswith("Only 1 held-out item")


def test_where_nothing_is_learned_nothing_else_is_said() -> None:
    (warning,) = warnings(unlearned(0.95, rank=diagnostics.COLLAPSED))
    assert warning.startswith("Hardly anything is learned")
    unknown = replace(HONEST, heads=(replace(CATEGORY, relative_excess=None),), pairs=())
    assert warnings(unknown) == []
    assert warnings(replace(unknown, effective_rank=3.0)) == [], "what was not measured may have been learned"
    assert "collapsed" in warnings(replace(unknown, effective_rank=0.0))[0]
    better = replace(unlearned(0.95, rank=9.0), above_untrained=True)
    assert not any("collapsed" in each or "Hardly" in each for each in warnings(better)), "a probe says otherwise"


def test_json_holds_every_field_and_the_warnings() -> None:
    found = with_pair(cka=0.86).to_json()
    assert found["pairs"][0]["cka"] == 0.86
    assert found["heads"][1]["name"] == "gender"
    assert found["warnings"] == warnings(with_pair(cka=0.86))

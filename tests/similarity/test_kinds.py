"""Laws that hold for every kind of similarity: its equation as written, and what must not matter to it."""

import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mscon.contrast import contrastive_loss
from mscon.similarity import (
    Appearance,
    Categorical,
    Continuous,
    Hierarchy,
    Instance,
    Pairs,
    RankNContrast,
    Similarity,
    Tags,
)

SETS = [("a",), ("a", "b"), ("b", "c"), ("d",), (), ("a", "b", "c"), ("e", "f"), ("f",)]
COUNTS = [7, 3, 2, 1, 5, 1, 2, 4]
PATHS = [("A",), ("A", "x"), ("A", "x", "1"), ("A", "x", "2"), ("A", "y", "1"), ("B", "x", "1"), ("C",), ()]
LEVEL_WEIGHTS = [1.0, 0.5, 3.0]

Textbook = Callable[[Sequence[Any]], Tensor]
"""q over all rows, pair by pair in plain Python; a row and a column of zeros where a value is missing."""


def same_value(values: Sequence[int]) -> Tensor:
    q = torch.zeros(len(values), len(values), dtype=torch.float64)
    for i, one in enumerate(values):
        positives = [j for j, other in enumerate(values) if j != i and other == one >= 0]
        for j in positives:
            q[i, j] = 1.0 / len(positives)
    return q


def tags(values: Sequence[int], weighting: str = "rarity") -> Tensor:
    sets = [set(SETS[value]) if value >= 0 else set[str]() for value in values]
    items = sum(count for count, each in zip(COUNTS, SETS, strict=True) if each)
    having = {tag: sum(n for n, each in zip(COUNTS, SETS, strict=True) if tag in each) for tag in "abcdef"}
    weight = {tag: math.log(items / n) if weighting == "rarity" else 1.0 for tag, n in having.items()}
    rows = {tag: sum(tag in each for each in sets) for tag in having}
    q = torch.zeros(len(values), len(values), dtype=torch.float64)
    for i, mine in enumerate(sets):
        shared = [tag for tag in mine if rows[tag] >= 2]
        for j, theirs in enumerate(sets):
            if i != j:
                q[i, j] = sum(
                    weight[tag] / sum(weight[each] for each in shared) / (rows[tag] - 1)
                    for tag in shared
                    if tag in theirs
                )
    return q


def paths(values: Sequence[int]) -> Tensor:
    known = [PATHS[value] if value >= 0 else () for value in values]

    def agree(i: int, j: int, level: int) -> bool:
        return len(known[i]) >= level <= len(known[j]) and known[i][:level] == known[j][:level]

    n = len(values)
    q = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        rows = {level: sum(agree(i, j, level) for j in range(n)) for level in (1, 2, 3)}
        levels = [level for level in rows if rows[level] >= 2]
        for j in range(n):
            if i != j:
                q[i, j] = sum(
                    LEVEL_WEIGHTS[level - 1] / sum(LEVEL_WEIGHTS[each - 1] for each in levels) / (rows[level] - 1)
                    for level in levels
                    if agree(i, j, level)
                )
    return q


def near(values: Sequence[float], bandwidth: float = 0.05) -> Tensor:
    known = [value for value in values if not math.isnan(value)]
    rank = [
        (sum(other < value for other in known) + sum(other <= value for other in known)) / (2 * len(known))
        if not math.isnan(value)
        else math.nan
        for value in values
    ]
    q = torch.zeros(len(values), len(values), dtype=torch.float64)
    for i, one in enumerate(rank):
        kernel = {j: math.exp(-((one - u) ** 2) / (2 * bandwidth**2)) for j, u in enumerate(rank) if j != i and u == u}
        for j, k in kernel.items() if one == one else ():
            q[i, j] = k / sum(kernel.values())
    return q


@dataclass(frozen=True)
class Kind:
    similarity: Similarity
    textbook: Textbook | None
    draw: st.SearchStrategy[Any]
    missing: Any
    dtype: torch.dtype = torch.int64

    def values(self, values: Sequence[Any]) -> Tensor:
        return torch.tensor(values, dtype=self.dtype)


NUMBERS = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e30, 1e30), st.just(math.nan))
FEATURES = torch.tensor(
    [[1.0, 0.0, 0.0], [3.0, 0.0, 0.1], [1.0, 1.0, 0.0], [-2.0, 0.5, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64
)
EDGES = torch.tensor([[0, 1], [1, 2], [2, 3], [0, 4], [3, 9]])
KINDS = {
    "categorical": Kind(Categorical(), same_value, st.sampled_from([-1, 0, 1, 2, 2**62]), -1),
    "instance": Kind(Instance(), same_value, st.integers(-1, 4), -7),
    "appearance": Kind(Appearance(FEATURES), None, st.integers(-1, len(FEATURES) - 1), -2),
    "tags": Kind(Tags(SETS, counts=COUNTS), tags, st.integers(-1, len(SETS) - 1), -1),
    "tags, even": Kind(
        Tags(SETS, weighting="even"), lambda values: tags(values, "even"), st.integers(-1, len(SETS) - 1), 4
    ),
    "hierarchy": Kind(Hierarchy(PATHS, weights=LEVEL_WEIGHTS), paths, st.integers(-1, len(PATHS) - 1), 7),
    "continuous": Kind(Continuous(), near, NUMBERS, math.nan, torch.float64),
    "pairs": Kind(Pairs(EDGES, torch.logspace(-3, 6, len(EDGES))), None, st.integers(-1, 6), -1),
    "rank_n_contrast": Kind(RankNContrast(), None, NUMBERS, math.nan, torch.float64),
}


def rows(count: int, width: int = 3) -> Tensor:
    return torch.randn(count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(count))


def as_written(z: Tensor, q: Tensor, temperature: float, known: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and floor of every row from −Σ_j q_ij log p_ij, among the rows that are `known`."""
    unit = torch.nn.functional.normalize(z, dim=1)
    loss, floor = torch.zeros(len(z), dtype=z.dtype), torch.zeros(len(z), dtype=z.dtype)
    for i in range(len(z)):
        scores = {j: float(unit[i] @ unit[j]) / temperature for j in range(len(z)) if j != i and known[j]}
        total = sum(math.exp(score) for score in scores.values())
        for j, score in scores.items():
            if q[i, j] > 0:
                loss[i] -= q[i, j] * (score - math.log(total))
                floor[i] -= q[i, j] * q[i, j].log()
    return loss, floor


def drawn(name: str) -> st.SearchStrategy[list[Any]]:
    return st.lists(KINDS[name].draw, min_size=0, max_size=12)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.textbook])
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_targets_and_losses_are_the_equation_as_written(name: str, data: st.DataObject) -> None:
    kind, values = KINDS[name], data.draw(drawn(name))
    assert kind.textbook is not None
    q = kind.textbook(values)
    targets = kind.similarity.targets(kind.values(values))
    found = torch.zeros(len(values), len(values), dtype=torch.float64)
    found[targets.rows.unsqueeze(1), targets.rows] = targets.matrix()  # pyright: ignore[reportAttributeAccessIssue]
    torch.testing.assert_close(found, q, rtol=1e-9, atol=1e-12)
    known = torch.zeros(len(values), dtype=torch.bool)
    known[targets.rows] = True
    z = rows(len(values))
    loss, floor = as_written(z, q, 0.4, known)
    anchors = contrastive_loss(z, targets, temperature=0.4)
    torch.testing.assert_close(anchors.loss, loss, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(anchors.floor, floor, rtol=1e-9, atol=1e-9)
    assert torch.equal(anchors.anchors, q.sum(dim=1) > 0)


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_the_order_of_rows_and_rows_without_a_label_change_nothing(name: str, data: st.DataObject) -> None:
    kind, values = KINDS[name], data.draw(drawn(name))
    z = rows(len(values) + 2)
    more = [*values, kind.missing, kind.missing]
    order = torch.randperm(len(more), generator=torch.Generator().manual_seed(1))

    def losses(z: Tensor, values: Tensor) -> Tensor:
        found = contrastive_loss(z, kind.similarity.targets(values), temperature=0.2)
        return torch.stack([found.loss, found.floor, found.chance, found.anchors.double()], dim=1)

    plain = losses(z[: len(values)], kind.values(values))
    assert plain.isfinite().all()
    with_more = losses(z, kind.values(more))
    torch.testing.assert_close(with_more[: len(values)], plain, rtol=1e-9, atol=1e-9)
    assert not with_more[len(values) :].any()
    torch.testing.assert_close(losses(z[order], kind.values(more)[order]), with_more[order], rtol=1e-9, atol=1e-9)


SOME: dict[str, list[Any]] = {
    "pairs": [0, 1, 2, 3, 4, 1, -1],
    "categorical": [0, 1, -1, 0, 1, 2, 0],
    "instance": [0, 1, 2, 0, 1, 2, -1],
    "appearance": [0, 1, 2, 3, 4, 0, -1],
    "tags": [0, 1, 2, -1, 5, 6, 3],
    "tags, even": [0, 1, 2, 4, 5, 6, 7],
    "hierarchy": [0, 1, 2, 3, 4, -1, 5],
    "continuous": [0.0, 1.0, 1.0, math.nan, 2.0, 30.0, -4.0],
    "rank_n_contrast": [0.0, 1.0, 1.0, math.nan, 2.0, 30.0, -4.0],
}


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_finite_differences_twice_over(name: str) -> None:
    kind = KINDS[name]
    targets = kind.similarity.targets(kind.values(SOME[name]))
    z = rows(len(SOME[name])).requires_grad_()

    def mean(z: Tensor) -> Tensor:
        return contrastive_loss(z, targets, temperature=0.5, engine="dense").mean

    assert torch.autograd.gradcheck(mean, z)
    assert torch.autograd.gradgradcheck(mean, z)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_engines_agree(name: str, dtype: torch.dtype) -> None:
    kind, generator = KINDS[name], torch.Generator().manual_seed(5)
    values = kind.values(SOME[name])[torch.randint(len(SOME[name]), (700,), generator=generator)]
    z = torch.randn(700, 3, generator=generator, dtype=torch.float64).to(dtype)
    upstream = torch.rand(700, generator=generator, dtype=torch.float64).to(dtype)
    results: list[tuple[Tensor, Tensor, Tensor]] = []
    for engine in ("dense", "tiled"):
        leaf = z.clone().requires_grad_()
        found = contrastive_loss(leaf, kind.similarity.targets(values), engine=engine)
        (found.loss * upstream).sum().backward()
        assert leaf.grad is not None
        results.append((found.loss.detach(), found.floor, leaf.grad))
    exact = dtype == torch.float64
    torch.testing.assert_close(*results, rtol=1e-9 if exact else 1e-4, atol=1e-9 if exact else 2e-5)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("labelled", [0, 1])
def test_with_no_other_labelled_row_loss_and_gradient_are_zero(name: str, labelled: int) -> None:
    kind = KINDS[name]
    for count in {labelled, 3}:
        values = kind.values([SOME[name][0]] * labelled + [kind.missing] * (count - labelled))
        z = rows(count).requires_grad_()
        found = contrastive_loss(z, kind.similarity.targets(values))
        found.mean.backward()
        assert found.count == 0
        assert found.mean == 0.0
        assert z.grad is not None
        assert not z.grad.any()


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("rank_n_contrast", "appearance")])
def test_among_rows_that_are_all_alike_all_others_pull_evenly(name: str) -> None:
    kind = KINDS[name]
    targets = kind.similarity.targets(kind.values([SOME[name][0]] * 5))
    even = (1.0 - torch.eye(5, dtype=torch.float64)) / 4
    torch.testing.assert_close(targets.matrix(), even)  # pyright: ignore[reportAttributeAccessIssue]
    torch.testing.assert_close(contrastive_loss(rows(5), targets).floor, torch.full((5,), math.log(4)).double())


@pytest.mark.parametrize("name", KINDS)
def test_views_of_an_item_are_interchangeable(name: str) -> None:
    """A permutation of the views of one item leaves every other row's loss as it was."""
    kind = KINDS[name]
    values = kind.values(SOME[name]).repeat(3)
    z = rows(len(values))
    targets = kind.similarity.targets(values)
    before = contrastive_loss(z, targets).loss
    order = torch.arange(len(values))
    order[[0, 7, 14]] = torch.tensor([14, 0, 7])
    torch.testing.assert_close(contrastive_loss(z[order], targets).loss, before[order])
    assert targets.anchors.all()


@pytest.mark.parametrize("name", KINDS)
def test_targets_of_narrow_integers_and_floats_are_the_same(name: str) -> None:
    kind = KINDS[name]
    whole = (torch.int8, torch.int16, torch.int32, torch.uint8)
    for narrow in (torch.float32,) if kind.dtype.is_floating_point else whole:
        # As many values as there are kinds of them: what torch took for a mask would fit.
        values = kind.values([each for each in SOME[name] * 2 if narrow != torch.uint8 or each >= 0][: len(SETS) + 1])
        z = rows(len(values))
        one, other = (contrastive_loss(z, kind.similarity.targets(each)).loss for each in (values, values.to(narrow)))
        assert torch.equal(one, other), narrow


REFUSED = """
import torch
from mscon.similarity import Appearance, Categorical, Continuous, Hierarchy, Instance, Pairs, RankNContrast, Tags

whole = [Categorical(), Instance(), Tags([("a",)]), Hierarchy([("a",)]), Pairs(torch.tensor([[0, 1]]))]
whole.append(Appearance(torch.eye(3)))
for similarity, values in [
    *((each, torch.ones(3)) for each in whole),
    *((each, torch.ones(3, dtype=torch.bool)) for each in whole),
    *((each, torch.ones(3, dtype=torch.int64)) for each in (Continuous(), RankNContrast())),
]:
    try:
        similarity.targets(values)
    except ValueError as error:
        print(error)
for edges in (torch.tensor([0, 1]), torch.tensor([[0, 1, 2]]), torch.tensor([[0.0, 1.0]])):
    try:
        Pairs(edges)
    except ValueError as error:
        print(error)
"""


def test_values_of_the_wrong_type_are_refused() -> None:
    # Without the type checks that are on in this process, as a user would meet it.
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        *["labels must be integer codes, -1 where one is missing, not torch.float32"] * 6,
        *["labels must be integer codes, -1 where one is missing, not torch.bool"] * 6,
        *["numbers must be floating point, NaN where one is missing, not torch.int64"] * 2,
        "edges, two items each, must be a tensor (E, 2), not one of (2,)",
        "edges, two items each, must be a tensor (E, 2), not one of (1, 3)",
        "labels must be integer codes, -1 where one is missing, not torch.float32",
    ]

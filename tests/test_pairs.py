"""Pairs: targets as the equation is written, and the laws that a similarity of links keeps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mscon import MSConLoss
from mscon.contrast import LinearTargets, contrastive_loss
from mscon.similarity import Pairs

Links = dict[tuple[int, int], float]


def textbook(values: list[int], links: Links) -> Tensor:
    """q pair by pair over the rows that take part, from the equation."""
    strength = {**links, **{(b, a): s for (a, b), s in links.items()}}
    known = [value for value in values if value >= 0]
    q = torch.zeros(len(known), len(known), dtype=torch.float64)
    for i, item in enumerate(known):
        strongest = max((s for (a, _), s in strength.items() if a == item), default=0.0)
        for j, other in enumerate(known):
            if i != j:
                q[i, j] = strongest if item == other else strength.get((item, other), 0.0)
        if q[i].sum() > 0:
            q[i] /= q[i].sum()
    return q


def pairs_of(links: Links) -> Pairs:
    edges = torch.tensor(list(links), dtype=torch.int64).reshape(-1, 2)
    return Pairs(edges, torch.tensor(list(links.values()), dtype=torch.float64))


def targets_of(links: Links, values: list[int]) -> LinearTargets:
    return pairs_of(links).targets(torch.tensor(values, dtype=torch.int64))


@st.composite
def some_links(draw: st.DrawFn) -> Links:
    pairs = st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda pair: pair[0] < pair[1])
    return draw(st.dictionaries(pairs, st.floats(0.01, 100.0), max_size=15))


# Items that no pair names, beyond the table too; views of one item; rows that take no part.
batches = st.lists(st.integers(-2, 14), max_size=25).filter(lambda values: max(values, default=-1) >= 0)


@given(some_links(), batches)
@settings(deadline=None)
def test_targets_are_the_equations(links: Links, values: list[int]) -> None:
    targets = targets_of(links, values)
    q = textbook(values, links)
    torch.testing.assert_close(targets.matrix(), q)
    assert targets.batch == len(values)
    assert targets.rows.tolist() == [row for row, value in enumerate(values) if value >= 0]
    assert torch.equal(targets.anchors, q.sum(dim=1) > 0)
    torch.testing.assert_close(targets.floor, -torch.xlogy(q, q).sum(dim=1))
    z = torch.randn(len(q), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(targets.mean_target(z), q @ z)
    torch.testing.assert_close(targets.mean_target_gradient(z), q.mT @ z)


def test_by_hand() -> None:
    """Items 0 and 1 linked by 1, 0 and 2 by 3; two views of 0, one of each other, item 7 without a link."""
    targets = targets_of({(0, 1): 1.0, (2, 0): 3.0}, [0, 1, 2, 7, 0])
    expected = [
        [0, 1 / 7, 3 / 7, 0, 3 / 7],
        [1 / 2, 0, 0, 0, 1 / 2],
        [1 / 2, 0, 0, 0, 1 / 2],
        [0, 0, 0, 0, 0],
        [3 / 7, 1 / 7, 3 / 7, 0, 0],
    ]
    torch.testing.assert_close(targets.matrix(), torch.tensor(expected, dtype=torch.float64))


def test_a_linked_item_whose_partners_are_elsewhere_keeps_its_views_and_without_them_is_no_anchor() -> None:
    targets = targets_of({(0, 1): 2.0, (2, 3): 1.0}, [0, 2, 0])
    torch.testing.assert_close(
        targets.matrix(), torch.tensor([[0, 0, 1.0], [0, 0, 0], [1.0, 0, 0]], dtype=torch.float64)
    )
    assert targets.anchors.tolist() == [True, False, True]


@given(some_links(), batches, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_and_the_direction_of_pairs_do_not_matter_and_a_pair_in_two_parts_is_their_sum(
    links: Links, values: list[int], random
) -> None:
    listed = [(b, a, s) if random.random() < 0.5 else (a, b, s) for (a, b), s in links.items()]
    listed = [(a, b, s * part) for a, b, s in listed for part in (0.25, 0.75)]
    random.shuffle(listed)
    edges = torch.tensor([(a, b) for a, b, _ in listed], dtype=torch.int64).reshape(-1, 2)
    pairs = Pairs(edges, torch.tensor([s for _, _, s in listed], dtype=torch.float64))
    got = pairs.targets(torch.tensor(values, dtype=torch.int64)).matrix()
    torch.testing.assert_close(got, targets_of(links, values).matrix())


@given(some_links(), batches, st.sampled_from([1e-20, 0.3, 1e20]))
@settings(deadline=None)
def test_the_unit_of_the_strengths_does_not_matter(links: Links, values: list[int], unit: float) -> None:
    scaled = targets_of({pair: s * unit for pair, s in links.items()}, values)
    torch.testing.assert_close(scaled.matrix(), targets_of(links, values).matrix())


def test_without_strengths_all_links_are_alike() -> None:
    links: Links = {(0, 1): 1.0, (1, 2): 1.0, (0, 3): 1.0}
    values = torch.tensor([0, 1, 2, 3, 1])
    torch.testing.assert_close(
        Pairs(torch.tensor(list(links))).targets(values).matrix(), textbook(values.tolist(), links)
    )


LINKS: Links = {(0, 1): 0.5, (1, 2): 2.0, (0, 4): 1.0, (3, 11): 1.0, (4, 5): 0.1}
VALUES = [0, 1, 2, 3, 4, 5, 6, 0, 1, -1, 30, 4, 6]


def losses(z: Tensor, values: Tensor, engine: str = "auto") -> Tensor:
    return contrastive_loss(z, pairs_of(LINKS).targets(values), temperature=0.3, engine=engine).loss  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("engine", ["dense", "tiled"])
def test_the_loss_is_the_equation_and_its_gradient_equals_finite_differences(engine: str) -> None:
    z = torch.randn(len(VALUES), 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = [row for row, value in enumerate(VALUES) if value >= 0]
    q, unit = textbook(VALUES, LINKS), torch.nn.functional.normalize(z, dim=1)[rows]
    s = (unit @ unit.mT / 0.3).fill_diagonal_(-torch.inf)
    log_p = s.log_softmax(dim=1).fill_diagonal_(0.0)
    expected = torch.zeros(len(VALUES), dtype=torch.float64)
    expected[rows] = -(q * log_p).sum(dim=1)
    torch.testing.assert_close(losses(z, torch.tensor(VALUES), engine), expected)
    assert torch.autograd.gradcheck(lambda z: losses(z, torch.tensor(VALUES), engine), z.requires_grad_())


def test_permuting_the_batch_permutes_the_losses_and_rows_that_take_no_part_change_nothing() -> None:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(len(VALUES) + 3, 4, dtype=torch.float64, generator=generator)
    values = torch.tensor([*VALUES, -1, -7, -1])
    order = torch.randperm(len(values), generator=generator)
    whole = losses(z, values)
    torch.testing.assert_close(losses(z[order], values[order]), whole[order])
    torch.testing.assert_close(whole[: len(VALUES)], losses(z[: len(VALUES)], values[: len(VALUES)]))
    assert not whole[len(VALUES) :].any()


@pytest.mark.parametrize("values", [[0, 1, 1, 2], [-1, -1, -1, -1]])
def test_without_edges_there_are_no_anchors(values: list[int]) -> None:
    z = torch.randn(4, 3, requires_grad=True)
    pairs = Pairs(torch.empty(0, 2, dtype=torch.int64))
    out = MSConLoss({"bought": pairs})({"bought": z}, {"bought": torch.tensor(values)})
    out.total.backward()
    assert out.terms["bought"].anchors == 0
    assert z.grad is not None
    assert not z.grad.any()


@pytest.mark.parametrize(
    ("edges", "strength", "message"),
    [
        ([[0, 1]], [0.0], "positive and finite"),
        ([[0, 1]], [float("inf")], "positive and finite"),
        ([[0, 1]], [float("nan")], "positive and finite"),
        ([[0, 1]], [1.0, 2.0], "2 strengths for 1 pairs"),
        ([[0, 1], [2, 2]], None, "two different items"),
        ([[0, -1]], None, "numbers from 0"),
    ],
)
def test_what_is_no_pair_is_refused(edges: list[list[int]], strength: list[float] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pairs(torch.tensor(edges), None if strength is None else torch.tensor(strength))

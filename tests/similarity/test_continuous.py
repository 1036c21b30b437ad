"""Continuous: ranks, and that nothing but the order of numbers counts."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from longest import Longest
from mscon.contrast import contrastive_loss
from mscon.similarity import Continuous

VALUES = torch.tensor([3.0, -1.0, math.nan, 3.0, 0.5, 1e6, 0.0, 7.0], dtype=torch.float64)


def rising(values: Tensor) -> Tensor:
    """Far from linear, and exact enough in float64 to keep every order."""
    return (values / 4).clamp(-600, 600).exp() + 1e-3 * values


@given(st.lists(st.integers(-2000, 2000), min_size=2, max_size=15), st.lists(st.integers(-2000, 2000), min_size=1))
@settings(deadline=None, max_examples=60)
def test_a_rising_function_of_values_and_reference_changes_no_bit(values: list[int], reference: list[int]) -> None:
    batch, among = torch.tensor(values) / 4.0, torch.tensor(reference) / 4.0
    z = torch.randn(len(values), 4, generator=torch.Generator().manual_seed(0))
    results = []
    for change in (lambda x: x, rising, lambda x: 2.0**40 * x - 3.0):
        targets = Continuous(reference=change(among.double())).targets(change(batch.double()))
        found = contrastive_loss(z, targets)
        results.append(torch.stack([found.loss, found.floor, found.chance]))
        results[-1] = torch.cat([results[-1].double().flatten(), targets.matrix().flatten()])
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_without_a_reference_the_batch_is_its_own() -> None:
    known = VALUES[~VALUES.isnan()]
    assert torch.equal(Continuous().ranks(known), Continuous(reference=known.flip(0)).ranks(known))
    assert Continuous().ranks(torch.tensor([5.0, 1.0, 3.0, 3.0])).tolist() == [0.875, 0.125, 0.5, 0.5]


def test_ranks_are_shares_of_the_reference_and_ties_are_equal() -> None:
    among = Continuous(reference=torch.tensor([4.0, 1.0, math.nan, 2.0, 2.0]))
    asked = torch.tensor([0.0, 1.0, 1.5, 2.0, 4.0, 9.0, math.inf, -math.inf, math.nan])
    expected = [0.0, 0.125, 0.25, 0.5, 0.875, 1.0, 1.0, 0.0, math.nan]
    torch.testing.assert_close(among.ranks(asked), torch.tensor(expected, dtype=torch.float64), equal_nan=True)
    with pytest.raises(ValueError, match=r"an infinite value has no distance to others \(row 6\)"):
        Continuous(period=24.0).targets(asked)


def test_a_long_tail_is_no_longer_than_another() -> None:
    heavy, even = torch.exp(torch.arange(30.0).double()), torch.arange(30.0).double()
    assert torch.equal(Continuous().targets(heavy).matrix(), Continuous().targets(even).matrix())


def test_on_a_circle_distance_goes_the_shorter_way_and_turns_count_nothing() -> None:
    hours = torch.arange(0.0, 24.0, 0.5, dtype=torch.float64)
    clock = Continuous(0.05, period=24.0, reference=hours)
    q = clock.targets(hours).matrix()
    for shift in (1, 7, 30):  # the targets of a clock that was put forward
        torch.testing.assert_close(q.roll((shift, shift), (0, 1)), q)
    assert q[0].argsort(descending=True)[:2].sort().values.tolist() == [1, 47]
    assert torch.equal(clock.targets(hours + 48.0).matrix(), q)
    assert torch.equal(clock.targets(hours - 240.0).matrix(), q)
    line = Continuous(0.05, reference=hours).targets(hours).matrix()
    assert float(line[0, 47]) < 1e-9 < float(q[0, 47])


def test_the_order_of_the_reference_does_not_count_and_its_gaps_neither() -> None:
    shuffled = VALUES[torch.randperm(len(VALUES), generator=torch.Generator().manual_seed(2))]
    first, second = (Continuous(reference=each).ranks(VALUES) for each in (VALUES, shuffled))
    torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)
    assert first[2].isnan()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bandwidth": 0.0}, "a bandwidth must be from 1e-06 to 1e6, not 0.0"),
        ({"bandwidth": math.nan}, "bandwidth must be"),
        ({"period": -24.0}, "a period must be positive and finite, not -24.0"),
        ({"period": math.inf}, "a period must be positive and finite"),
        ({"reference": torch.tensor([math.nan])}, "holds no number"),
        ({"reference": torch.empty(0)}, "holds no number"),
    ],
)
def test_bad_settings_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Continuous(**arguments)


def test_values_and_reference_meet_in_the_coarser_type() -> None:
    reference = torch.tensor([0.1, 0.3, 0.7], dtype=torch.float64).repeat(50)
    expected = torch.tensor([1 / 6, 0.5, 5 / 6], dtype=torch.float64)
    for of_batch, of_reference in ((torch.float32, torch.float64), (torch.float64, torch.float32)):
        similarity = Continuous(reference=reference.to(of_reference))
        torch.testing.assert_close(similarity.ranks(torch.tensor([0.1, 0.3, 0.7], dtype=of_batch)), expected)


def test_equal_times_of_different_days_have_equal_ranks() -> None:
    days = 24.0 * torch.arange(30, dtype=torch.float64)
    hours = (torch.tensor([8.1, 12.1, 17.1], dtype=torch.float64)[:, None] + days).flatten()
    assert len(Continuous(period=24.0).ranks(hours).unique()) == 3


@pytest.mark.parametrize("period", [None, 24.0])
def test_after_the_first_batch_of_its_type_none_goes_through_the_whole_reference(period: float | None) -> None:
    reference = 30.0 * torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept = Continuous(period=period, reference=reference)
    for dtype in (torch.float32, torch.float64, torch.float32):
        kept.targets(torch.arange(3.0).to(dtype))
    for dtype in (torch.float32, torch.float64):
        values = torch.linspace(-3.0, 40.0, 50).to(dtype)
        with Longest() as longest:
            ranks = kept.ranks(values)
        assert longest.length < 500
        assert torch.equal(ranks, Continuous(period=period, reference=reference.flip(0)).ranks(values))

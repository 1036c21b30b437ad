"""Rank-N-Contrast: the published sum as a triple loop, blocks that change nothing, and what it tends to."""

import gc
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mscon.contrast import RankTargets, blocks, contrastive_loss, rank_targets


def textbook(z: Tensor, values: list[float], period: float | None, temperature: float) -> Tensor:
    """Loss, floor and chance of every row, triple by triple; zeros where a number is missing."""
    unit = torch.nn.functional.normalize(z, dim=1)
    known = [i for i, value in enumerate(values) if not math.isnan(value)]
    marks = torch.zeros(3, len(values), dtype=torch.float64)

    def gap(i: int, j: int) -> float:
        one, two = (values[k] if period is None else values[k] % period for k in (i, j))
        gap = abs(one - two) if period is None else min(abs(one - two), period - abs(one - two))
        return round(gap, 9)  # 12.3 − 12.2 is as far as 12.2 − 12.1

    for i in known:
        others = [j for j in known if j != i]
        for j in others:
            farther = [k for k in others if gap(i, k) >= gap(i, j)]
            ties = [k for k in others if gap(i, k) == gap(i, j)]
            total = sum(math.exp(float(unit[i] @ unit[k]) / temperature) for k in farther)
            terms = (
                math.log(total) - float(unit[i] @ unit[j]) / temperature,
                math.log(len(ties)),
                math.log(len(farther)),
            )
            marks[:, i] += torch.tensor(terms, dtype=torch.float64) / len(others)
    return marks


def marks(z: Tensor, values: list[float], **settings: Any) -> Tensor:
    period = settings.pop("period", None)
    found = contrastive_loss(z, RankTargets.of(torch.tensor(values, dtype=torch.float64), period=period), **settings)
    return torch.stack([found.loss, found.floor, found.chance])


def rows(count: int) -> Tensor:
    return torch.randn(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(count))


NUMBER = st.one_of(
    st.integers(-4, 12).map(float), st.integers(-500, 500).map(lambda tenths: tenths / 10), st.just(math.nan)
)


@given(st.lists(NUMBER, min_size=1, max_size=10), st.sampled_from([None, 7.0]), st.sampled_from([1, 5, 2**20]))
@settings(deadline=None, max_examples=80)
def test_loss_floor_and_chance_are_the_published_sums_in_blocks_of_any_size(
    values: list[float], period: float | None, tile: int
) -> None:
    z = rows(len(values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_NUMBERS", tile)
        found = marks(z, values, period=period, temperature=0.3)
    torch.testing.assert_close(found, textbook(z, values, period, 0.3), rtol=1e-10, atol=1e-12)
    assert (found[0] >= found[1] - 1e-12).all()
    assert (found[1] <= found[2] + 1e-12).all()


@pytest.mark.parametrize("period", [None, 10.0])
def test_blocks_change_neither_value_nor_gradient(period: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    values, z = [3.0, 1.0, 1.0, 9.5, 4.0, -2.0, 7.0, 3.0, 0.25], rows(9)
    results: list[tuple[Tensor, Tensor]] = []
    for tile in (2**20, 30, 1):
        monkeypatch.setattr(blocks, "BLOCK_NUMBERS", tile)
        leaf = z.clone().requires_grad_()
        losses = marks(leaf, values, period=period)[0]
        (losses * torch.linspace(1.0, 2.0, 9, dtype=z.dtype)).sum().backward()
        assert leaf.grad is not None
        results.append((losses.detach(), leaf.grad))
    for each in results[1:]:
        torch.testing.assert_close(each, results[0], rtol=1e-12, atol=1e-12)


def test_rows_of_one_process_are_the_whole_ones_part() -> None:
    z = torch.nn.functional.normalize(rows(9), dim=1)
    targets = RankTargets.of(torch.arange(9.0).square())
    whole = rank_targets.rank_losses(z, targets, temperature=0.2)
    for own in (slice(0, 4), slice(4, 9), slice(3, 3)):
        part = rank_targets.rank_losses(z, targets, temperature=0.2, own=own)
        torch.testing.assert_close(part, tuple(each[own] for each in whole), rtol=1e-12, atol=1e-12)


def test_gradients_are_finite_differences_at_a_low_temperature_and_beside_ties() -> None:
    targets = RankTargets.of(torch.tensor([0.0, 0.0, 1.0, 2.0, 3.0, 3.0]), period=6.0)
    z = rows(6).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: contrastive_loss(z, targets, temperature=0.02).loss, z)


def test_the_loss_falls_to_its_floor_as_scores_fall_ever_more_steeply_with_distance() -> None:
    # On an arc, cosines fall with the angle, and angles go with the values; two rows tie.
    values = [0.0, 1.0, 2.0, 3.0, 4.0, 4.0]
    angle = torch.tensor(values, dtype=torch.float64) / 4.0
    z = torch.stack([angle.cos(), angle.sin()], dim=1)
    found = [marks(z, values, temperature=temperature) for temperature in (1.0, 0.1, 0.001)]
    excesses = [float((loss - floor).max()) for loss, floor, _ in found]
    assert excesses[0] > 2 * excesses[1] > 0.0
    assert excesses[2] == pytest.approx(0.0, abs=1e-9)
    assert found[2][1].max() > 0.0


def test_where_all_scores_are_alike_the_loss_is_that_of_chance() -> None:
    found = marks(torch.ones(7, 3, dtype=torch.float64), [0.0, 1.0, 1.0, 5.0, 9.0, 2.0, 2.0])
    torch.testing.assert_close(found[0], found[2])


def test_numbers_count_by_their_order_of_distance_alone() -> None:
    z, values = rows(6), [0.0, 1.0, 3.0, 7.0, 15.0, 31.0]
    scaled = [1e150 * value - 1e140 for value in values]
    torch.testing.assert_close(marks(z, scaled), marks(z, values))


def test_no_tensor_as_large_as_all_pairs_is_kept_for_the_backward_pass() -> None:
    n = 300
    z = torch.nn.functional.normalize(torch.randn(n, 4), dim=1).requires_grad_()
    losses, _, _ = rank_targets.rank_losses(z, RankTargets.of(torch.rand(n)), temperature=0.1)
    gc.collect()
    held = [each.numel() for each in gc.get_objects() if type(each) is Tensor]
    assert max(held) < n * (n - 1)
    losses.mean().backward()


@pytest.mark.parametrize("period", [None, 24.0])
def test_euros_and_cents_are_the_same_and_so_are_equal_times_of_different_days(period: float | None) -> None:
    generator = torch.Generator().manual_seed(0)
    cents, z = torch.randint(0, 4000, (60,), generator=generator).double(), rows(60)
    turns = 24.0 * torch.randint(0, 30, (60,), generator=generator) if period else torch.zeros(60)
    euros = cents / 100 + turns.double()
    whole = marks(z, cents.tolist(), period=period and 100 * period, temperature=0.3)
    torch.testing.assert_close(marks(z, euros.tolist(), period=period, temperature=0.3), whole)


@pytest.mark.parametrize("others", [[1e6], [-3e7, 1e6]], ids=str)
def test_one_value_far_off_does_not_make_distances_equal(others: list[float]) -> None:
    numbers = torch.cat([torch.arange(60) / 2, torch.tensor(others)])
    found = [contrastive_loss(rows(len(numbers)), RankTargets.of(each)) for each in (numbers, numbers.double())]
    torch.testing.assert_close(found[0].floor[:60], found[1].floor[:60])


def test_numbers_in_a_coarse_type_are_told_apart_as_far_as_it_goes() -> None:
    tenths = torch.arange(-30, 30).double() / 10
    exact = contrastive_loss(rows(60), RankTargets.of(tenths))
    for offset in (0.0, 100.0):  # in float32 a tenth beside 100 is off by 8e-6
        found = contrastive_loss(rows(60), RankTargets.of((tenths + offset).float()))
        torch.testing.assert_close(found.floor, exact.floor)

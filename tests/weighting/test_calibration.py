"""Label noise and relative excess: the closed form against the formula, an optimiser and the loss on real batches."""

import math
from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from mscon.contrast import LabelTargets, contrastive_loss
from mscon.weighting.calibration import Classes, noise_share, relative_excess_of

FIVE = [0.6, 0.25, 0.1, 0.04, 0.01]
SHARES = torch.linspace(0.0, 1.0, 41, dtype=torch.float64)


def one(histogram: list[float]) -> Classes:
    each = Classes.of_histograms([histogram])
    return Classes(share=each.share[0], mass=each.mass[0])


def r_of(noise: float, histogram: list[float], temperature: float) -> float:
    return float(relative_excess_of(torch.tensor(noise, dtype=torch.float64), one(histogram), temperature))


@pytest.mark.parametrize(("classes", "expected"), [(2, 0.68), (5, 0.62), (20, 0.55), (200, 0.48)])
def test_a_fifth_of_the_labels_replaced(classes: int, expected: float) -> None:
    assert r_of(0.2, [1.0] * classes, 0.07) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("noise", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("histogram", [[0.8, 0.2], FIVE], ids=len)
def test_where_temperature_does_not_bind_it_is_the_information_in_a_pair(noise: float, histogram: list[float]) -> None:
    pi = torch.tensor(histogram, dtype=torch.float64)
    survive = (1.0 - noise) ** 2
    joint = survive * torch.eye(len(pi), dtype=torch.float64) + (1.0 - survive) * pi
    information = (pi[:, None] * joint * (joint / pi).log()).sum()
    assert r_of(noise, histogram, 0.02) == pytest.approx(float(1.0 - information / -(pi * pi.log()).sum()), abs=1e-9)


CASES = [*product([2, 5, 11], [0.0, 0.2, 0.5], [0.1, 0.5, 1.0])]


@pytest.mark.parametrize(("classes", "noise", "temperature"), CASES)
def test_balanced_classes_agree_with_an_optimiser_of_unit_vectors(
    classes: int, noise: float, temperature: float
) -> None:
    histogram = [1.0 / classes] * classes
    best = best_relative_excess(histogram, noise, temperature)
    assert r_of(noise, histogram, temperature) == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize(("noise", "temperature"), [*product([0.0, 0.2, 0.5, 0.8], [0.1, 0.5, 1.0])])
@pytest.mark.parametrize("histogram", [[0.8, 0.2], FIVE], ids=len)
def test_unbalanced_classes_stay_within_the_stated_bounds(
    histogram: list[float], noise: float, temperature: float
) -> None:
    points = best_relative_excess(histogram, noise, temperature)
    binding = {0.1: 0.0005, 0.5: 0.04, 1.0: 0.07}[temperature]
    assert points - 0.04 <= r_of(noise, histogram, temperature) <= points + binding


def test_items_that_spread_within_their_class_come_closer_to_it() -> None:
    closed = r_of(0.2, [0.8, 0.2], 0.1)
    points, spread = (best_relative_excess([0.8, 0.2], 0.2, 0.1, items=items) for items in (1, 20))
    assert closed < spread < points - 0.005


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.5])
def test_it_is_what_the_loss_comes_to_on_a_batch_with_shuffled_labels(noise: float) -> None:
    """Projections that know the true class of 6,000 items, in 5 classes, parted by the best gap."""
    classes, temperature, items = 5, 0.1, 6000
    generator = torch.Generator().manual_seed(0)
    true = torch.arange(items) % classes
    replaced = torch.randperm(items, generator=generator)[: int(noise * items)]
    labels = true.clone()
    labels[replaced] = true[torch.randint(items, replaced.shape, generator=generator)]
    survive = (1.0 - noise) ** 2
    gap = math.log1p(survive * classes / (1.0 - survive)) if noise else 12.0
    simplex = torch.eye(classes, dtype=torch.float64) - 1.0 / classes
    simplex = simplex / simplex.norm(dim=1, keepdim=True)
    apart = gap * temperature * (classes - 1) / classes
    corners = torch.cat([apart**0.5 * simplex, torch.full((classes, 1), (1.0 - apart) ** 0.5)], dim=1)
    losses = contrastive_loss(corners[true], LabelTargets.of(labels), temperature=temperature)
    r = (losses.mean - losses.mean_floor) / (losses.mean_chance - losses.mean_floor)
    assert float(r) == pytest.approx(r_of(noise, [1.0] * classes, temperature), abs=0.01)


@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("histogram", [[0.95, 0.05], FIVE, [1.0] * 200], ids=len)
def test_it_rises_with_the_noise_to_one_and_the_inverse_undoes_it(histogram: list[float], temperature: float) -> None:
    classes = one(histogram)
    r = relative_excess_of(SHARES, classes, temperature)
    assert all(left < right for left, right in pairwise(r.tolist()))
    assert float(r[-1]) == pytest.approx(1.0, abs=1e-12)
    noise = noise_share(r, Classes(share=classes.share.expand(41, -1), mass=classes.mass.expand(41, -1)), temperature)
    torch.testing.assert_close(noise[:-1], SHARES[:-1], rtol=0, atol=2e-6)


def test_the_inverse_is_clamped_at_its_ends() -> None:
    classes = Classes.of_histograms([[1.0, 1.0]] * 5)
    r = torch.tensor([-0.2, 0.02, 1.0, 1.7, float("nan")])
    torch.testing.assert_close(
        noise_share(r, classes, 0.5), torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    )


def test_similarities_side_by_side_give_what_each_gives_alone() -> None:
    histograms, temperatures = [FIVE, [3.0, 0.0, 1.0], [1.0] * 20], [0.1, 0.5, 1.0]
    r = torch.tensor([0.7, 0.8, 0.9])
    together = noise_share(r, Classes.of_histograms(histograms), torch.tensor(temperatures))
    alone = [
        float(noise_share(each, one(histogram), temperature))
        for each, histogram, temperature in zip(r, histograms, temperatures, strict=True)
    ]
    assert together.tolist() == alone


def test_a_similarity_without_a_histogram_counts_as_balanced_classes() -> None:
    span = torch.tensor([math.log(5.0), 9.0, math.log(2.5)])
    filled = Classes.of_histograms([None, [1.0] * 5, [7.0]]).filled(span)
    torch.testing.assert_close(filled.count, torch.tensor([5.0, 5.0, 2.5], dtype=torch.float64))
    r = relative_excess_of(torch.full((3,), 0.2), filled, 0.1)
    assert float(r[0]) == pytest.approx(float(r[1]), abs=1e-6)
    assert r_of(0.2, [1.0] * 3, 0.1) < float(r[2]) < r_of(0.2, [1.0] * 2, 0.1)


def test_counts_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        Classes.of_histograms([[1.0, -1.0]])


def best_relative_excess(histogram: list[float], noise: float, temperature: float, *, items: int = 1) -> float:
    """The least r that unit vectors reach, by L-BFGS from random ones: so many items to a class, each with a vector of
    its own, and infinitely many candidates of each.
    """
    pi = torch.tensor(histogram, dtype=torch.float64)
    true = torch.arange(len(pi)).repeat_interleave(items)
    share = (pi / items)[true]
    survive = (1.0 - noise) ** 2
    positives = survive * (true[:, None] == true) / items + (1.0 - survive) * share
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(len(true), max(len(true), 2) + 2, generator=generator, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([z], max_iter=1000, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def below_chance() -> Tensor:
        optimiser.zero_grad()
        units = torch.nn.functional.normalize(z, dim=1)
        logits = units @ units.T / temperature
        losses = torch.logsumexp(logits + share.log(), dim=1) - (positives * logits).sum(dim=1)
        total = (share * losses).sum()
        total.backward()
        return total.detach()

    optimiser.step(below_chance)
    return 1.0 + float(below_chance()) / -float((pi * pi.log()).sum())


def test_classes_of_the_same_size_are_one_entry_and_nothing_else_changes() -> None:
    classes, _ = torch.randint(1, 9, (3000,), generator=torch.Generator().manual_seed(0)).sort()
    known = Classes.of_histograms([classes.tolist(), None, [5]])
    assert known.share.shape == (3, 8)
    each = classes.double() / classes.sum()
    plain = Classes(share=each, mass=each)
    assert float(known.count[0]) == pytest.approx(3000.0)
    torch.testing.assert_close(known.entropy[0], plain.entropy)
    assert not known.mass[1:].any()
    noise = torch.tensor([0.0, 0.2, 0.7], dtype=torch.float64)
    sized, one_by_one = (Classes(each.share.expand(3, -1), each.mass.expand(3, -1)) for each in (_first(known), plain))
    torch.testing.assert_close(relative_excess_of(noise, sized, 0.1), relative_excess_of(noise, one_by_one, 0.1))


def _first(known: Classes) -> Classes:
    return Classes(known.share[0], known.mass[0])

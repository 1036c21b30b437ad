"""Weightings fed with losses made by hand: what they learn, when their state moves, and how it is kept."""

import math

import pytest
import torch

from mscon.weighting import BatchTerms, Excess, Fixed, Uncertainty


def terms(loss: list[float], floor: list[float], chance: list[float], anchors: list[int]) -> BatchTerms:
    return BatchTerms(
        loss=torch.tensor(loss, requires_grad=True),
        floor=torch.tensor(floor),
        chance=torch.tensor(chance),
        anchors=torch.tensor(anchors),
    )


TWO = terms([2.0, 4.0], [1.0, 3.0], [5.0, 5.0], [10, 10])


def test_fixed_weights_keep_their_ratio_and_sum_to_the_number_of_similarities() -> None:
    torch.testing.assert_close(Fixed([1.0, 3.0])(TWO).weight, torch.tensor([0.5, 1.5]))
    with pytest.raises(ValueError, match="at least 0"):
        Fixed([1.0, -1.0])


def test_excess_is_a_ratio_of_running_sums() -> None:
    weighting = Excess(2, decay=0.5, warmup=0)
    weighting(terms([2.0, 4.0], [1.0, 3.0], [5.0, 5.0], [10, 10]))
    weighting(terms([3.0, 4.0], [1.0, 3.0], [5.0, 5.0], [30, 10]))
    first = (0.25 * 10 * 1.0 + 0.5 * 30 * 2.0) / (0.25 * 10 * 4.0 + 0.5 * 30 * 4.0)
    torch.testing.assert_close(weighting.relative_excess, torch.tensor([first, 0.5], dtype=torch.float64))


def test_excess_weights_are_inverse_to_the_relative_excess_and_sum_to_c() -> None:
    weights = Excess(2, warmup=0)(TWO)
    torch.testing.assert_close(weights.weight, torch.tensor([2.0, 1.0]) * 2.0 / 3.0)
    assert weights.penalty == 0.0
    assert not weights.weight.requires_grad


def test_excess_is_equal_during_warm_up_and_after_it_no_more() -> None:
    weighting = Excess(2, warmup=3)
    for _ in range(3):
        torch.testing.assert_close(weighting(TWO).weight, torch.ones(2))
    assert weighting(TWO).weight[0] > 1.2


def test_excess_bounds_a_perfect_and_a_worse_than_chance_similarity() -> None:
    weighting = Excess(2, least=0.1, warmup=0)
    weighting(terms([1.0, 9.0], [1.0, 3.0], [5.0, 5.0], [10, 10]))
    torch.testing.assert_close(weighting.relative_excess, torch.tensor([0.1, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("weighting", [Excess(2, warmup=0), Uncertainty(2)], ids=["excess", "uncertainty"])
def test_similarity_absent_from_a_batch_keeps_its_state(weighting: Excess | Uncertainty) -> None:
    weighting(TWO)
    before = {name: value.clone() for name, value in weighting.state_dict().items()}
    out = weighting(terms([2.5, 0.0], [1.0, 0.0], [5.0, 0.0], [10, 0]))
    out.penalty.backward() if out.penalty.requires_grad else None
    if isinstance(weighting, Excess):
        assert weighting.relative_excess[1] == before["excess"][1] / before["span"][1]
    else:
        assert weighting.log_variance.grad is not None
        assert weighting.log_variance.grad[1] == 0.0
        assert weighting.log_variance.grad[0] != 0.0


def test_state_moves_in_training_mode_only_and_is_saved() -> None:
    weighting = Excess(2, warmup=0)
    weighting(TWO)
    saved = {name: value.clone() for name, value in weighting.state_dict().items()}
    weighting.eval()
    weighting(terms([4.0, 4.0], [1.0, 3.0], [5.0, 5.0], [10, 10]))
    torch.testing.assert_close(dict(weighting.state_dict()), saved)
    other = Excess(2, warmup=0).eval()
    other.load_state_dict(saved)
    torch.testing.assert_close(other(TWO).weight, weighting(TWO).weight)


def test_uncertainty_settles_at_one_over_the_loss_and_leaves_the_total_alone() -> None:
    weighting = Uncertainty(2)
    optimiser = torch.optim.Adam(weighting.parameters(), lr=0.05)
    for _ in range(500):
        optimiser.zero_grad()
        out = weighting(TWO)
        assert out.penalty == 0.0
        assert not out.weight.requires_grad
        out.penalty.backward()
        optimiser.step()
    torch.testing.assert_close(weighting.log_variance.exp(), torch.tensor([2.0, 4.0]), rtol=1e-3, atol=0)
    torch.testing.assert_close(weighting(TWO).weight, torch.tensor([4.0, 2.0]) / 3.0, rtol=1e-3, atol=0)


def test_uncertainty_can_leave_its_bound_again() -> None:
    weighting = Uncertainty(1)
    with torch.no_grad():
        weighting.log_variance.fill_(6.0)
    out = weighting(terms([1.0], [0.0], [2.0], [5]))
    out.penalty.backward()
    assert weighting.log_variance.grad is not None
    assert float(weighting.log_variance.grad) == pytest.approx(1.0 - math.exp(-4.0))


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="decay"):
        Excess(2, decay=1.0)


def test_perfect_similarities_of_2_and_of_200_classes_are_trusted_alike_by_excess_and_not_by_uncertainty() -> None:
    """127 candidates: the floors of a balanced batch are log 63 and about log 1.3; both losses sit just above their
    floor.
    """
    floors = [math.log(63.0), math.log(1.3)]
    chance = math.log(127.0)
    clean = terms([f + 0.1 * (chance - f) for f in floors], floors, [chance, chance], [128, 80])
    torch.testing.assert_close(Excess(2, warmup=0)(clean).weight, torch.ones(2))
    weighting = Uncertainty(2)
    with torch.no_grad():
        weighting.log_variance.copy_(clean.loss.detach().log())  # where its objective is least
    weight = weighting(clean).weight
    assert weight[1] > 4.0 * weight[0]

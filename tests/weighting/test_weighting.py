"""Weightings fed with losses made by hand: what they learn, when their state moves, and how it is kept."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, get_args
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from mscon.terms import BatchTerms
from mscon.weighting import Excess, Fixed, Function, Uncertainty
from mscon.weighting.calibration import Classes, noise_share, relative_excess_of


def terms(loss: list[float], floor: list[float], chance: list[float], anchors: list[int]) -> BatchTerms:
    return BatchTerms(
        loss=torch.tensor(loss, requires_grad=True),
        floor=torch.tensor(floor),
        chance=torch.tensor(chance),
        anchors=torch.tensor(anchors),
        mass=torch.tensor(anchors, dtype=torch.float64),
    )


TWO = terms([2.0, 4.0], [1.0, 3.0], [5.0, 5.0], [10, 10])


def test_fixed_weights_keep_their_ratio_and_sum_to_the_number_of_similarities() -> None:
    torch.testing.assert_close(Fixed([1.0, 3.0])(TWO).weight, torch.tensor([0.5, 1.5]))
    with pytest.raises(ValueError, match="at least 0"):
        Fixed([1.0, -1.0])


def with_relative_excess(*r: float, classes: Sequence[int] | None = None, anchors: int = 10) -> BatchTerms:
    """Balanced classes, ten unless said otherwise, among a thousand candidates."""
    spans = [math.log(count) for count in classes or [10] * len(r)]
    floor = [math.log(1000.0) - span for span in spans]
    loss = [low + each * span for low, each, span in zip(floor, r, spans, strict=True)]
    return terms(loss, floor, [math.log(1000.0)] * len(r), [anchors] * len(r))


def test_excess_is_a_ratio_of_running_sums() -> None:
    weighting = Excess(2, decay=0.5)
    weighting(terms([2.0, 4.0], [1.0, 3.0], [5.0, 5.0], [10, 10]))
    weighting(terms([3.0, 4.0], [1.0, 3.0], [5.0, 5.0], [30, 10]))
    first = (0.25 * 10 * 1.0 + 0.5 * 30 * 2.0) / (0.25 * 10 * 4.0 + 0.5 * 30 * 4.0)
    torch.testing.assert_close(weighting.trust.relative_excess, torch.tensor([first, 0.5], dtype=torch.float64))


@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("signal", lambda r: 1.0 - r),
        ("odds", lambda r: (1.0 - r) / r),
        ("inverse", lambda r: 1.0 / r),
    ],
)
def test_excess_weights_are_their_function_of_r_and_sum_to_c(
    function: Function, value: Callable[[float], float]
) -> None:
    weights = Excess(3, function=function, least=0.2)(with_relative_excess(0.01, 0.4, 1.3))
    expected = torch.tensor([0.2 + value(r) for r in (0.05, 0.4, 1.0)])
    torch.testing.assert_close(weights.weight, 3.0 * expected / expected.sum())
    assert weights.penalty == 0.0
    assert not weights.weight.requires_grad


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_calibrated_weights_are_the_survival_of_pairs_whatever_the_classes(temperature: float) -> None:
    """A third of the labels replaced, under 2, 5, 20 and 200 classes, none under three: by r alone they differ."""
    classes, noise = [2, 5, 20, 200, 3], torch.tensor([1 / 3, 1 / 3, 1 / 3, 1 / 3, 0.0])
    spans = torch.tensor(classes, dtype=torch.float64).log()
    r = relative_excess_of(noise, Classes.balanced(spans), temperature)
    batch = with_relative_excess(*r.tolist(), classes=classes)
    weighting = Excess(5, temperatures=[temperature] * 5, least=1e-9)
    weight = weighting(batch).weight
    torch.testing.assert_close(weight / weight[-1], torch.tensor([4 / 9, 4 / 9, 4 / 9, 4 / 9, 1.0]), rtol=2e-3, atol=0)
    torch.testing.assert_close(weighting.trust.noise_share.float(), noise, rtol=0, atol=2e-3)
    signal = Excess(5, function="signal")(batch).weight
    assert abs(float((signal[3] / signal[0]).log())) > 0.2


def test_a_histogram_takes_the_place_of_balanced_classes() -> None:
    pi = torch.tensor([0.95, 0.05], dtype=torch.float64)
    r = float(relative_excess_of(torch.tensor([0.4]), Classes.of_histograms([pi.tolist()]), 0.1))
    span = -float((pi * pi.log()).sum())
    batch = terms([5.0 + r * span] * 2, [5.0] * 2, [5.0 + span] * 2, [10] * 2)
    weighting = Excess(2, histograms=[[95, 5, 0], None])
    weighting(batch)
    noise = weighting.trust.noise_share.tolist()
    assert noise[0] == pytest.approx(0.4, abs=1e-3)
    assert noise[1] < 0.32


def test_pure_noise_among_three_gets_little_and_inverse_gives_it_a_seventh() -> None:
    batch = with_relative_excess(0.5, 0.5, 1.0)
    assert float(Excess(3)(batch).weight[2]) / 3.0 < 0.08
    assert float(Excess(3, function="inverse")(batch).weight[2]) / 3.0 > 1.0 / 7.0


def test_three_copies_share_the_weight_of_one_and_a_half_copy_counts_for_half() -> None:
    two, four = Excess(2), Excess(4, shared=[[1, 0, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1]])
    alone = two(with_relative_excess(0.3, 0.7)).weight / 2
    copies = four(with_relative_excess(0.3, 0.7, 0.7, 0.7)).weight / 4
    torch.testing.assert_close(copies[0], alone[0])
    torch.testing.assert_close(copies[1:], (alone[1] / 3).expand(3))
    half = Excess(3, shared=[[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])(with_relative_excess(0.3, 0.3, 0.3)).weight
    torch.testing.assert_close(half / half[2], torch.tensor([2 / 3, 2 / 3, 1.0]))


def test_an_honest_similarity_that_is_hard_to_see_keeps_a_share() -> None:
    assert float(Excess(3)(with_relative_excess(0.5, 0.5, 0.9)).weight[2]) / 3.0 > 0.15


def test_weights_are_equal_before_anything_is_learned_and_part_gradually() -> None:
    weighting = Excess(2)
    torch.testing.assert_close(weighting.trust.weight, torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(weighting(with_relative_excess(1.02, 1.0)).weight, torch.ones(2))
    falling = torch.linspace(1.0, 0.5, 50).tolist()
    first = [float(weighting(with_relative_excess(r, 1.0)).weight[0]) for r in falling]
    assert first == sorted(first)
    assert first[-1] > 1.5


NOTHING = [
    pytest.param(terms([0.0, 2.0], [0.0, 1.0], [0.0, 5.0], [0, 10]), id="no anchors"),
    pytest.param(terms([5.0, 2.0], [5.0, 1.0], [5.0, 5.0], [10, 10]), id="all alike"),
    pytest.param(terms([9.0, 2.0], [3.0, 1.0], [5.0, 5.0], [10, 10]), id="worse than chance"),
    pytest.param(terms([math.inf, 2.0], [3.0, 1.0], [5.0, 5.0], [10, 10]), id="overflow"),
]


@pytest.mark.parametrize("function", get_args(Function))
@pytest.mark.parametrize("batch", NOTHING)
def test_a_similarity_that_tells_nothing_counts_as_noise(batch: BatchTerms, function: Function) -> None:
    weighting = Excess(2, function=function)
    weight = weighting(batch).weight
    assert float(weight.sum()) == pytest.approx(2.0)
    assert 0.0 < weight[0] < weight[1]
    assert weighting.trust.relative_excess[0] >= 1.0
    assert weighting.trust.noise_share[0] == 1.0


def test_what_is_held_out_takes_the_place_of_batches_and_of_what_was_held_out_before() -> None:
    weighting = Excess(2)
    weighting(with_relative_excess(0.2, 0.2))
    weighting.observe_held_out(with_relative_excess(0.5, 1.0))
    weighting.observe_held_out(with_relative_excess(0.3, 0.9))
    out = weighting(with_relative_excess(0.1, 0.1))
    trust = weighting.trust
    torch.testing.assert_close(trust.relative_excess, torch.tensor([0.3, 0.9], dtype=torch.float64))
    torch.testing.assert_close(out.weight, Excess(2)(with_relative_excess(0.3, 0.9)).weight)
    torch.testing.assert_close(out.weight.double(), trust.weight, rtol=1e-6, atol=0)
    assert trust.held_out.all()


def test_a_similarity_without_held_out_anchors_stays_with_its_batches() -> None:
    weighting = Excess(2)
    weighting(with_relative_excess(0.2, 0.3))
    weighting.observe_held_out(terms([3.0, 0.0], [1.0, 0.0], [5.0, 0.0], [10, 0]))
    torch.testing.assert_close(weighting.trust.relative_excess, torch.tensor([0.5, 0.3], dtype=torch.float64))
    assert weighting.trust.held_out.tolist() == [True, False]


def test_the_noise_share_is_solved_for_once_per_change_and_never_kept_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solve = Mock(side_effect=noise_share)
    monkeypatch.setattr("mscon.weighting.excess.noise_share", solve)
    weighting = Excess(2)
    batch = with_relative_excess(0.9, 0.2)

    def anew() -> Tensor:
        """The weights of a module that has the same state and has solved nothing yet."""
        other = Excess(2, temperatures=weighting.temperatures.tolist())
        other.load_state_dict(weighting.state_dict())
        return other.eval()(batch).weight

    def solved_for(change: Callable[[], object]) -> int:
        change()
        solve.reset_mock()
        for _ in range(5):
            assert torch.equal(weighting(batch).weight, anew())
        return solve.call_count - 5

    assert solved_for(lambda: weighting(batch)) == 5, "batches change at every step"
    assert solved_for(lambda: weighting.observe_held_out(with_relative_excess(0.3, 0.6))) == 1
    assert solved_for(lambda: weighting.temperatures.fill_(0.5)) == 1
    state = {name: each.flip(-1) for name, each in weighting.state_dict().items()}
    assert solved_for(lambda: weighting.load_state_dict(state)) == 1
    assert solved_for(lambda: weighting.eval()) == 0


def test_a_trust_that_a_validation_asked_for_serves_a_training() -> None:
    weighting = Excess(2).double()
    batch = with_relative_excess(0.3, 0.2)
    batch = replace(batch, loss=batch.loss.detach().double().requires_grad_())
    with torch.inference_mode():
        weighting.observe_held_out(batch)
        asked = weighting.trust.weight
    (weighting(batch).weight * batch.loss).sum().backward()
    assert batch.loss.grad is not None
    torch.testing.assert_close(batch.loss.grad, asked.clone())


def test_what_is_held_out_can_be_left_out_of_account() -> None:
    weighting, batches = Excess(2, held_out=False), Excess(2)
    weighting.observe_held_out(with_relative_excess(0.5, 1.0))
    batch = with_relative_excess(0.4, 0.2)
    assert torch.equal(weighting(batch).weight, batches(batch).weight)
    assert not weighting.trust.held_out.any()


@pytest.mark.parametrize("weighting", [Excess(2), Uncertainty(2)], ids=["excess", "uncertainty"])
def test_similarity_absent_from_a_batch_keeps_its_state(weighting: Excess | Uncertainty) -> None:
    weighting(TWO)
    before = weighting.trust if isinstance(weighting, Excess) else None
    out = weighting(terms([2.5, 0.0], [1.0, 0.0], [5.0, 0.0], [10, 0]))
    if isinstance(weighting, Excess) and before:
        assert weighting.trust.relative_excess[1] == before.relative_excess[1]
        assert weighting.trust.relative_excess[0] > before.relative_excess[0]
    elif isinstance(weighting, Uncertainty):
        out.penalty.backward()
        assert weighting.log_variance.grad is not None
        assert weighting.log_variance.grad[1] == 0.0
        assert weighting.log_variance.grad[0] != 0.0


def test_state_moves_in_training_mode_only_and_is_saved() -> None:
    weighting = Excess(2)
    weighting(TWO)
    weighting.observe_held_out(terms([2.0, 0.0], [1.0, 0.0], [5.0, 0.0], [10, 0]))
    saved = {name: value.clone() for name, value in weighting.state_dict().items()}
    weighting.eval()
    weighting(terms([4.0, 4.5], [1.0, 3.0], [5.0, 5.0], [10, 10]))
    torch.testing.assert_close(dict(weighting.state_dict()), saved)
    other = Excess(2)
    other.load_state_dict(saved)
    weighting.train()
    for each in (weighting, other):
        each(terms([3.0, 3.5], [1.0, 3.0], [5.0, 5.0], [10, 10]))
    assert torch.equal(other(TWO).weight, weighting(TWO).weight)


def test_weights_follow_the_similarities_when_those_change_places() -> None:
    r, classes, temperatures, histograms = [0.3, 0.6, 0.9], [2, 10, 50], [0.1, 0.2, 0.5], [[1.0, 1.0], None, None]
    order = [2, 0, 1]

    def weights(order: Sequence[int]) -> Tensor:
        weighting = Excess(3, temperatures=[temperatures[i] for i in order], histograms=[histograms[i] for i in order])
        return weighting(with_relative_excess(*(r[i] for i in order), classes=[classes[i] for i in order])).weight

    torch.testing.assert_close(weights(order), weights(range(3))[torch.tensor(order)])


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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decay": 1.0}, "decay"),
        ({"least": 0.0}, "least"),
        ({"temperatures": [0.1]}, "2 temperatures"),
        ({"temperatures": [0.1, 0.0]}, "above 0"),
        ({"histograms": [[1, 2]]}, "2 histograms"),
        ({"histograms": [[1, -2], None]}, "at least 0"),
        ({"shared": [[1.0]]}, "shared must be 2 × 2"),
        ({"shared": [[1.0, 0.5], [0.4, 1.0]]}, "symmetric"),
        ({"shared": [[1.0, 1.5], [1.5, 1.0]]}, "in \\[0, 1\\]"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Excess(2, **settings)


def test_perfect_similarities_of_2_and_of_200_classes_are_trusted_alike_by_excess_and_not_by_uncertainty() -> None:
    """127 candidates: the floors of a balanced batch are log 63 and about log 1.3; both losses sit just above their
    floor.
    """
    floors = [math.log(63.0), math.log(1.3)]
    chance = math.log(127.0)
    clean = terms([f + 0.1 * (chance - f) for f in floors], floors, [chance, chance], [128, 80])
    torch.testing.assert_close(Excess(2)(clean).weight, torch.ones(2), rtol=0.02, atol=0)
    weighting = Uncertainty(2)
    with torch.no_grad():
        weighting.log_variance.copy_(clean.loss.detach().log())  # where its objective is least
    weight = weighting(clean).weight
    assert weight[1] > 4.0 * weight[0]


def test_held_out_items_of_one_class_say_nothing_and_change_nothing() -> None:
    weighting = Excess(2)
    weighting(with_relative_excess(0.3, 0.2))
    before = weighting.trust
    weighting.observe_held_out(terms([2.0, 3.0], [1.0, 3.0], [5.0, 3.0], [10, 10]))
    assert weighting.trust.held_out.tolist() == [True, False]
    torch.testing.assert_close(weighting.trust.relative_excess[1], before.relative_excess[1])


def test_uncertainty_waits_at_its_bound_and_leaves_it_as_soon_as_the_loss_does() -> None:
    weighting = Uncertainty(1)
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.1)
    seen: list[float] = []
    for loss in [0.005] * 200 + [2.0] * 20:
        optimizer.zero_grad()
        weighting(terms([loss], [0.0], [5.0], [10])).penalty.backward()
        seen.append(float(weighting.log_variance.detach()))
        optimizer.step()
    assert min(seen) == -Uncertainty.BOUND
    assert seen[199] == -Uncertainty.BOUND
    assert seen[202] > -Uncertainty.BOUND

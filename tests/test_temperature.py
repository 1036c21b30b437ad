"""Learned temperatures: gradients against finite differences, bounds, resume; uncertainty without approximation."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mscon import MSConLoss
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
from mscon.temperature import Temperatures
from mscon.weighting import Excess

N = 12
CODES = torch.arange(N) % 3
NUMBERS = torch.randn(N, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).round(decimals=1)
KEYS = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
KINDS: dict[str, tuple[Similarity, Tensor]] = {
    "categorical": (Categorical(), CODES - 1),
    "instance": (Instance(), torch.arange(6).repeat(2)),
    "tags": (Tags([("a",), ("a", "b"), ("b", "c")]), CODES),
    "hierarchy": (Hierarchy([("A", "x"), ("A", "y"), ("B",)]), CODES),
    "pairs": (Pairs(torch.tensor([[0, 1], [1, 2], [3, 5]])), torch.arange(6).repeat(2)),
    "continuous": (Continuous(), NUMBERS),
    "far apart": (Continuous(0.002), NUMBERS),
    "rank_n_contrast": (RankNContrast(), NUMBERS),
    "appearance": (Appearance(KEYS), torch.arange(6).repeat(2)),
}


def rows(name: str) -> Tensor:
    return torch.randn(N, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(len(name)))


@pytest.mark.parametrize("engine", ["dense", "tiled"])
@pytest.mark.parametrize("name", KINDS)
def test_the_gradient_of_a_temperature_is_its_finite_difference(name: str, engine: Any) -> None:
    similarity, values = KINDS[name]
    for temperature in (0.021, 0.1, 0.9):
        loss_fn = MSConLoss(
            {name: similarity}, temperature=temperature, learn_temperature=True, weighting="equal", engine=engine
        ).double()
        loss_fn({name: rows(name)}, {name: values}).total.backward()
        (gradient,) = (p.grad for p in loss_fn.parameters())
        step = 1e-4
        up, down = (
            contrastive_loss(rows(name), similarity.targets(values), temperature=t, engine=engine).mean
            for t in (temperature * math.exp(step), temperature * math.exp(-step))
        )
        assert gradient is not None
        torch.testing.assert_close(gradient, ((up - down) / (2 * step)).reshape(1), rtol=1e-5, atol=1e-6)


def test_the_dense_engine_is_differentiable_twice_in_rows_and_temperature() -> None:
    similarity, values = KINDS["categorical"]
    loss_fn = MSConLoss(
        {"a": similarity}, temperature=0.3, learn_temperature=True, weighting="equal", engine="dense"
    ).double()

    def total(z: Tensor, log_temperature: Tensor) -> Tensor:
        given = {"temperatures.log_temperature": log_temperature}
        out = torch.func.functional_call(loss_fn, given, ({"a": z}, {"a": values}))
        return out.total

    start = torch.tensor([math.log(0.3)], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(total, (rows("a").requires_grad_(), start))


def test_learning_changes_neither_value_nor_gradient_of_the_rows() -> None:
    similarity, values = KINDS["tags"]
    results: list[tuple[Tensor, Tensor]] = []
    for learned in (False, True):
        loss_fn = MSConLoss({"a": similarity}, temperature=0.5, learn_temperature=learned, weighting="equal")
        leaf = rows("tags").requires_grad_()
        total = loss_fn({"a": leaf}, {"a": values}).total
        total.backward()
        assert leaf.grad is not None
        results.append((total.detach(), leaf.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-6, atol=1e-6)
    assert not list(MSConLoss({"a": similarity}).temperatures.parameters())


def steps(loss_fn: MSConLoss, optimiser: torch.optim.Optimizer, count: int, labels: Tensor) -> list[float]:
    """Learns the temperature alone, of rows that lie as they lie."""
    seen: list[float] = []
    for _ in range(count):
        optimiser.zero_grad()
        loss_fn({"a": torch.eye(3, dtype=torch.float64)[CODES]}, {"a": labels}).total.backward()
        optimiser.step()
        seen.append(loss_fn.temperature["a"])
    return seen


def new(bounds: tuple[float, float] = (0.05, 0.5)) -> tuple[MSConLoss, torch.optim.Optimizer]:
    loss_fn = MSConLoss(
        {"a": Categorical()}, temperature=0.1, learn_temperature=True, temperature_bounds=bounds, weighting="equal"
    )
    (group,) = loss_fn.parameter_groups(lr=0.1)
    return loss_fn, torch.optim.Adam([group], betas=(0.0, 0.5))


def test_a_bound_holds_and_can_be_left_again() -> None:
    loss_fn, optimiser = new()
    agreeing, at_odds = CODES, torch.arange(N) // 4
    falling = steps(loss_fn, optimiser, 30, agreeing)  # classes apart: the steeper the better
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == 0.05
    rising = steps(loss_fn, optimiser, 60, at_odds)  # rows of other classes coincide: the flatter the better
    assert rising[-1] == 0.5
    back = steps(loss_fn, optimiser, 200, agreeing)
    assert back[-1] == 0.05
    assert all(0.05 <= value <= 0.5 for value in falling + rising + back)


def test_a_resumed_temperature_goes_on_with_the_same_bits() -> None:
    whole, optimiser = new()
    expected = steps(whole, optimiser, 12, torch.arange(N) // 4)
    first, before = new()
    begun = steps(first, before, 5, torch.arange(N) // 4)
    second, after = new()
    second.load_state_dict(first.state_dict())
    after.load_state_dict(before.state_dict())
    assert begun + steps(second, after, 7, torch.arange(N) // 4) == expected


@pytest.mark.parametrize("sigma", [1.0, 0.6, 3.0])
def test_exact_uncertainty_is_the_tempered_softmax_as_written(sigma: float) -> None:
    """−log PL_i = L_i/σ² + log{Σ_a exp(s_ia/σ²) / (Σ_a exp s_ia)^(1/σ²)}."""
    z, temperature = torch.nn.functional.normalize(rows("exact"), dim=1), 0.2
    loss_fn = MSConLoss({"a": Categorical()}, temperature=temperature, weighting="uncertainty-exact").double()
    with torch.no_grad():
        loss_fn.temperatures.log_temperature.add_(2.0 * math.log(sigma))
    total = loss_fn({"a": z}, {"a": CODES}).total
    scores = z @ z.T / temperature
    expected = torch.zeros((), dtype=torch.float64)
    for i in range(N):
        others = [j for j in range(N) if j != i]
        positives = [j for j in others if CODES[j] == CODES[i]]
        sums = scores[i, others].exp().sum()
        loss = sum(sums.log() - scores[i, j] for j in positives) / len(positives)
        bracket = (scores[i, others] / sigma**2).exp().sum().log() - sums.log() / sigma**2
        expected += (loss / sigma**2 + bracket) / N
    torch.testing.assert_close(total.detach(), expected, rtol=1e-6, atol=1e-6)


def test_exact_uncertainty_is_bounded_as_the_approximate_one_is() -> None:
    loss_fn = MSConLoss({"a": Categorical()}, temperature=0.2, weighting="uncertainty-exact")
    for beyond, sigma2 in ((-99.0, math.exp(-4)), (99.0, math.exp(4))):
        with torch.no_grad():
            loss_fn.temperatures.log_temperature.fill_(beyond)
        assert loss_fn.temperature["a"] == pytest.approx(0.2 * sigma2)
    assert len(list(loss_fn.parameters())) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [0.1, 0.0]}, "must be positive"),
        ({"values": [0.1, math.nan]}, "must be positive and finite"),
        ({"values": [math.inf]}, "must be positive and finite"),
        ({"values": [0.01], "learned": True}, r"within its bounds: 0\.02 ≤ 0\.01 ≤ 1\.0"),
        ({"values": [0.1], "learned": True, "bounds": (0.0, 1.0)}, "within its bounds"),
        ({"values": [0.1, 0.5], "learned": True, "bounds": [(0.1, 0.2), (0.1, 0.2)]}, "within its bounds"),
    ],
)
def test_bad_settings_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Temperatures(**arguments)


def test_exact_uncertainty_is_not_learned_twice() -> None:
    with pytest.raises(ValueError, match="leave out learn_temperature"):
        MSConLoss({"a": Categorical()}, weighting="uncertainty-exact", learn_temperature=True)


def test_the_calibration_follows_a_temperature_that_is_learned_or_loaded() -> None:
    def new_trusting() -> MSConLoss:
        return MSConLoss({"a": Categorical()}, learn_temperature=True, weighting="excess")

    learned, z = new_trusting(), torch.eye(3)[CODES]
    optimiser = torch.optim.Adam(learned.parameter_groups(lr=0.5))
    for _ in range(5):
        optimiser.zero_grad()
        learned({"a": z}, {"a": torch.arange(N) // 4}).total.backward()
        optimiser.step()
    learned({"a": z}, {"a": CODES})
    assert isinstance(learned.weighting, Excess)
    assert learned.temperature["a"] > 0.2
    assert learned.weighting.temperatures.tolist() == pytest.approx([learned.temperature["a"]])
    loaded = new_trusting()
    loaded.load_state_dict(learned.state_dict())
    assert loaded.trust == learned.trust

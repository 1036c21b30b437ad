"""Numbers at the ends of what there is: every engine is finite and right, against the equation in float64, or loud."""

import math
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor

from mscon.contrast import LabelTargets, contrastive_loss
from mscon.objective import MSConLoss
from mscon.similarity import Continuous

ENGINES = ["dense", "tiled"]
if find_spec("triton") and not torch.cuda.is_available():  # rows are on the CPU here, where the interpreter runs them
    ENGINES.append("triton")

TEMPERATURES = dict.fromkeys(ENGINES, (0.005, 0.02, 0.025, 0.5, 10.0)) | {"triton": (0.02, 10.0)}
"""Of the interpreter, which is slow, one on each side of where its ways part."""

CASES = [(engine, temperature) for engine in ENGINES for temperature in TEMPERATURES[engine]]

N, D = 24, 8


def rows(kind: str) -> tuple[Tensor, Tensor]:
    """Projections in float32 and their labels."""
    generator = torch.Generator().manual_seed(1)
    z, labels = torch.randn(N, D, generator=generator), torch.randint(5, (N,), generator=generator)
    match kind:
        case "zero rows":
            z[::3] = 0.0
        case "all zero":
            z[:] = 0.0
        case "duplicates":
            z[:] = z[0]
        case "opposites":
            z[1::2] = -z[::2]
        case "tiny":
            z *= 1e-9
        case "large":
            z *= 1e18
        case "a million classes":
            labels = torch.arange(N) // 2 * 50_000 + 7
        case "codes beyond any table":
            labels = torch.arange(N) // 2 * 10**12
        case "one item":
            z, labels = z[:1], labels[:1]
        case "no label":
            labels[:] = -1
        case "every one alone":
            labels = torch.arange(N)
    return z, labels


def loss_and_gradient(z: Tensor, labels: Tensor, engine: Any, temperature: float) -> tuple[Tensor, Tensor]:
    leaf = z.clone().requires_grad_()
    found = contrastive_loss(leaf, LabelTargets.of(labels), temperature=temperature, engine=engine).mean
    found.backward()
    assert leaf.grad is not None
    return found.detach(), leaf.grad


@pytest.mark.parametrize(("engine", "temperature"), CASES)
@pytest.mark.parametrize(
    "kind",
    [
        *("plain", "zero rows", "all zero", "duplicates", "opposites", "tiny", "large", "a million classes"),
        *("codes beyond any table", "one item", "no label", "every one alone"),
    ],
)
def test_ends_of_what_there_is_are_right(kind: str, temperature: float, engine: str) -> None:
    z, labels = rows(kind)
    expected, gradient = loss_and_gradient(z.double(), labels, "dense", temperature)
    found, ours = loss_and_gradient(z, labels, engine, temperature)
    assert torch.isfinite(ours).all()
    torch.testing.assert_close(found.double(), expected, rtol=2e-5, atol=2e-5 / temperature)
    # A gradient is as large as 1/τ and one over the row's length.
    scale = float(gradient.norm()) + float((1 / z.norm(dim=1).clamp_min(1e-12)).max()) * 1e-4 / temperature
    assert float((ours.double() - gradient).norm()) <= 2e-3 * scale


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_a_row_that_is_no_direction_is_seen_in_the_loss(odd: float, engine: str) -> None:
    z, labels = rows("plain")
    z[3] = odd
    found, _ = loss_and_gradient(z, labels, engine, 0.1)
    assert found.isnan()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_row_without_a_label_may_hold_anything(engine: str) -> None:
    z, labels = rows("plain")
    labels[3] = -1
    expected, _ = loss_and_gradient(z, labels, engine, 0.1)
    for odd in (float("nan"), float("inf"), 1e30):
        z[3] = odd
        found, gradient = loss_and_gradient(z, labels, engine, 0.1)
        torch.testing.assert_close(found, expected)
        assert gradient[3].eq(0.0).all()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("engine", ENGINES)
def test_half_precision_that_nearly_overflows_is_taken_as_it_is(engine: str) -> None:
    z, labels = rows("plain")
    half = (z * 2e4).clamp(-65504, 65504).half()  # whose squares float16 has no number for
    expected, _ = loss_and_gradient(half.double(), labels, "dense", 0.1)
    found, gradient = loss_and_gradient(half, labels, engine, 0.1)
    assert gradient.dtype == torch.float16
    assert torch.isfinite(gradient).all()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.0, -0.1, float("nan"), float("inf")])
def test_a_temperature_that_is_none_is_told(temperature: float) -> None:
    z, labels = rows("plain")
    with pytest.raises(ValueError, match="temperature must be positive and finite"):
        contrastive_loss(z, LabelTargets.of(labels), temperature=temperature)


def test_an_infinite_number_is_the_largest_and_nothing_else() -> None:
    loss_fn, z = MSConLoss({"price": Continuous()}), torch.randn(6, 3)
    endless, large = (torch.tensor([1.0, 2.0, most, float("nan"), 3.0, 5.0]) for most in (float("inf"), 1e30))
    totals = [float(loss_fn({"price": z}, {"price": each}).total) for each in (endless, large)]
    assert totals[0] == totals[1]
    assert math.isfinite(totals[0])

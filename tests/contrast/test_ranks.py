"""Several processes that share a batch do what one process does with all of it: values, gradients, weights."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mscon.objective import MSConLoss
from mscon.similarity import Categorical
from mscon.terms import MSConOutput
from processes import in_processes

NAMES = {"many": 9, "few": 2, "rare": 3}
COUNTS = {2: [7, 12], 4: [5, 0, 11, 3]}
LARGE = {2: [300, 500], 4: [200, 90, 310, 200]}
CASES = [
    (engine, dtype, temperature, large)
    for engine in ("dense", "tiled", "auto")
    for dtype in (torch.float64, torch.float32)
    for temperature in (0.01, 0.1)
    for large in (False, True)
]
if find_spec("triton") and not torch.cuda.is_available():  # rows are on the CPU here, where the interpreter runs them
    CASES += [("triton", torch.float32, temperature, False) for temperature in (0.01, 0.1)]


def inputs(counts: list[int], dtype: torch.dtype) -> tuple[Tensor, dict[str, Tensor]]:
    """Rows of all processes; `many` misses labels here and there, `rare` is known to the last process alone."""
    generator = torch.Generator().manual_seed(sum(counts))
    n = sum(counts)
    x = torch.randn(n, 12, generator=generator, dtype=torch.float64).to(dtype)
    labels = {name: torch.randint(classes, (n,), generator=generator) for name, classes in NAMES.items()}
    labels["many"][torch.rand(n, generator=generator) < 0.3] = -1
    labels["rare"][: n - counts[-1]] = -1
    return x, labels


def heads(dtype: torch.dtype) -> nn.ModuleDict:
    torch.manual_seed(3)
    return nn.ModuleDict({name: nn.Linear(12, 8).to(dtype) for name in NAMES})


class Heads(nn.Module):
    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.heads = heads(dtype)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {name: head(x) for name, head in self.heads.items()}


def step(model: nn.Module, loss_fn: MSConLoss, x: Tensor, labels: dict[str, Tensor]) -> dict[str, Any]:
    out: MSConOutput = loss_fn(model(x), labels)
    out.total.backward()
    for term in out.terms.values():
        assert not any(value.requires_grad for key, value in vars(term).items() if key != "loss")
    numbers = ("loss", "floor", "chance", "excess", "weight", "anchors")
    return {
        "total": out.total.detach(),
        "terms": {name: [float(getattr(term, key).detach()) for key in numbers] for name, term in out.terms.items()},
        "gradients": [p.grad.clone() for p in model.parameters() if p.grad is not None],
        "weighting": [p.grad.clone() for p in loss_fn.parameters() if p.grad is not None],
    }


def every_case(rank: int, size: int) -> list[dict[str, Any]]:
    """All cases in this process; rank −1 is the one process that holds all rows."""
    answers: list[dict[str, Any]] = []
    for engine, dtype, temperature, large in CASES:
        counts = (LARGE if large else COUNTS)[size]
        x, labels = inputs(counts, dtype)
        model: nn.Module = Heads(dtype)
        loss_fn = MSConLoss(
            dict.fromkeys(NAMES, Categorical()),
            temperature=temperature,
            weighting="uncertainty",
            engine=engine,  # pyright: ignore[reportArgumentType]
            gather_distributed=True,
        )
        if rank >= 0:
            own = slice(sum(counts[:rank]), sum(counts[: rank + 1]))
            x, labels = x[own], {name: values[own] for name, values in labels.items()}
            model = DistributedDataParallel(model)
        answers.append(step(model, loss_fn, x, labels))
    return answers


@pytest.mark.parametrize("size", [2, 4])
def test_processes_that_share_a_batch_equal_one_process(size: int, tmp_path: Path) -> None:
    expected, every = every_case(-1, size), in_processes(every_case, size, tmp_path, size)
    for answers in every:
        for first, one in zip(every[0], answers, strict=True):
            assert torch.equal(first["total"], one["total"])
            assert first["terms"] == one["terms"]
        for case, one, alone in zip(CASES, answers, expected, strict=True):
            _, dtype, temperature, _ = case
            exact = dtype == torch.float64
            for name in NAMES:
                rounding = 1e-12 if exact else 1e-5
                assert one["terms"][name] == pytest.approx(alone["terms"][name], rel=rounding, abs=rounding), case
            for ours, theirs in zip(
                one["gradients"] + one["weighting"], alone["gradients"] + alone["weighting"], strict=True
            ):
                bound = 1e-12 if exact else 2e-6 * max(float(theirs.norm()), 1.0 / temperature)
                assert float((ours - theirs).norm()) <= bound, case


def second_derivative(rank: int) -> str:
    z = torch.randn(4, 4, requires_grad=True)
    loss_fn = MSConLoss({"a": Categorical()}, engine="dense", gather_distributed=True)
    total = loss_fn({"a": z}, {"a": torch.tensor([0, 0, 1, 1])}).total
    try:
        torch.autograd.grad(total, z, create_graph=True)
    except RuntimeError as error:
        return str(error)
    return "given"


def test_second_derivative_of_a_shared_batch_is_refused(tmp_path: Path) -> None:
    for answer in in_processes(second_derivative, 2, tmp_path):
        assert answer == "a batch over several processes is differentiable once: take one process"


def no_labels(rank: int) -> tuple[float, float]:
    z = torch.randn(3 + rank, 4, requires_grad=True)
    loss_fn = MSConLoss({"a": Categorical()}, gather_distributed=True)
    out = loss_fn({"a": z}, {"a": torch.full((len(z),), -1)})
    out.total.backward()
    assert z.grad is not None
    return float(out.total.detach()), float(z.grad.abs().sum())


def test_a_batch_without_anchors_on_any_process_gives_zero(tmp_path: Path) -> None:
    assert in_processes(no_labels, 2, tmp_path) == [(0.0, 0.0), (0.0, 0.0)]


def test_in_one_process_gathering_changes_nothing() -> None:
    x, labels = inputs([20, 1], torch.float64)
    model = Heads(torch.float64)
    kinds = dict.fromkeys(NAMES, Categorical())
    assert torch.equal(
        MSConLoss(kinds, gather_distributed=True)(model(x), labels).total, MSConLoss(kinds)(model(x), labels).total
    )

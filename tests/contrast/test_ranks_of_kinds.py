"""Every kind of similarity at once, learned temperatures, weighted anchors: two processes do what one does."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mscon.objective import MSConLoss
from mscon.similarity import (
    Appearance,
    Categorical,
    Continuous,
    Hierarchy,
    Instance,
    Pairs,
    RankNContrast,
    Tags,
    balanced_weights,
)
from mscon.terms import MSConOutput
from processes import in_processes

COUNTS = [40, 23]
KINDS = {
    "class": Categorical(balanced_weights(torch.tensor([20, 5, 1]), 0.5)),
    "near": Continuous(0.2),
    "apart": Continuous(0.001, reference=torch.linspace(0.0, 1.0, 5)),
    "circle": Continuous(0.05, period=0.5),
    "ranked": RankNContrast(period=1.0),
    "tags": Tags([("a",), ("a", "b"), ("b", "c"), ("d",)], counts=[5, 3, 2, 1]),
    "linked": Pairs(torch.tensor([[0, 1], [1, 2], [0, 2]]), torch.tensor([1.0, 1e4, 3.0])),
    "instance": Instance(),
    "looks": Appearance(torch.randn(3, 8, generator=torch.Generator().manual_seed(7), dtype=torch.float64)),
    "path": Hierarchy([("A", "x"), ("A", "y"), ("B",), ("C", "x")]),
}


def inputs() -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Rows of all processes, some of them without a label; weights of the anchors of three similarities."""
    generator, n = torch.Generator().manual_seed(0), sum(COUNTS)
    numbers = torch.rand(n, generator=generator, dtype=torch.float64).round(decimals=2)
    numbers[torch.rand(n, generator=generator) < 0.2] = math.nan
    codes = torch.randint(-1, 3, (n,), generator=generator)
    labels = {name: numbers if name in ("near", "apart", "circle", "ranked") else codes for name in KINDS}
    weights = {name: torch.rand(n, generator=generator) for name in ("class", "near", "path")}
    return torch.randn(n, 12, generator=generator, dtype=torch.float64), labels, weights


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.heads = nn.ModuleDict({name: nn.Linear(12, 8).double() for name in KINDS})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {name: head(x) for name, head in self.heads.items()}


def step(rank: int, engine: Any) -> dict[str, Any]:
    """One step in this process; rank −1 is the one process that holds all rows."""
    x, labels, weights = inputs()
    model: nn.Module = Heads()
    loss_fn = MSConLoss(KINDS, learn_temperature=True, weighting="equal", engine=engine, gather_distributed=True)
    loss_fn = loss_fn.double()
    if rank >= 0:
        own = slice(sum(COUNTS[:rank]), sum(COUNTS[: rank + 1]))
        x = x[own]
        labels, weights = ({name: each[own] for name, each in some.items()} for some in (labels, weights))
        model = DistributedDataParallel(model)
    out: MSConOutput = loss_fn(model(x), labels, anchor_weights=weights)
    out.total.backward()
    return {
        "terms": [[float(value.detach()) for value in vars(term).values()] for term in out.terms.values()],
        "gradients": [p.grad.clone() for p in [*model.parameters(), *loss_fn.parameters()] if p.grad is not None],
    }


def both_engines(rank: int) -> list[dict[str, Any]]:
    return [step(rank, engine) for engine in ("dense", "tiled")]


def test_two_processes_equal_one_in_every_kind(tmp_path: Path) -> None:
    expected, every = both_engines(-1), in_processes(both_engines, 2, tmp_path)
    for answers in every:
        for ours, theirs, first in zip(answers, expected, every[0], strict=True):
            assert ours["terms"] == first["terms"]
            for one, other in zip(ours["terms"], theirs["terms"], strict=True):
                assert one == pytest.approx(other, rel=1e-10)
            assert len(ours["gradients"]) == 2 * len(KINDS) + 1
            torch.testing.assert_close(ours["gradients"], theirs["gradients"], rtol=1e-9, atol=1e-12)

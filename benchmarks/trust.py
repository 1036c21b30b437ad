"""How far a label should be trusted: estimates and functions of r, by class count and noise: python benchmarks/trust.py

One label at a time, of 2, 10, 50 or 200 balanced classes: 4,096 points in 32 dimensions around a centre per class, two
views of each (the point with more noise). A share of the labels is drawn anew, all classes alike. A small network is
trained on them with `MSConLoss` for 60 epochs, in which it has time to learn wrong labels by heart, and 2,048 more
points with the same noise are held out. Each trial writes a line of r, as read from

- `batch`: the last batch,
- `running`: the decaying sums over batches,
- `held_out`: the held-out points, one view of each, at the temperature that is best for them,

and of `noise`, the share of labels that `noise_share` says was drawn anew.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from trainings import go_through

from mscon import Categorical, MSConLoss
from mscon.weighting import Excess

OUT = Path(__file__).with_suffix(".csv")
CLASSES = (2, 10, 50, 200)
SHARES = (0, 20, 40, 60, 80, 100)
DIMENSIONS, TRAIN, HELD_OUT, BATCH, EPOCHS = 32, 4096, 2048, 1024, 60
WITHIN, BETWEEN_VIEWS = 0.35, 0.2


def cases() -> Iterator[dict[str, Any]]:
    """Seed by seed."""
    for seed in range(10):
        for classes in CLASSES:
            for share in SHARES:
                yield {"seed": seed, "classes": classes, "drawn_anew": share}


def work(case: Mapping[str, Any], _: Path) -> dict[str, Any]:
    """One training; r and the noise it stands for, at its end."""
    torch.manual_seed(case["seed"])
    classes = case["classes"]
    centres = torch.randn(classes, DIMENSIONS)
    true = torch.randint(classes, (TRAIN + HELD_OUT,))
    points = centres[true] + WITHIN * torch.randn(len(true), DIMENSIONS)
    anew = torch.randperm(len(true)) < case["drawn_anew"] / 100 * len(true)
    labels = torch.where(anew, torch.randint(classes, (len(true),)), true)
    head = nn.Sequential(nn.Linear(DIMENSIONS, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64))
    histogram = torch.bincount(labels[:TRAIN], minlength=classes).tolist()
    readings = {
        "batch": Excess(1, histograms=[histogram], held_out=False, decay=0.0),
        "running": Excess(1, histograms=[histogram], held_out=False),
        "held_out": Excess(1, histograms=[histogram]),
    }
    losses = {name: MSConLoss({"label": Categorical()}, weighting=each) for name, each in readings.items()}
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    for _epoch in range(EPOCHS):
        for rows in torch.randperm(TRAIN).split(BATCH):
            projections = {"label": head(_views(points[rows]))}
            codes = {"label": labels[rows].repeat(2)}
            optimizer.zero_grad()
            losses["held_out"](projections, codes).total.backward()
            optimizer.step()
            with torch.no_grad():
                for name in ("batch", "running"):
                    losses[name](projections, codes)
    with torch.no_grad():
        held_out = {"label": head(points[TRAIN:])}, {"label": labels[TRAIN:]}
        losses["held_out"].observe_held_out(losses["held_out"].held_out_sums(*held_out))
    trust = {name: each.trust["label"] for name, each in losses.items()}
    return {
        f"{key}_{name}": round(each[value], 4)
        for key, value in (("r", "relative_excess"), ("noise", "noise_share"))
        for name, each in trust.items()
    }


def _views(points: Tensor) -> Tensor:
    """Two of each, view by view."""
    return torch.cat([points + BETWEEN_VIEWS * torch.randn_like(points) for _ in range(2)])


if __name__ == "__main__":
    go_through(cases(), work, OUT)

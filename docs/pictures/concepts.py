"""Draws what the words of docs/concepts.md mean: overview.svg, push_pull.svg and floor.svg.

    python docs/pictures/concepts.py [FOLDER]

The places of the items are those that `MSConLoss` moves them to, and every number comes from the package's own losses.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from look import BLUE, FAINT, INK, ORANGE, PALE, picture
from matplotlib.axes import Axes
from torch import Tensor, nn

from mscon import Categorical, MSConLoss, contrastive_loss
from mscon.contrast import LabelTargets
from mscon.weighting import Classes, relative_excess_of

MARKERS, COLOURS = ("o", "s", "^"), (BLUE, ORANGE, INK)
"""A category is a form, a colour is a colour."""

FORM, COLOUR = torch.arange(9) % 3, torch.arange(9) // 3
"""Nine items, every form in every colour."""

TEMPERATURE = 0.5


def main(folder: Path) -> None:
    """All of them, into a folder."""
    for draw in (overview, push_pull, floor):
        draw(folder / f"{draw.__name__}.svg")


def overview(path: Path) -> None:
    """One encoder, a head for each similarity: where the same items end under either."""
    places = learned_places()
    with picture(path, 3.0) as figure:
        whole = figure.add_gridspec(2, 3, width_ratios=(0.75, 3.1, 1.1))
        catalog, middle = (figure.add_subplot(whole[:, column]) for column in (0, 1))
        form, colour = (figure.add_subplot(whole[row, 2]) for row in (0, 1))
        scatter(catalog, torch.stack([FORM, -COLOUR], dim=1).double())
        catalog.set(xlim=(-0.8, 2.8), ylim=(-2.8, 0.8))
        catalog.set_title("items")
        chain(middle)
        for axes, name in ((form, "category"), (colour, "colour")):
            circle(axes)
            scatter(axes, 0.93 * spread(places[name]))
            axes.set_title(f"projections: {name}")
        for axes in (catalog, form, colour):
            axes.set_axis_off()
            axes.set_aspect("equal")


def learned_places() -> dict[str, Tensor]:
    """Projections of the nine items on a circle, trained under both similarities at once."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        labels = {"category": FORM, "colour": COLOUR}
        encoder = nn.Sequential(nn.Linear(9, 32), nn.Tanh())
        heads = nn.ModuleDict({name: nn.Linear(32, 2) for name in labels})
        loss_fn = MSConLoss({name: Categorical() for name in labels}, temperature=TEMPERATURE, weighting="equal")
        optimizer = torch.optim.Adam([*encoder.parameters(), *heads.parameters()], lr=0.03)
        for _ in range(100):
            h = encoder(torch.eye(9))
            out = loss_fn({name: head(h) for name, head in heads.items()}, labels)
            optimizer.zero_grad()
            out.total.backward()
            optimizer.step()
        h = encoder(torch.eye(9)).detach()
        return {name: nn.functional.normalize(head(h), dim=1).detach().double() for name, head in heads.items()}


def spread(places: Tensor) -> Tensor:
    """The same, those that lie on one another moved apart so that each is seen."""
    near = (places @ places.T > 0.99).double()
    turn = 0.3 * (near.tril(-1).sum(dim=1) - (near.sum(dim=1) - 1) / 2)
    angle = torch.atan2(places[:, 1], places[:, 0]) + turn
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def chain(axes: Axes) -> None:
    """Catalog → encoder → embedding → heads."""
    box = {"boxstyle": "round,pad=0.45", "facecolor": "#f6f6f4", "edgecolor": PALE}
    for (x, y), text in (
        ((1.6, 2.0), "encoder"),
        ((4.6, 2.0), "embedding h"),
        ((8.2, 2.8), "head: category"),
        ((8.2, 1.2), "head: colour"),
    ):
        axes.text(x, y, text, ha="center", va="center", bbox=box)
    for start, end in (
        ((0.0, 2.0), (0.5, 2.0)),
        ((2.7, 2.0), (3.2, 2.0)),
        ((6.0, 2.2), (6.6, 2.6)),
        ((6.0, 1.8), (6.6, 1.4)),
        ((9.8, 2.8), (10.3, 2.8)),
        ((9.8, 1.2), (10.3, 1.2)),
    ):
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": FAINT})
    axes.set(xlim=(0, 10.3), ylim=(0, 4))
    axes.set_axis_off()


def circle(axes: Axes) -> None:
    """Of unit length, on which projections lie."""
    angle = np.linspace(0, 2 * np.pi, 200)
    axes.plot(0.93 * np.cos(angle), 0.93 * np.sin(angle), color=FAINT, linewidth=0.6, zorder=0)
    axes.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal")


def scatter(axes: Axes, places: Tensor) -> None:
    """The nine items, each by its form and colour."""
    for item, (x, y) in enumerate(places.tolist()):
        axes.scatter(x, y, s=55, marker=MARKERS[FORM[item]], color=COLOURS[COLOUR[item]], edgecolors="white")


def push_pull(path: Path) -> None:
    """An anchor, its positives and all others on the circle; and the two distributions that the loss compares."""
    degrees = torch.tensor([90.0, 55.0, 150.0, 15.0, 200.0, 250.0, 300.0, 340.0])
    z = torch.stack([torch.cos(torch.deg2rad(degrees)), torch.sin(torch.deg2rad(degrees))], dim=1).double()
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 1])
    q = LabelTargets.of(labels).matrix()[0].numpy()
    p = (z @ z[0] / TEMPERATURE).masked_fill(torch.arange(8) == 0, -torch.inf).softmax(dim=0).numpy()
    found = contrastive_loss(z, LabelTargets.of(labels), temperature=TEMPERATURE)
    loss, least = float(found.loss[0]), float(found.floor[0])
    with picture(path, 2.9) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
        circle(left)
        for item, (x, y) in enumerate((0.93 * z).tolist()):
            left.scatter(x, y, s=60, color=INK if item == 0 else ORANGE if labels[item] == 0 else FAINT, zorder=2)
            left.text(1.22 * x, 1.22 * y, "anchor" if item == 0 else str(item), ha="center", va="center")
            if item:
                toward = np.array([x, y]) - (0.93 * z[0]).numpy()
                start, end = (0.93 * z[0]).numpy() + 0.1 * toward, (0.93 * z[0]).numpy() + 0.86 * toward
                pulls = bool(labels[item] == 0)
                style = {"arrowstyle": "->" if pulls else "-", "color": ORANGE if pulls else PALE, "linewidth": 1.2}
                left.annotate("", end, start, arrowprops=style)
        left.set(xlim=(-1.45, 1.45), ylim=(-1.3, 1.35))
        left.set_axis_off()
        left.set_title("pulled toward 1 and 2, pushed from all", loc="left")
        places = np.arange(1, 8)
        right.bar(places - 0.18, q[1:], width=0.34, color=ORANGE, label="q, the targets")
        right.bar(places + 0.18, p[1:], width=0.34, color=BLUE, label="p, by the projections")
        right.set(xlabel="the others", yticks=[0, 0.25, 0.5])
        right.set_title(f"loss {loss:.2f} = floor {least:.2f} + excess {loss - least:.2f}", loc="left")
        right.legend()


def floor(path: Path) -> None:
    """Losses of the best models of three labels in a batch of 128 rows: raw, they mislead."""
    batch, cases = 128, ((2, 0.0), (2, 0.2), (32, 0.4))
    chance = np.log(batch - 1)
    with picture(path, 2.3) as figure:
        axes = figure.subplots()
        for row, (classes, noise) in enumerate(cases):
            known = Classes.of_histograms([[1] * classes])
            r = float(relative_excess_of(torch.tensor([noise]), known, 0.1))
            least = np.log(batch / classes - 1)
            loss = least + r * (chance - least)
            axes.barh(row, least, color=PALE, height=0.55, label="floor" if row == 0 else None)
            axes.barh(row, loss - least, left=least, color=ORANGE, height=0.55, label="excess" if row == 0 else None)
            axes.text(5.0, row, f"loss {loss:.2f},  relative excess {r:.2f}", va="center")
        axes.axvline(chance, color=FAINT, linewidth=0.8, linestyle=":")
        axes.annotate("chance", (chance, -0.62), color=FAINT, ha="center", annotation_clip=False)
        names = [
            f"{classes} classes, {noise:.0%} noise" if noise else f"{classes} classes, clean"
            for classes, noise in cases
        ]
        axes.set_yticks(range(len(cases)), names)
        axes.set(xlim=(0, 7.6), xticks=range(6), ylim=(len(cases) - 0.4, -0.5), xlabel="nats")
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="lower right", ncols=2, bbox_to_anchor=(1.0, -0.35))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

"""Draws what each kind of similarity pulls an item toward: the pictures of docs/similarities.md.

    python docs/pictures/similarities.py [FOLDER]

Every number in them comes from the package's own targets.
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from look import BLUE, FAINT, INK, ORANGE, PALE, heatmap, picture

from mscon.contrast import KernelTargets, TypeTargets
from mscon.contrast.targets import LinearTargets
from mscon.data.classical import classical_features
from mscon.similarity import (
    Categorical,
    Continuous,
    Hierarchy,
    Instance,
    Pairs,
    RankNContrast,
    Tags,
    balanced_weights,
)


def main(folder: Path) -> None:
    """All of them, into a folder."""
    for draw in (categorical, continuous, rank_n_contrast, tags, hierarchy, pairs, instance, appearance, custom):
        draw(folder / f"{draw.__name__}.svg")


def categorical(path: Path) -> None:
    """A missing label, a class of one, and what `balance` makes of the anchors."""
    items = ["boot"] * 2 + ["sandal"] * 3 + ["sneaker"] * 5 + ["slipper", "(missing)"]
    classes = ["boot", "sandal", "sneaker", "slipper"]
    codes = torch.tensor([classes.index(each) if each in classes else -1 for each in items])
    with picture(path, 3.6) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        heatmap(left, shares(Categorical().targets(codes)), rows=items, columns=items, title="q in %: a row per anchor")
        counts = torch.bincount(codes[:-1])[:3]  # a slipper is no anchor here
        for place, (balance, colour) in enumerate(((0.0, PALE), (0.5, BLUE), (1.0, ORANGE))):
            weights = balanced_weights(counts, balance)
            places = np.arange(3) + 0.27 * (place - 1)
            right.bar(places, weights.numpy(), width=0.25, color=colour, label=f"balance = {balance:g}")
        right.set_xticks(range(3), [f"{name}\n{n} items" for name, n in zip(classes, counts.tolist(), strict=False)])
        right.set_title("what an anchor of each class counts", loc="left")
        right.tick_params(axis="x", length=0)
        right.legend()


def continuous(path: Path) -> None:
    """Prices with a long tail and a missing one; and hours, on a circle."""
    prices = [9.0, 12.0, 15.0, 15.0, 19.0, 22.0, 25.0, 35.0, 49.0, 80.0, 900.0, torch.nan]
    names = [f"{price:.0f} €" if price == price else "(missing)" for price in prices]
    hours = torch.arange(0.0, 24.0, 0.25, dtype=torch.float64)
    with picture(path, 3.6) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        q = shares(Continuous(bandwidth=0.1).targets(torch.tensor(prices, dtype=torch.float64)))
        heatmap(left, q, rows=names, columns=names, title="prices, q in %")
        for bandwidth, colour in ((0.05, PALE), (0.1, BLUE), (0.2, ORANGE)):
            q = shares(Continuous(bandwidth, period=24.0).targets(hours))[8]
            q[8] = np.nan  # the anchor itself
            right.plot(hours.numpy(), q / np.nanmax(q), color=colour, label=f"bandwidth = {bandwidth:g}")
        right.axvline(2.0, color=FAINT, linewidth=0.8, linestyle=":")
        right.annotate("anchor", (2.0, 1.04), color=FAINT, ha="left", xytext=(3, 0), textcoords="offset points")
        right.set(ylim=(0, 1.12), yticks=[], xticks=range(0, 25, 4), xlabel="hour", xlim=(0, 24))
        right.set_title("hours, period = 24: the pull of an anchor at 2", loc="left")
        right.legend(loc="upper center")


def rank_n_contrast(path: Path) -> None:
    """Whom each positive is set against, for two anchors."""
    prices = torch.tensor([9.0, 12.0, 15.0, 15.0, 19.0, 22.0, 25.0, 35.0, 49.0, 80.0, 900.0], dtype=torch.float64)
    names = [f"{price:.0f} €" for price in prices]
    gap = RankNContrast().targets(prices).distance()
    with picture(path, 3.5) as figure:
        for axes, anchor in zip(figure.subplots(1, 2), (1, 6), strict=True):
            others = [place for place in range(len(prices)) if place != anchor]
            # S_ij, a row for each j; the anchor is in none.
            cells = (gap[anchor] >= gap[anchor].unsqueeze(1))[others].double().numpy()
            cells[:, anchor] = 0.0
            cells[range(len(others)), others] = 2.0
            title = f"anchor {names[anchor]}: a row per positive j (dark), S in colour"
            heatmap(axes, cells, rows=[names[each] for each in others], columns=names, percent=False, title=title)


def tags(path: Path) -> None:
    """The same sets, weighted by rarity and evenly."""
    names = ["sky", "sky", "sky sea", "sky sea", "sky sea boat", "sea boat", "sky tree", "sky tree snow", "tree snow"]
    names += ["sky cat", "(none)"]
    sets = [None if each == "(none)" else each.split() for each in names]
    with picture(path, 3.7) as figure:
        for axes, weighting in zip(figure.subplots(1, 2), ("rarity", "even"), strict=True):
            similarity, values = Tags.of(sets, weighting=weighting)
            first = weighting == "rarity"
            title = "rarity = true: q in %" if first else "rarity = false"
            heatmap(axes, shares(similarity.targets(values)), rows=names if first else None, title=title, most=0.6)


def hierarchy(path: Path) -> None:
    """Levels alike, and the finest one counting four times as much."""
    paths = ["Shoes/Boots/Ankle"] * 2 + ["Shoes/Boots/Knee"] * 2 + ["Shoes/Boots", "Shoes/Flats/Loafer"]
    paths += ["Shoes/Flats/Ballet", "Shoes", "Bags/Totes/Canvas", "Bags/Totes/Canvas", "Bags/Clutches"]
    kinds = list(dict.fromkeys(paths))
    values = torch.tensor([kinds.index(each) for each in paths])
    with picture(path, 3.7) as figure:
        for axes, weights in zip(figure.subplots(1, 2), ((1.0, 1.0, 1.0), (1.0, 1.0, 4.0)), strict=True):
            q = shares(Hierarchy([each.split("/") for each in kinds], weights=weights).targets(values))
            alike = len(set(weights)) == 1
            title = "levels alike: q in %" if alike else "level_weights = [1, 1, 4]"
            heatmap(axes, q, rows=paths if alike else None, title=title, most=0.8)


def pairs(path: Path) -> None:
    """A small graph, and what two views of its items are pulled toward."""
    edges = [(0, 1, 3.0), (0, 2, 1.0), (1, 2, 1.0), (2, 3, 2.0)]
    items = "ABCDE"
    similarity = Pairs(torch.tensor([each[:2] for each in edges]), torch.tensor([each[2] for each in edges]))
    rows = torch.arange(5).repeat_interleave(2)
    places = np.array([(0.0, 0.6), (0.0, -0.6), (1.0, 0.0), (2.1, 0.0), (1.6, -0.9)])
    with picture(path, 3.5) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
        for one, other, strength in edges:
            left.plot(*places[[one, other]].T, color=BLUE, linewidth=1.5 * strength, zorder=1)
            beside = {"xytext": (6, -12 if (one, other) == (1, 2) else 5), "textcoords": "offset points"}
            left.annotate(f"{strength:g}", places[[one, other]].mean(axis=0), color=FAINT, **beside)
        left.scatter(*places.T, s=330, color="white", edgecolors=INK, zorder=2)
        for name, (x, y) in zip(items, places, strict=True):
            left.text(x, y, name, ha="center", va="center", zorder=3)
        left.text(1.6, -1.22, "no link: pulls nothing", ha="center", va="top", color=FAINT)
        left.set(aspect="equal", xlim=(-0.4, 2.6), ylim=(-1.5, 1.0))
        left.set_title("links and their strengths", loc="left")
        left.set_axis_off()
        names = [f"{items[item]} view {view}" for item in range(5) for view in (1, 2)]
        heatmap(right, shares(similarity.targets(rows)), rows=names, columns=names, title="q in %: two views of each")


def instance(path: Path) -> None:
    """Views of the same item, beside a label of the same items."""
    items = [("1", "boot"), ("2", "boot"), ("3", "sandal"), ("4", "sandal")]
    names = [f"item {item} {label}" for item, label in items for _ in range(3)]
    item = torch.arange(4).repeat_interleave(3)
    with picture(path, 3.5) as figure:
        left, right = figure.subplots(1, 2)
        title = "instance: the other views, q in %"
        heatmap(left, shares(Instance().targets(item)), rows=names, title=title, most=0.5)
        title = "a category: they are among its positives"
        heatmap(right, shares(Categorical().targets(item // 2)), title=title, most=0.5)


def appearance(path: Path) -> None:
    """Stripes at eight angles: how near their features are, and which of them a projection confuses."""
    down, across = np.mgrid[:32, :32]
    degrees = [0, 10, 20, 30, 80, 90, 100, 170]
    waves = [np.sin((down * math.sin(angle) + across * math.cos(angle)) / 2) for angle in np.radians(degrees)]
    images = np.repeat((np.stack(waves) * 100 + 128).astype(np.uint8)[..., None], 3, axis=3)
    features = classical_features(images)
    x = F.normalize(features - features.mean(0), dim=1)
    names = [f"{angle}°" for angle in degrees]
    with picture(path, 3.6) as figure:
        whole = figure.add_gridspec(1, 3, width_ratios=(0.15, 1, 1))
        strip = whole[0].subgridspec(len(degrees), 1).subplots()
        for image, part in zip(images, strip, strict=True):
            part.imshow(image)
            part.set_axis_off()
        for place, temperature in ((1, 0.5), (2, 0.1)):
            confused = (x @ x.T / temperature).softmax(dim=1).numpy()
            title = f"softmax in %, τ = {temperature:g}, of z = x"
            heatmap(figure.add_subplot(whole[place]), confused, rows=names, columns=names, title=title, most=1.0)


def custom(path: Path) -> None:
    """What a user's matrix of brands says, and what it makes of items."""
    brands = ["Alto", "Brio", "Corsa", "Duna"]
    alike = torch.tensor([[1.0, 0.6, 0.0, 0.1], [0.6, 1.0, 0.2, 0.0], [0.0, 0.2, 1.0, 0.0], [0.1, 0.0, 0.0, 1.0]])
    kinds = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3])
    targets = TypeTargets.of_matrix(torch.arange(len(kinds)), kinds, alike, batch=len(kinds))
    with picture(path, 3.3) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
        heatmap(left, alike.numpy(), rows=brands, columns=brands, title="how alike the brands are, in %")
        names = [brands[kind] for kind in kinds]
        heatmap(right, shares(targets), rows=names, columns=names, title="q in %: a row per anchor")


def shares(targets: LinearTargets | KernelTargets) -> np.ndarray:
    """q over all rows of the batch; a row and a column of zeros where a label is missing."""
    q = torch.zeros(targets.batch, targets.batch, dtype=torch.float64)
    q[targets.rows.unsqueeze(1), targets.rows] = targets.matrix()
    return q.numpy()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

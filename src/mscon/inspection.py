"""What is in the labels, before anything is trained: counts, gaps, redundancy, and what a batch will hold."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
import torch
from jaxtyping import Float
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mscon.build import new_similarity
from mscon.contrast import AnchorLosses, AnyTargets, contrastive_loss
from mscon.data.information import as_codes, shared_information
from mscon.data.views import ViewSettings
from mscon.prepare import AnyBatches, Prepared, training_batches
from mscon.recipe import Recipe
from mscon.similarity import RankNContrast

SAMPLE = 2000
"""Images looked at, and 1/40 of it batches drawn, for what is estimated."""

TOLD_APART = 0.5
"""Share of a colour statistic's variance that a label must explain before a view that changes it is warned of."""

REDUNDANT = 0.5
"""Share of one label's entropy that another must carry before the two are called redundant."""


@dataclass(frozen=True)
class ColumnFacts:
    """One label column.

    - `role`: `similarity` or `ood`; `kind`: as in `LabelColumn`.
    - `missing`: rows without a value; `classes`: class, tag or node of a path → rows, most frequent first; empty for
      numbers.
    - `low`, `high`: least and greatest value of a continuous column.
    """

    name: str
    role: str
    kind: str
    missing: int
    classes: dict[str, int]
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class BatchFacts:
    """What one similarity finds in a training batch, all views counted, averaged over the anchors of some batches.

    - `positives`: positives of an anchor: e^H(q_i), which for labels is their number; None for Rank-N-Contrast, to
      which all others are.
    - `lonely`: share of labelled items without another item beside them that is at all alike; of pairs, among the
      items that are linked to any.
    - `floor`, `chance`: between these two the loss will move, in nats.
    """

    name: str
    positives: float | None
    lonely: float
    floor: float
    chance: float


@dataclass(frozen=True)
class Redundancy:
    """Two label columns, and the share of the smaller one's entropy that the other carries (`shared_information`)."""

    first: str
    second: str
    shared: float


@dataclass(frozen=True)
class Inspection:
    """All of it, with warnings in plain words."""

    rows: int
    split: dict[str, int]
    skipped: int
    columns: list[ColumnFacts]
    batches: list[BatchFacts]
    redundancy: list[Redundancy]
    warnings: list[str]


def inspect(recipe: Recipe, data: Prepared) -> Inspection:
    """Look at a catalog as a training under `recipe` would see it."""
    columns = [_column_facts(name, recipe, data) for name in data.labels]
    batches = list(batch_facts(recipe, data))
    redundancy = redundancies(data)
    return Inspection(
        rows=len(data.catalog),
        split={name: len(getattr(data.split, name)) for name in ("train", "val", "test")},
        skipped=len(data.pixels.skipped),
        columns=columns,
        batches=batches,
        redundancy=redundancy,
        warnings=[*_label_warnings(recipe, columns, batches, redundancy), *_view_warnings(recipe.run_views, data)],
    )


def show(facts: Inspection, console: Console) -> None:
    """Print an inspection as tables and warnings."""
    parts = ", ".join(f"{count:,} {name}" for name, count in facts.split.items())
    skipped = f"; {facts.skipped} images could not be read" if facts.skipped else ""
    console.print(f"{facts.rows:,} items: {parts}{skipped}", highlight=False)
    labels = _table("labels", "column", "role", "kind", "classes", "missing", "most frequent (or range)")
    for column in facts.columns:
        named = ", ".join(f"{name} {count:,}" for name, count in islice(column.classes.items(), 4))
        described = named if column.low is None else f"{column.low:g} … {column.high:g}"
        classes = str(len(column.classes)) if column.classes else "–"
        labels.add_row(*map(Text, (column.name, column.role, column.kind, classes, f"{column.missing:,}", described)))
    console.print(labels)
    batches = _table("in a training batch", "similarity", "positives", "alone", "floor", "chance")
    for each in facts.batches:
        positives = "all" if each.positives is None else f"{each.positives:.1f}"
        numbers = (positives, f"{each.lonely:.1%}", f"{each.floor:.3f}", f"{each.chance:.3f}")
        batches.add_row(Text(each.name), *numbers)
    console.print(batches)
    if facts.redundancy:
        shared = _table("redundancy", "labels", "shared information")
        for pair in sorted(facts.redundancy, key=lambda pair: -pair.shared):
            shared.add_row(Text(f"{pair.first} · {pair.second}"), f"{pair.shared:.0%}")
        console.print(shared)
    for warning in facts.warnings:
        console.print(Text.assemble(("warning: ", "yellow"), warning))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 or title == "labels" else "right", style=None)
    return table


def _column_facts(name: str, recipe: Recipe, data: Prepared) -> ColumnFacts:
    label, values = data.labels[name], data.values[name]
    role = "ood" if name in recipe.catalog.ood else "similarity"
    if label.kind == "continuous":
        known = values[~np.isnan(values)]
        ends = (float(known.min()), float(known.max())) if len(known) else (None, None)
        return ColumnFacts(name, role, label.kind, len(values) - len(known), {}, *ends)
    kinds = np.bincount(values[values >= 0], minlength=len(label.members or label.classes))
    counts = kinds
    if label.members:
        counts = np.zeros(len(label.classes), dtype=np.int64)
        for members, items in zip(label.members, kinds, strict=True):
            counts[list(members)] += items
    order = np.argsort(-counts, kind="stable")
    return ColumnFacts(
        name, role, label.kind, int((values < 0).sum()), {label.classes[i]: int(counts[i]) for i in order}
    )


def redundancies(data: Prepared) -> list[Redundancy]:
    """What every two labels share."""
    codes = {name: as_codes(values) for name, values in data.values.items()}
    return [Redundancy(a, b, shared_information(codes[a], codes[b])) for a, b in combinations(codes, 2)]


def batch_facts(recipe: Recipe, data: Prepared) -> Iterator[BatchFacts]:
    """What each similarity finds in a training batch."""
    views = recipe.training.views_per_item
    batches = list(islice(_endless(training_batches(recipe, data)), SAMPLE // 40))
    for name in recipe.similarities:
        similarity = new_similarity(name, recipe, data)
        values = torch.from_numpy(data.values[name]) if name in data.values else torch.arange(len(data.catalog))
        marks = [_marks(similarity.targets(values[items].repeat(views))) for items in batches]
        anchors = torch.cat([each.anchors for each in marks])
        floor, chance = (
            torch.cat([getattr(each, mark) for each in marks])[anchors].double() for mark in ("floor", "chance")
        )
        # An item's own other view is always there; what tells of the batch is whether another item is.
        copies = views if recipe.is_instance(name) else 1
        linked = torch.from_numpy(data.pairs[name].edges).flatten() if name in data.pairs else None
        labelled = alone = 0
        for items in (each.unique().repeat(copies) for each in batches):
            targets = similarity.targets(values[items])
            asked = targets.rows >= 0 if linked is None else torch.isin(items[targets.rows], linked)
            labelled += int(asked.sum())
            alone += int((asked & ~targets.anchors).sum())
        ordered = isinstance(similarity, RankNContrast)
        yield BatchFacts(
            name=name,
            positives=None if ordered else float(floor.exp().sum() / max(1, len(floor))),
            lonely=alone / max(1, labelled),
            floor=float(floor.sum() / max(1, len(floor))),
            chance=float(chance.sum() / max(1, len(chance))),
        )


def _marks(targets: AnyTargets) -> AnchorLosses:
    """Floor and chance of a batch: they do not depend on where the projections lie."""
    return contrastive_loss(torch.ones(targets.batch, 1, dtype=torch.float64), targets, temperature=1.0)


def _endless(batches: AnyBatches) -> Iterator[torch.Tensor]:
    epoch = 0
    while True:
        yield from batches.epoch(epoch)
        epoch += 1


def _label_warnings(
    recipe: Recipe, columns: list[ColumnFacts], batches: list[BatchFacts], redundancy: list[Redundancy]
) -> Iterator[str]:
    for column in columns:
        if rare := [name for name, count in column.classes.items() if count < 10]:
            named = ", ".join(repr(name) for name in rare[:5]) + (" …" if len(rare) > 5 else "")
            classes = "1 class has" if len(rare) == 1 else f"{len(rare)} classes have"
            yield f"{column.name}: {classes} fewer than 10 items ({named})."
    size = recipe.training.batch_size
    for each in batches:
        if each.lonely > 0.1:
            yield (
                f"{each.name}: {each.lonely:.0%} of its items find no other that is alike in a batch of {size};"
                f" enlarge the batch{_better_sampler(recipe, each.name, columns)}."
            )
    for pair in redundancy:
        if pair.shared > REDUNDANT:
            yield (
                f"{pair.first} and {pair.second} share {pair.shared:.0%} of what the coarser one says:"
                " trained together they count it twice (unless weighted by excess), and one is no test for the other."
            )


def _better_sampler(recipe: Recipe, name: str, columns: list[ColumnFacts]) -> str:
    categorical = {column.name for column in columns if column.kind == "categorical"}
    if recipe.sampler == name or (name not in categorical and recipe.kind(name) != "pairs"):
        return ""
    how = "per class" if name in categorical else "linked items together"
    return f", or sample {how} (training.sampler = {name!r})"


def _view_warnings(views: ViewSettings, data: Prepared) -> Iterator[str]:
    """A view that changes what a label is read from teaches the encoder to ignore it."""
    rows = np.random.default_rng(0).choice(len(data.catalog), min(SAMPLE, len(data.catalog)), replace=False)
    images = data.pixels.array[np.sort(rows)].astype(np.float32) / 255.0
    grey = images @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    # From dark to light, and by thirds: a label may be read from the item on whatever ground, or from the middle.
    tenths = np.quantile(grey.reshape(len(grey), -1), np.linspace(0.05, 0.95, 10), axis=1).T
    thirds = [
        cell.mean(axis=(1, 2)) for band in np.array_split(grey, 3, axis=1) for cell in np.array_split(band, 3, axis=2)
    ]
    light = np.column_stack([tenths, *thirds])
    tint = images.mean(axis=(1, 2)) - grey.mean(axis=(1, 2))[:, None]
    changed = {
        "brightness": ("brightness", views.brightness, light),
        "saturation": ("colour", max(views.saturation, views.grey), tint),
        "hue": ("colour", views.hue, tint),
    }
    for name, label in data.labels.items():
        values = data.values[name][np.sort(rows)]
        for setting, (what, strength, statistic) in changed.items():
            # A class survives a small change; a measurement does not.
            spared = 0.0 if label.kind == "continuous" else 0.2
            share = explained(values, statistic) if strength > spared else 0.0
            if share > TOLD_APART:
                yield (
                    f"{name}: it goes with the image's {what} (R² {share:.2f}), which views.{setting} = {strength:g}"
                    f" changes: an encoder trained so learns to ignore it. Set views.{setting} to {spared:g}."
                )


def explained(values: np.ndarray, statistic: Float[np.ndarray, "n k"]) -> float:
    """R² between a label and an image statistic: the variance between classes, or that of the label on the statistic;
    less what as many classes, or numbers, drawn by lot would explain.
    """
    if values.dtype.kind == "f":
        known = ~np.isnan(values)
        if known.sum() < 3 or np.ptp(values[known]) == 0:
            return 0.0
        design = np.column_stack([np.ones(int(known.sum())), statistic[known]])
        target = values[known] - values[known].mean()
        fit, _, rank, _ = np.linalg.lstsq(design, target, rcond=None)
        share = float(1.0 - ((target - design @ fit) ** 2).sum() / (target**2).sum())
        return _beyond_chance(share, (int(rank) - 1) / (len(target) - 1))
    known = values >= 0
    codes, points = values[known], statistic[known] - statistic[known].mean(axis=0)
    total = (points**2).sum()
    if len(codes) < 2 or total == 0:
        return 0.0
    sums = np.zeros((codes.max() + 1, points.shape[1]))
    np.add.at(sums, codes, points)
    counts = np.bincount(codes)
    share = ((sums**2).sum(axis=1)[counts > 0] / counts[counts > 0]).sum() / total
    return _beyond_chance(float(share), float((counts > 0).sum() - 1) / (len(codes) - 1))


def _beyond_chance(share: float, by_lot: float) -> float:
    """A share of variance without what so many free numbers explain of nothing; 0 where that is a quarter or more."""
    return max(0.0, share - by_lot) / (1.0 - by_lot) if by_lot < 0.25 else 0.0

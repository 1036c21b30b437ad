"""What is in the labels, before anything is trained: counts, gaps, redundancy, and what a batch will hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mscon.build import new_similarity
from mscon.contrast import AnchorLosses, AnyTargets, contrastive_loss
from mscon.data.information import as_codes, shared_information
from mscon.data.labels import LabelColumn
from mscon.harmful_views import harmful_views
from mscon.prepare import AnyBatches, Prepared, training_batches
from mscon.recipe import Recipe
from mscon.similarity import RankNContrast

BATCHES = 50
"""Batches drawn, for what is estimated of them."""

REDUNDANT = 0.5
"""Share of one label's entropy that another must carry before the two are called redundant."""


Sampler = Literal["items per class", "linked items"]


@dataclass(frozen=True)
class ColumnFacts:
    """One label column.

    - `role`: `similarity` or `ood`; `kind`: as in `LabelColumn`.
    - `missing`: rows without a value; `classes`: class, tag or node of a path → rows, most frequent first; empty for
      numbers.
    - `untrained`: those of the classes that no training row has.
    - `low`, `high`: least and greatest value of a continuous column.
    """

    name: str
    role: str
    kind: str
    missing: int
    classes: dict[str, int]
    untrained: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class LinkFacts:
    """One table of pairs.

    - `linked`: train, val, test → the pairs within it; `across`: those whose two items are in different ones, which
      nothing counts.
    - `apart`: pairs judged different, over all rows.
    - `items`: rows that are linked to any.
    """

    name: str
    linked: dict[str, int]
    across: int
    apart: int
    items: int


@dataclass(frozen=True)
class BatchFacts:
    """What one similarity finds in a training batch, all views counted, averaged over the anchors of some batches.

    - `positives`: positives of an anchor: e^H(q_i), which for labels is their number; None for Rank-N-Contrast, to
      which all others are.
    - `lonely`: share of labelled items without another item beside them that is at all alike; of pairs, among the
      items that are linked to any.
    - `floor`, `chance`: between these two the loss will move, in nats.
    - `sampler`: what a sampler of its own would bring together, where there is none yet and it would help.
    """

    name: str
    positives: float | None
    lonely: float
    floor: float
    chance: float
    sampler: Sampler | None


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
    links: list[LinkFacts]
    batches: list[BatchFacts]
    redundancy: list[Redundancy]
    warnings: list[str]


def inspect(recipe: Recipe, data: Prepared) -> Inspection:
    """Look at a catalog as a training under `recipe` would see it."""
    columns = [_column_facts(name, recipe, data) for name in data.labels]
    links = [_link_facts(name, data) for name in data.pairs]
    batches = list(batch_facts(recipe, data))
    redundancy = redundancies(data)
    return Inspection(
        rows=len(data.catalog),
        split={name: len(getattr(data.split, name)) for name in ("train", "val", "test")},
        skipped=len(data.pixels.skipped),
        columns=columns,
        links=links,
        batches=batches,
        redundancy=redundancy,
        warnings=[
            *_label_warnings(columns),
            *_batch_warnings(recipe, batches, redundancy),
            *harmful_views(recipe.run_views, data),
        ],
    )


def show(facts: Inspection, console: Console) -> None:
    """Print an inspection as tables and warnings."""
    parts = ", ".join(f"{count:,} {name}" for name, count in facts.split.items())
    skipped = f"; {facts.skipped} images could not be read" if facts.skipped else ""
    console.print(f"{facts.rows:,} items: {parts}{skipped}", highlight=False)
    if facts.columns:
        console.print(_label_table(facts.columns))
    if facts.links:
        console.print(_link_table(facts.links, facts.rows))
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


def _label_table(columns: list[ColumnFacts]) -> Table:
    labels = _table("labels", "column", "role", "kind", "classes", "missing", "most frequent (or range)")
    for column in columns:
        named = ", ".join(f"{name} {count:,}" for name, count in islice(column.classes.items(), 4))
        described = named if column.low is None else f"{column.low:g} … {column.high:g}"
        classes = str(len(column.classes)) if column.classes else "–"
        labels.add_row(*map(Text, (column.name, column.role, column.kind, classes, f"{column.missing:,}", described)))
    return labels


def _link_table(links: list[LinkFacts], rows: int) -> Table:
    table = _table(
        "pairs", "similarity", "linked in train", "val", "test", "across these", "judged different", "unlinked items"
    )
    for each in links:
        counts = (*each.linked.values(), each.across, each.apart, rows - each.items)
        table.add_row(Text(each.name), *(f"{count:,}" for count in counts))
    return table


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
        return ColumnFacts(name, role, label.kind, len(values) - len(known), {}, low=ends[0], high=ends[1])
    rows, trained = _rows_of_classes(label, values), _rows_of_classes(label, values[data.split.train])
    order = np.argsort(-rows, kind="stable").tolist()
    return ColumnFacts(
        name,
        role,
        label.kind,
        missing=int((values < 0).sum()),
        classes={label.classes[i]: int(rows[i]) for i in order},
        untrained=tuple(label.classes[i] for i in order if rows[i] and not trained[i]),
    )


def _rows_of_classes(label: LabelColumn, values: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " k"]:
    """How many rows have each class, tag or node of a path."""
    rows = np.bincount(values[values >= 0], minlength=len(label.members or label.classes))
    if not label.members:
        return rows
    of_members = np.zeros(len(label.classes), dtype=np.int64)
    for members, items in zip(label.members, rows, strict=True):
        of_members[list(members)] += items
    return of_members


def _link_facts(name: str, data: Prepared) -> LinkFacts:
    table = data.pairs[name]
    linked = {part: len(table.within(getattr(data.split, part))) for part in ("train", "val", "test")}
    across = len(table) - sum(linked.values())
    return LinkFacts(name, linked, across, apart=len(table.apart), items=len(np.unique(table.edges)))


def redundancies(data: Prepared) -> list[Redundancy]:
    """What every two labels share."""
    codes = {name: as_codes(values) for name, values in data.values.items()}
    return [Redundancy(a, b, shared_information(codes[a], codes[b])) for a, b in combinations(codes, 2)]


def batch_facts(recipe: Recipe, data: Prepared) -> Iterator[BatchFacts]:
    """What each similarity finds in a training batch."""
    views = recipe.training.views_per_item
    batches = list(islice(_endless(training_batches(recipe, data)), BATCHES))
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
            sampler=_sampler(recipe, name, data),
        )


def _marks(targets: AnyTargets) -> AnchorLosses:
    """Floor and chance of a batch: they do not depend on where the projections lie."""
    return contrastive_loss(torch.ones(targets.batch, 1, dtype=torch.float64), targets, temperature=1.0)


def _endless(batches: AnyBatches) -> Iterator[torch.Tensor]:
    epoch = 0
    while True:
        yield from batches.epoch(epoch)
        epoch += 1


def _label_warnings(columns: list[ColumnFacts]) -> Iterator[str]:
    for column in columns:
        if rare := [name for name, count in column.classes.items() if count < 10]:
            yield f"{column.name}: {_classes_have(rare)} fewer than 10 items ({_some(rare)})."
        if column.untrained:
            yield (
                f"{column.name}: {_classes_have(column.untrained)} no item in train ({_some(column.untrained)}): what"
                " no training item shows can't be learned or probed. Divide the rows otherwise, or merge classes."
            )


def _classes_have(names: Sequence[str]) -> str:
    return "1 class has" if len(names) == 1 else f"{len(names)} classes have"


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:5]) + (" …" if len(names) > 5 else "")


def _batch_warnings(recipe: Recipe, batches: list[BatchFacts], redundancy: list[Redundancy]) -> Iterator[str]:
    size = recipe.training.batch_size
    for each in batches:
        if each.lonely > 0.1:
            alone = f"{each.name}: {each.lonely:.0%} of its items find no other that is alike in a batch of {size}."
            yield f"{alone} {larger_batches(each.name, each.sampler)}"
    for pair in redundancy:
        if pair.shared > REDUNDANT:
            yield (
                f"{pair.first} and {pair.second} share {pair.shared:.0%} of what the coarser one says:"
                " trained together they count it twice (unless weighted by excess), and one is no test for the other."
            )


def larger_batches(name: str, sampler: Sampler | None) -> str:
    """What to do where many items of a similarity are alone in their batches."""
    together = "" if sampler is None else f", or bring {sampler} together: training.sampler = {name!r}"
    return f"Enlarge training.batch_size{together}."


def _sampler(recipe: Recipe, name: str, data: Prepared) -> Sampler | None:
    if recipe.sampler == name:
        return None
    if name in data.pairs:
        return "linked items"
    return "items per class" if name in data.labels and data.labels[name].kind == "categorical" else None

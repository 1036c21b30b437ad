"""What each similarity finds in a training batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch

from mscon.build import new_similarity
from mscon.contrast import AnchorLosses, AnyTargets, KeyTargets, contrastive_loss
from mscon.data.batches import fitting_per_class
from mscon.data.information import labelled
from mscon.data.pairs import training_pairs
from mscon.prepare import AnyBatches, Prepared, by_row_groups, training_batches
from mscon.recipe import Recipe
from mscon.similarity import RankNContrast

BATCHES = 50
"""Batches drawn, for what is estimated of them."""

ALONE = 0.1
"""Share of a similarity's items without another that is alike in a batch, above which a warning is given.

Footwear's 23 colours had 0.04 in batches of 128. What a higher share costs was not measured.
"""

Sampler = Literal["items of a class", "linked items"]
"""What a batch brings together by a similarity; None where batches are drawn at random."""


@dataclass(frozen=True)
class BatchFacts:
    """What one similarity finds in a training batch, all views counted, averaged over the anchors of some batches.

    - `positives`: positives of an anchor: e^H(q_i), which for labels is their number; None for Rank-N-Contrast, to
      which all others are.
    - `lonely`: share of labelled items without another item beside them that is at all alike; of pairs, among the
      items that are linked to any.
    - `floor`, `chance`: between these two the loss will move, in nats.
    - `sampler`: what a sampler of its own would bring together, where there is none yet and it would help.
    - `per_class`: how many items of a class it would have to bring, where those of the recipe do not fit its classes.
    """

    name: str
    positives: float | None
    lonely: float
    floor: float
    chance: float
    sampler: Sampler | None
    per_class: int | None = None


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
        linked = None
        if name in data.pairs:
            linked = torch.from_numpy(training_pairs(data.pairs[name], data.split).edges).flatten()
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
            **_sampler(recipe, name, data),
        )


def _marks(targets: AnyTargets) -> AnchorLosses:
    """Floor and chance of a batch: they do not depend on where the projections lie."""
    width = targets.keys.shape[1] if isinstance(targets, KeyTargets) else 1
    return contrastive_loss(torch.ones(targets.batch, width, dtype=torch.float64), targets, temperature=1.0)


def _endless(batches: AnyBatches) -> Iterator[torch.Tensor]:
    epoch = 0
    while True:
        yield from batches.epoch(epoch)
        epoch += 1


def larger_batches(name: str, sampler: Sampler | None, per_class: int | None = None) -> str:
    """What to do where many items of a similarity are alone in their batches; the last two are those of its
    `BatchFacts`.
    """
    together = "" if sampler is None else f", or bring {sampler} together: training.sampler = {name!r}"
    many = "" if per_class is None else f" and training.per_class = {per_class}"
    return f"Enlarge training.batch_size{together}{many}."


def _sampler(recipe: Recipe, name: str, data: Prepared) -> dict[str, Any]:
    """The fields `sampler` and `per_class`, such that a training that is told of them begins."""
    if recipe.sampler == name or by_row_groups(recipe, data):
        return {"sampler": None}
    if name in data.pairs:
        return {"sampler": "linked items"}
    size, usual = recipe.training.batch_size, recipe.training.per_class
    if name not in data.labels or data.labels[name].kind != "categorical":
        return {"sampler": None}
    known = data.values[name][data.split.train]
    known = known[labelled(known)]
    fits = fitting_per_class(size, len(np.unique(known)), least=usual) if len(known) >= size else None
    return {"sampler": "items of a class" if fits else None, "per_class": None if fits == usual else fits}

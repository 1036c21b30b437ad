"""The probe table of evaluation.json: every label's score by the model and by the floors, with intervals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from mscon.data.labels import Kind, LabelColumn
from mscon.data.splits import Split
from mscon.errors import UserError
from mscon.evaluate.bootstrap import RESAMPLES, defined
from mscon.evaluate.columns import membership
from mscon.evaluate.entries import (
    MODEL,
    Resampling,
    category_entry,
    hierarchy_entry,
    neighbour_entry,
    number_entry,
    tag_entry,
)
from mscon.evaluate.neighbours import NeighbourResult, knn_categorical, knn_continuous, knn_tags
from mscon.evaluate.probe import ProbeResult, probe_categorical
from mscon.evaluate.ridge import RidgeResult, probe_continuous
from mscon.evaluate.spectrum import Spectra
from mscon.evaluate.tags import TagResult, probe_tags


@dataclass(frozen=True, eq=False)
class Label:
    """One label column to score.

    - `role`: `"in-domain"` when the model was trained on it, else `"ood"`.
    - `values`: int64 codes, −1 where missing, or float64 numbers, NaN where missing; numbers of sets of tags or of
      paths, −1 where missing.
    - `column`: how the values are to be read. Left out, codes are classes and numbers are numbers.
    """

    role: Literal["in-domain", "ood"]
    values: Int64[np.ndarray, " n"] | Float64[np.ndarray, " n"]
    column: LabelColumn | None = None

    @property
    def kind(self) -> Kind:
        """What the column, or without one the values' type, makes it."""
        if self.column is not None:
            return self.column.kind
        return "categorical" if np.issubdtype(self.values.dtype, np.integer) else "continuous"

    @property
    def is_class(self) -> bool:
        """Whether its values are classes, one of which an item has: categories, or whole paths."""
        return self.kind in ("categorical", "hierarchy")

    @property
    def period(self) -> float | None:
        """P of numbers on a circle."""
        return None if self.column is None else self.column.period


def score(
    features: Mapping[str, Float[Tensor, "n _"]],
    labels: Mapping[str, Label],
    split: Split,
    *,
    heads: Mapping[str, Float[Tensor, "n _"]] | None = None,
    groups: Int[np.ndarray, " n"] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Probes every label on every feature set and compares the model with the floors.

    **Arguments:**

    - `features`: one row per item; `"model"` is the embedding in question, every other entry a floor.
    - `labels`: the columns to score, in the order wanted.
    - `split`: row indices into the features and labels.
    - `heads`: the items' projections by a label's own head, for the labels that have one.
    - `groups`: a code per item, near-duplicates sharing one; the bootstrap resamples groups.
    - `resamples`, `seed`: of the bootstrap.
    - `progress`: called with feature sets probed and feature sets in all.

    **Returns:** per label what `evaluation.json` holds under `labels`; a number that is not defined is None:

        {"role", "kind", "metric", "value", "low", "high", "balanced", "majority", "classes", "n", "strength",
         "floors": {name: {"value", "low", "high", "difference": {"value", "low", "high"}}},
         "knn", "own_head": {"metric", "value", "low", "high", "neighbours"} | None}

    - `value`: of `metric` on the labelled test rows: `"accuracy"` of categories and of whole paths, `"r2"` of numbers,
      `"mAP"` of tags; `low`, `high`: its 95% bootstrap interval.
    - `balanced`: see `ProbeResult`; None but for categories and paths.
    - `majority`: what the same answer for every item scores; None for numbers.
    - `classes`: how many classes, paths or tags the probe tells apart; None for numbers.
    - `n`: labelled test rows. `strength`: the model's probe's L2 penalty.
    - `difference`: model − floor, paired: both on the same items and the same resamples.
    - `knn`, `own_head`: what the nearest neighbours say, in the model's embedding and in the label's own projections:
      accuracy, Spearman's ρ of numbers (on a circle Fisher and Lee's), mAP of tags.
    - Categories and paths also have `unseen`: test rows of a class or path that no training row has, all counted wrong.
    - Numbers also have `mae`, in their own unit, and `spearman`, Spearman's ρ with its interval, on a circle
      `circular` in its place.
    - Paths also have `levels`, coarse to fine: `{"value", "low", "high", "n"}`, the accuracy down to that level among
      items that go as far.
    - Tags also have `tags`: name → `{"value", "prevalence", "n"}`, the average precision, the share of test rows with
      the tag, and how many they are.

    **Raises:** `UserError` for a label that is missing on all train or all test rows.
    """
    return probe_all(
        features, labels, split, heads=heads, groups=groups, resamples=resamples, seed=seed, progress=progress
    ).entries


Probed = ProbeResult | RidgeResult | TagResult


@dataclass(frozen=True, eq=False)
class Scored:
    """What `score` returns of each label (`entries`), and the model's probes themselves, which know every test item."""

    entries: dict[str, dict[str, Any]]
    probes: dict[str, Probed]


def probe_all(
    features: Mapping[str, Float[Tensor, "n _"]],
    labels: Mapping[str, Label],
    split: Split,
    *,
    heads: Mapping[str, Float[Tensor, "n _"]] | None = None,
    groups: Int[np.ndarray, " n"] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """`score`, with the probes that its entries were made from."""
    sets = {MODEL: features[MODEL], **features}
    heads = dict(heads or {})
    _check_finite("features", sets)
    _check_finite("projections", heads)
    columns = _Columns.of(labels)
    probes: dict[str, _Probes] = {}
    for done, (each, matrix) in enumerate(sets.items()):
        if progress:
            progress(done, len(sets))
        probes[each] = columns.probed(matrix, split)
    near = columns.neighbours(features[MODEL], split)
    own = {name: columns.only(name).neighbours(heads[name], split)[name] for name in labels if name in heads}
    if progress:
        progress(len(sets), len(sets))

    draws = Resampling(groups, resamples, seed)
    entries = {
        name: {
            "role": label.role,
            "kind": label.kind,
            **_entry(name, label, probes, draws),
            "knn": defined(near[name].value),
            "own_head": neighbour_entry(label.kind, own[name], draws, period=label.period) if name in own else None,
        }
        for name, label in labels.items()
    }
    return Scored(entries, {name: probes[MODEL].of(name) for name in labels})


@dataclass(frozen=True, eq=False)
class _Probes:
    """The probes of all labels on one feature set."""

    classes: Mapping[str, ProbeResult]
    numbers: Mapping[str, RidgeResult]
    tags: Mapping[str, TagResult]

    def of(self, name: str) -> Probed:
        """A label's, whichever kind it is."""
        return self.classes.get(name) or self.numbers.get(name) or self.tags[name]


@dataclass(frozen=True, eq=False)
class _Columns:
    """The labels' values by what is done with them: a path is a class like any other."""

    classes: Mapping[str, Int64[np.ndarray, " n"]]
    numbers: Mapping[str, Float64[np.ndarray, " n"]]
    tags: Mapping[str, Int64[np.ndarray, " n"]]
    members: Mapping[str, Bool[np.ndarray, "s t"]]
    periods: Mapping[str, float]

    @classmethod
    def of(cls, labels: Mapping[str, Label]) -> "_Columns":
        def values(kind: Kind) -> dict[str, np.ndarray]:
            return {name: label.values for name, label in labels.items() if label.kind == kind}

        read = {name: label.column for name, label in labels.items() if label.column and label.kind == "tags"}
        members = {name: membership(column.members, len(column.classes)) for name, column in read.items()}
        periods = {name: label.period for name, label in labels.items() if label.period is not None}
        classes = {name: label.values for name, label in labels.items() if label.is_class}
        return cls(classes, values("continuous"), values("tags"), members, periods)

    def only(self, name: str) -> "_Columns":
        """One of the labels alone."""

        def one(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: columns[name]} if name in columns else {}

        return _Columns(one(self.classes), one(self.numbers), one(self.tags), self.members, self.periods)

    def probed(self, features: Float[Tensor, "n d"], split: Split) -> _Probes:
        spectra = Spectra(features, split.train)
        return _Probes(
            probe_categorical(features, self.classes, split, spectra=spectra),
            probe_continuous(features, self.numbers, split, periods=self.periods, spectra=spectra),
            probe_tags(features, self.tags, self.members, split, spectra=spectra),
        )

    def neighbours(self, features: Float[Tensor, "n d"], split: Split) -> dict[str, NeighbourResult]:
        return {
            **knn_categorical(features, self.classes, split),
            **knn_continuous(features, self.numbers, split, periods=self.periods),
            **knn_tags(features, self.tags, self.members, split),
        }


def _entry(name: str, label: Label, probes: Mapping[str, _Probes], draws: Resampling) -> dict[str, Any]:
    if label.kind == "continuous":
        return number_entry({each: probed.numbers[name] for each, probed in probes.items()}, draws)
    if label.kind == "tags" and label.column:
        return tag_entry({each: probed.tags[name] for each, probed in probes.items()}, label.column.classes, draws)
    found = {each: probed.classes[name] for each, probed in probes.items()}
    if label.kind == "hierarchy" and label.column:
        return hierarchy_entry(found, label.column.members, draws)
    return category_entry(found, draws)


def _check_finite(what: str, sets: Mapping[str, Tensor]) -> None:
    for name, matrix in sets.items():
        if not torch.isfinite(matrix).all():
            row = int((~torch.isfinite(matrix).all(1)).nonzero()[0])
            raise UserError(
                f"The {what} {name!r} of row {row} are not finite numbers, so nothing can be learned from them. "
                "If the training diverged, lower its learning rate and train again."
            )

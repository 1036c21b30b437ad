"""The probe table of evaluation.json: every label's score by the model and by the floors, with intervals."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from mscon.data.splits import Split
from mscon.errors import UserError
from mscon.evaluate.bootstrap import RESAMPLES, interval, resampled_accuracy, resampled_r2
from mscon.evaluate.probe import ProbeResult, probe_categorical
from mscon.evaluate.retrieval import knn_categorical
from mscon.evaluate.ridge import RidgeResult, probe_continuous

MODEL = "model"


@dataclass(frozen=True, eq=False)
class Label:
    """One label column to score.

    - `role`: `"in-domain"` when the model was trained on it, else `"ood"`.
    - `values`: int64 codes, −1 where missing, make it categorical; float64 numbers, NaN where missing, continuous.
    """

    role: Literal["in-domain", "ood"]
    values: Int64[np.ndarray, " n"] | Float64[np.ndarray, " n"]

    @property
    def kind(self) -> Literal["categorical", "continuous"]:
        """What `values` make it."""
        return "categorical" if np.issubdtype(self.values.dtype, np.integer) else "continuous"


def score(
    features: Mapping[str, Float[Tensor, "n _"]],
    labels: Mapping[str, Label],
    split: Split,
    *,
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
    - `groups`: a code per item, near-duplicates sharing one; the bootstrap resamples groups.
    - `resamples`, `seed`: of the bootstrap.
    - `progress`: called with feature sets probed and feature sets in all.

    **Returns:** per label what `evaluation.json` holds under `labels`; a number that is not defined is None:

        {"role", "kind", "metric": "accuracy", "value", "low", "high", "balanced", "majority", "knn", "classes", "n",
         "strength", "floors": {name: {"value", "low", "high", "difference": {"value", "low", "high"}}}}

    - `value`: of `metric` on the labelled test rows; `low`, `high`: its 95% bootstrap interval.
    - `balanced`, `majority`, `classes`: see `ProbeResult`; `knn`: see `knn_categorical`.
    - `n`: labelled test rows. `strength`: the model's probe's L2 penalty.
    - `difference`: model − floor, paired: both on the same items and the same resamples.
    - A continuous label has `metric` "r2", also `mae` in its own unit, and None for what is meant for classes.

    **Raises:** `UserError` for a label that is missing on all train or all test rows.
    """
    sets = {MODEL: features[MODEL], **features}
    _check_finite(sets)
    categorical = {name: label.values for name, label in labels.items() if label.kind == "categorical"}
    continuous = {name: label.values for name, label in labels.items() if label.kind == "continuous"}
    classified: dict[str, dict[str, ProbeResult]] = {}
    regressed: dict[str, dict[str, RidgeResult]] = {}
    for done, (each, matrix) in enumerate(sets.items()):
        if progress:
            progress(done, len(sets))
        classified[each] = probe_categorical(matrix, categorical, split)
        regressed[each] = probe_continuous(matrix, continuous, split)
    neighbours = knn_categorical(features[MODEL], categorical, split)
    if progress:
        progress(len(sets), len(sets))

    scores: dict[str, dict[str, Any]] = {}
    for name, label in labels.items():
        if label.kind == "categorical":
            probes = {each: results[name] for each, results in classified.items()}
            scores[name] = _accuracies(probes, groups, resamples=resamples, seed=seed, knn=neighbours[name].accuracy)
        else:
            ridges = {each: results[name] for each, results in regressed.items()}
            scores[name] = _explained(ridges, groups, resamples=resamples, seed=seed)
        scores[name] = {"role": label.role, "kind": label.kind, **scores[name]}
    return scores


def _check_finite(sets: Mapping[str, Tensor]) -> None:
    for name, matrix in sets.items():
        if not torch.isfinite(matrix).all():
            row = int((~torch.isfinite(matrix).all(1)).nonzero()[0])
            raise UserError(
                f"The {name!r} features of row {row} are not finite numbers, so nothing can be learned from them. "
                "If the training diverged, lower its learning rate and train again."
            )


def _accuracies(
    probes: Mapping[str, ProbeResult],
    groups: Int[np.ndarray, " n"] | None,
    *,
    resamples: int,
    seed: int,
    knn: float,
) -> dict[str, Any]:
    model = probes[MODEL]
    drawn = None if groups is None else groups[model.rows]
    correct = np.column_stack([probe.correct for probe in probes.values()])
    samples = resampled_accuracy(correct, drawn, resamples=resamples, seed=seed)
    values = {each: probe.accuracy for each, probe in probes.items()}
    return {
        "metric": "accuracy",
        **_estimate(model.accuracy, samples[:, 0]),
        "balanced": model.balanced,
        "majority": model.majority,
        "knn": knn,
        "classes": model.classes,
        "n": len(model.rows),
        "strength": model.strength,
        "floors": _floors(values, samples),
    }


def _explained(
    ridges: Mapping[str, RidgeResult], groups: Int[np.ndarray, " n"] | None, *, resamples: int, seed: int
) -> dict[str, Any]:
    model = ridges[MODEL]
    drawn = None if groups is None else groups[model.rows]
    predicted = np.column_stack([ridge.predicted for ridge in ridges.values()])
    samples = resampled_r2(model.truth, predicted, drawn, resamples=resamples, seed=seed)
    values = {each: ridge.r2 for each, ridge in ridges.items()}
    return {
        "metric": "r2",
        **_estimate(model.r2, samples[:, 0]),
        "mae": model.mae,
        "balanced": None,
        "majority": None,
        "knn": None,
        "classes": None,
        "n": len(model.rows),
        "strength": model.strength,
        "floors": _floors(values, samples),
    }


def _floors(values: Mapping[str, float], samples: Float64[np.ndarray, "b f"]) -> dict[str, dict[str, Any]]:
    """Every floor's estimate and its paired difference from the model, which stands first in both arguments."""
    floors = {}
    for column, (each, value) in enumerate(values.items()):
        if each != MODEL:
            difference = _estimate(values[MODEL] - value, samples[:, 0] - samples[:, column])
            floors[each] = {**_estimate(value, samples[:, column]), "difference": difference}
    return floors


def _estimate(value: float, samples: Float64[np.ndarray, " b"]) -> dict[str, float | None]:
    ends = interval(samples)
    numbers = {"value": value, "low": ends.low, "high": ends.high}
    # JSON has no NaN.
    return {key: None if math.isnan(number) else number for key, number in numbers.items()}

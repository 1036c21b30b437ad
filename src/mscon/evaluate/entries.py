"""What evaluation.json holds of one label: numbers with their intervals; one that is not defined is None."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int, Int64

from mscon.evaluate.bootstrap import (
    accuracy_interval,
    defined,
    interval,
    resampled,
    resampled_accuracy,
    resampled_r2,
)
from mscon.evaluate.hierarchy import compare_levels
from mscon.evaluate.measures import correlation, mean_average_precision, single
from mscon.evaluate.neighbours import NeighbourResult
from mscon.evaluate.paper_probe import SgdProbe
from mscon.evaluate.probe import ProbeResult
from mscon.evaluate.ridge import RidgeResult
from mscon.evaluate.tags import TagResult

MODEL = "model"

# A score as JSON has it: value, low, high.
Estimate = dict[str, float | None]


@dataclass(frozen=True, eq=False)
class Resampling:
    """How the intervals are drawn: each item's group of near-duplicates (None: alone), how often, and the seed."""

    groups: Int[np.ndarray, " n"] | None
    resamples: int
    seed: int

    def of(self, rows: Int64[np.ndarray, " t"]) -> dict[str, Any]:
        """What the functions of `bootstrap` take for some of the items."""
        groups = None if self.groups is None else self.groups[rows]
        return {"groups": groups, "resamples": self.resamples, "seed": self.seed}

    def count(self, rows: Int64[np.ndarray, " t"]) -> int:
        """How many groups some of the items are in."""
        return len(rows) if self.groups is None else len(np.unique(self.groups[rows]))


def category_entry(probes: Mapping[str, ProbeResult], draws: Resampling) -> dict[str, Any]:
    """Accuracies of the model, which stands first, and of the floors."""
    model = probes[MODEL]
    correct = np.column_stack([probe.correct for probe in probes.values()])
    samples, groups = resampled_accuracy(correct, **draws.of(model.rows)), draws.count(model.rows)
    return {
        "metric": "accuracy",
        **estimate(model.accuracy, samples[:, 0], groups=groups),
        "balanced": model.balanced,
        "majority": model.majority,
        "classes": model.classes,
        "unseen": model.unseen,
        "n": len(model.rows),
        "strength": model.strength,
        "floors": _floors({each: probe.accuracy for each, probe in probes.items()}, samples, groups=groups),
    }


def hierarchy_entry(
    probes: Mapping[str, ProbeResult], members: Sequence[Sequence[int]], draws: Resampling
) -> dict[str, Any]:
    """Accuracies of whole paths, and of the model's predictions down to each level among items that go so far."""
    model = probes[MODEL]
    levels = compare_levels(model.truth, model.predicted, members)
    there = levels.present.any(0)
    columns = zip(levels.present.T[there], levels.correct.T[there], strict=True)
    return category_entry(probes, draws) | {
        "levels": [_level(correct[present], model.rows[present], draws) for present, correct in columns]
    }


def number_entry(probes: Mapping[str, RidgeResult], draws: Resampling) -> dict[str, Any]:
    """R² of the model, which stands first, and of the floors; the model's error and correlation."""
    model = probes[MODEL]
    fitted = np.stack([probe.fitted for probe in probes.values()], axis=1)
    samples = resampled_r2(model.points, fitted, **draws.of(model.rows))
    measure = correlation(model.period)
    correlated = resampled(measure, model.truth, model.predicted, **draws.of(model.rows))
    return {
        "metric": "r2",
        **estimate(model.r2, samples[:, 0]),
        "mae": model.mae,
        _named(model.period): estimate(single(measure(model.truth, model.predicted)), correlated),
        "balanced": None,
        "majority": None,
        "classes": None,
        "n": len(model.rows),
        "strength": model.strength,
        "floors": _floors({each: probe.r2 for each, probe in probes.items()}, samples),
    }


def tag_entry(probes: Mapping[str, TagResult], names: Sequence[str], draws: Resampling) -> dict[str, Any]:
    """mAP of the model, which stands first, and of the floors; the model's average precision of each tag."""
    model = probes[MODEL]
    samples = np.column_stack(
        [
            resampled(mean_average_precision, probe.truth, probe.scores, **draws.of(probe.rows))
            for probe in probes.values()
        ]
    )
    tags = zip(model.tags, model.precisions, model.prevalences, model.truth.sum(0), strict=True)
    return {
        "metric": "mAP",
        **estimate(model.mean_precision, samples[:, 0]),
        "balanced": None,
        "majority": defined(model.majority),
        "classes": len(model.tags),
        "n": len(model.rows),
        "strength": model.strength,
        "tags": {
            names[code]: {"value": float(precision), "prevalence": float(prevalence), "n": int(positives)}
            for code, precision, prevalence, positives in tags
        },
        "floors": _floors({each: probe.mean_precision for each, probe in probes.items()}, samples),
    }


def paper_entry(probe: SgdProbe, draws: Resampling, *, lr: float) -> dict[str, Any]:
    """Accuracy of the probe by SGD, the epoch that was kept, and what validation said after each."""
    samples = resampled_accuracy(probe.correct[:, None], **draws.of(probe.rows))[:, 0]
    return {
        "metric": "accuracy",
        **estimate(probe.accuracy, samples, groups=draws.count(probe.rows)),
        "epoch": probe.epoch,
        "validation": [defined(each) for each in probe.validation],
        "epochs": len(probe.validation),
        "lr": lr,
    }


def neighbour_entry(
    kind: str, found: NeighbourResult, draws: Resampling, *, period: float | None = None
) -> dict[str, Any]:
    """What the nearest neighbours say of a label of some kind, in the measure that suits it."""
    drawn, groups = draws.of(found.rows), None
    if kind == "continuous":
        samples, metric = resampled(correlation(period), found.truth, found.predicted, **drawn), _named(period)
    elif kind == "tags":
        samples, metric = resampled(mean_average_precision, found.truth, found.predicted, **drawn), "mAP"
    else:
        correct = (found.truth == found.predicted)[:, None]
        samples, metric = resampled_accuracy(correct, **drawn)[:, 0], "accuracy"
        groups = draws.count(found.rows)
    return {"metric": metric, **estimate(found.value, samples, groups=groups), "neighbours": found.neighbours}


def estimate(value: float, samples: Float64[np.ndarray, " b"], *, groups: int | None = None) -> Estimate:
    """A value and the interval of its resampled values; of an accuracy, `groups` are those that its items are in."""
    ends = interval(samples) if groups is None else accuracy_interval(samples, groups)
    return {key: defined(each) for key, each in (("value", value), ("low", ends.low), ("high", ends.high))}


def _named(period: float | None) -> str:
    """The name of a number's correlation."""
    return "spearman" if period is None else "circular"


def _level(correct: np.ndarray, rows: Int64[np.ndarray, " t"], draws: Resampling) -> dict[str, Any]:
    samples = resampled_accuracy(correct[:, None], **draws.of(rows))[:, 0]
    return {**estimate(float(correct.mean()), samples, groups=draws.count(rows)), "n": len(rows)}


def _floors(
    values: Mapping[str, float], samples: Float64[np.ndarray, "b f"], *, groups: int | None = None
) -> dict[str, dict[str, Any]]:
    """Every floor's estimate and its paired difference from the model, which stands first in both arguments."""
    floors = {}
    for column, (each, value) in enumerate(values.items()):
        if each != MODEL:
            difference = estimate(values[MODEL] - value, samples[:, 0] - samples[:, column])
            floors[each] = {**estimate(value, samples[:, column], groups=groups), "difference": difference}
    return floors

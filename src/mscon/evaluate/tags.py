"""Linear probes for sets of tags: one yes-or-no classifier per tag, scored by how it ranks the test items."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from mscon.data.information import labelled
from mscon.data.splits import Split
from mscon.evaluate.columns import best, by_training_rows
from mscon.evaluate.logistic import Classifiers, fit_logistic
from mscon.evaluate.measures import average_precision, mean_average_precision, single
from mscon.evaluate.probe import MAX_ITERATIONS, STRENGTHS, TOLERANCE
from mscon.evaluate.spectrum import Spectra


@dataclass(frozen=True, eq=False)
class TagResult:
    """The probes of one column of sets of tags.

    - `tags`: codes of the t tags that a labelled training row and a labelled test row have; no other can be scored.
    - `rows`: the n labelled test rows; `truth`: which of the tags each has; `scores`: the higher, the likelier.
    - `strength`: the L2 penalty that was chosen for all tags; `validation`: its mAP on the labelled validation rows,
      NaN where that is not defined.
    """

    tags: Int64[np.ndarray, " t"]
    rows: Int64[np.ndarray, " n"]
    truth: Bool[np.ndarray, "n t"]
    scores: Float[np.ndarray, "n t"]
    strength: float
    validation: float

    @property
    def precisions(self) -> Float64[np.ndarray, " t"]:
        """Average precision of each tag on test."""
        each = [single(average_precision(*columns)) for columns in zip(self.truth.T, self.scores.T, strict=True)]
        return np.array(each, dtype=np.float64)

    @property
    def prevalences(self) -> Float64[np.ndarray, " t"]:
        """Share of the labelled test rows that have each tag: the average precision of not telling items apart."""
        return self.truth.mean(0)

    @property
    def mean_precision(self) -> float:
        """mAP: the mean over the tags; NaN without any."""
        return float(self.precisions.mean()) if len(self.tags) else math.nan

    @property
    def majority(self) -> float:
        """mAP of not telling items apart; NaN without tags."""
        return float(self.prevalences.mean()) if len(self.tags) else math.nan


def probe_tags(
    features: Float[Tensor, "n d"],
    columns: Mapping[str, Int64[np.ndarray, " n"]],
    members: Mapping[str, Bool[np.ndarray, "s t"]],
    split: Split,
    *,
    strengths: Sequence[float] = STRENGTHS,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
    spectra: Spectra | None = None,
) -> dict[str, TagResult]:
    """One logistic regression per tag against all items without it, on frozen features, scored on the test rows.

    Features are prepared and each tag fitted as `probe_categorical` does with a column of two classes; all tags and
    strengths are fitted together. The strength with the highest mAP on the labelled validation rows is taken, one for
    all tags, the stronger among equals, and the middle one when fewer than 30 validation rows are labelled.

    **Arguments:**

    - `features`: one row per item.
    - `columns`: per column the number of each item's set of tags, −1 where it is missing.
    - `members`: per column which tags each set holds, see `membership`.
    - `split`: row indices into `features`.
    - `strengths`: L2 penalties, positive, in any order.
    - `tolerance`, `max_iterations`: see `fit_logistic`.
    - `spectra`: of these features and training rows, where other probes share them.

    **Returns:** a `TagResult` per column, in the order of `columns`.

    **Raises:** `UserError` for a column without a label in train or in test.
    """
    strengths = sorted(strengths, reverse=True)
    spectra = spectra or Spectra(features, split.train)
    results: dict[str, TagResult] = {}
    for group in by_training_rows(columns, split):
        spectrum = spectra.of(group.train)
        train, val, test = (spectrum.project(features, rows) for rows in (group.train, split.val, split.test))
        for name in group.names:
            sets, table = columns[name], members[name]
            rows = split.test[labelled(sets)[split.test]]
            tags = np.flatnonzero(table[sets[group.train]].any(0) & table[sets[rows]].any(0))
            known = table[sets[group.train]][:, tags]
            fits = fit_logistic(
                train,
                # A tag that every row has is a column of one class.
                torch.from_numpy((known & ~known.all(0)).T.astype(np.int64)).to(features.device),
                strengths=strengths,
                variances=spectrum.variances,
                tolerance=tolerance,
                max_iterations=max_iterations,
            )
            probed = labelled(sets)[split.val]
            held_out = table[sets[split.val][probed]][:, tags]
            guesses = [_margins(fits, strength, val)[probed] for strength in range(len(strengths))]
            scores = [single(mean_average_precision(held_out, guess)) for guess in guesses]
            chosen = best(scores, rows=int(probed.sum()))
            results[name] = TagResult(
                tags=tags,
                rows=rows,
                truth=table[sets[rows]][:, tags],
                scores=_margins(fits, chosen, test)[labelled(sets)[split.test]],
                strength=strengths[chosen],
                validation=scores[chosen],
            )
    return {name: results[name] for name in columns}


def _margins(fits: Sequence[Classifiers], strength: int, features: Float[Tensor, "n d"]) -> Float[np.ndarray, "n t"]:
    """How far each tag's logit lies above that of being without it; 0 for a tag that nothing was to tell from."""
    if not fits:
        return np.zeros((len(features), 0))
    weight = torch.stack([fit.weight[strength, -1] - fit.weight[strength, 0] for fit in fits])
    bias = torch.stack([fit.bias[strength, -1] - fit.bias[strength, 0] for fit in fits])
    return torch.addmm(bias, features, weight.T).cpu().numpy()

"""Linear probes for continuous labels: ridge regression on frozen features, for all strengths in closed form."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from mscon.data.circle import as_points, from_points, shorter_way
from mscon.data.information import labelled
from mscon.data.splits import Split
from mscon.evaluate.columns import best, by_training_rows
from mscon.evaluate.spectrum import Spectra

RIDGE_STRENGTHS = (1e2, 1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4)


@dataclass(frozen=True, eq=False)
class RidgeResult:
    """One continuous label's probe.

    - `rows`: the labelled test rows, with their `truth` in the label's own unit and the point `fitted` to each: one
      number in that unit, or on a circle two, see `as_points`.
    - `period`: P of a label on a circle, None on a line.
    - `strength`: the L2 penalty that was chosen; `validation`: its R² on the labelled validation rows, NaN where that
      is not defined.
    """

    rows: Int64[np.ndarray, " t"]
    truth: Float64[np.ndarray, " t"]
    fitted: Float64[np.ndarray, "t k"]
    period: float | None
    strength: float
    validation: float

    @property
    def points(self) -> Float64[np.ndarray, "t k"]:
        """What `fitted` is compared with."""
        return as_points(self.truth, self.period)

    @property
    def predicted(self) -> Float64[np.ndarray, " t"]:
        """What is predicted for each row, in the label's unit; on a circle the direction of its point, in [0, P)."""
        return from_points(self.fitted, self.period)

    @property
    def r2(self) -> float:
        """Explained share of the variance on test, see `r_squared`."""
        return r_squared(self.points, self.fitted)

    @property
    def mae(self) -> float:
        """Mean absolute error on test, in the label's unit; on a circle the shorter way round."""
        return float(np.abs(shorter_way(self.truth - self.predicted, self.period)).mean())


def probe_continuous(
    features: Float[Tensor, "n d"],
    columns: Mapping[str, Float[np.ndarray, " n"]],
    split: Split,
    *,
    periods: Mapping[str, float] | None = None,
    strengths: Sequence[float] = RIDGE_STRENGTHS,
    spectra: Spectra | None = None,
) -> dict[str, RidgeResult]:
    """Ridge regression on frozen features, per label column, scored on the test rows.

        minimise over w, b:   1/(2n) Σ_i (w · x_i + b − y_i)²  +  strength/2 · ‖w‖²

    Features and labels are brought to mean 0 and variance 1 on the column's labelled training rows, other rows'
    features being clipped to the range of these. In the features' principal axes (`Spectrum`) the solution is
    w_d = mean(x_d y) / (variance_d + strength), so one eigendecomposition serves every strength and label.
    scikit-learn's `Ridge` has the same solution for **alpha = n · strength**. A label on a circle is fitted as two
    numbers of one strength, (cos 2πy/P, sin 2πy/P): where it begins makes no difference.

    The strength with the highest R² on the labelled validation rows is taken, the stronger among equals, and the middle
    one when fewer than 30 validation rows are labelled or their labels are all equal.

    **Arguments:**

    - `features`: one row per item.
    - `columns`: numbers per label column, NaN where the label is missing.
    - `split`: row indices into `features`.
    - `periods`: P by name, of the columns whose numbers lie on a circle.
    - `strengths`: L2 penalties, positive, in any order.
    - `spectra`: of these features and training rows, where other probes share them.

    **Returns:** a `RidgeResult` per column, in the order of `columns`.

    **Raises:** `UserError` for a column without a label in train or in test.
    """
    strengths = sorted(strengths, reverse=True)
    spectra = spectra or Spectra(features, split.train)
    results: dict[str, RidgeResult] = {}
    for group in by_training_rows(columns, split):
        spectrum = spectra.of(group.train)
        train, val, test = (spectrum.project(features, rows) for rows in (group.train, split.val, split.test))
        penalties = torch.tensor(strengths, dtype=torch.float64, device=features.device)
        shrunk = spectrum.variances + penalties[:, None]
        for name in group.names:
            values, period = columns[name].astype(np.float64), (periods or {}).get(name)
            points = as_points(values, period)
            mean, spread = points[group.train].mean(0), points[group.train].std(0)
            scale = np.where(spread > 0.0, spread, 1.0)
            target = torch.from_numpy((points[group.train] - mean) / scale).to(train)
            weight = ((target.T @ train).double() / len(target) / shrunk[:, None]).to(train)
            probed, scored = labelled(values)[split.val], labelled(values)[split.test]
            guesses = [(val @ each.T).double().cpu().numpy()[probed] * scale + mean for each in weight]
            scores = [r_squared(points[split.val][probed], guess) for guess in guesses]
            chosen = best(scores, rows=int(probed.sum()))
            results[name] = RidgeResult(
                rows=split.test[scored],
                truth=values[split.test][scored],
                fitted=(test @ weight[chosen].T).double().cpu().numpy()[scored] * scale + mean,
                period=period,
                strength=strengths[chosen],
                validation=scores[chosen],
            )
    return {name: results[name] for name in columns}


def r_squared(truth: Float64[np.ndarray, "n *k"], predicted: Float64[np.ndarray, "n *k"]) -> float:
    """1 − Σ |y − ŷ|² / Σ |y − ȳ|² of numbers or points, ȳ being the mean of `truth` itself; NaN when `truth` is empty
    or does not vary.
    """
    if len(truth) == 0 or (truth == truth[0]).all():
        return math.nan
    return float(1 - np.square(truth - predicted).sum() / np.square(truth - truth.mean(0)).sum())

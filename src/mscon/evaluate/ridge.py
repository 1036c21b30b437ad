"""Linear probes for continuous labels: ridge regression on frozen features, for all strengths in closed form."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from mscon.data.information import labelled
from mscon.data.splits import Split
from mscon.evaluate.columns import best, by_training_rows
from mscon.evaluate.spectrum import Spectrum

RIDGE_STRENGTHS = (1e2, 1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4)


@dataclass(frozen=True, eq=False)
class RidgeResult:
    """One continuous label's probe; `truth` and `predicted` are in the label's own unit.

    - `rows`: the labelled test rows, with their `truth` and what is `predicted` for them.
    - `strength`: the L2 penalty that was chosen; `validation`: its R² on the labelled validation rows, NaN where that
      is not defined.
    """

    rows: Int64[np.ndarray, " t"]
    truth: Float64[np.ndarray, " t"]
    predicted: Float64[np.ndarray, " t"]
    strength: float
    validation: float

    @property
    def r2(self) -> float:
        """Explained share of the variance on test, see `r_squared`."""
        return r_squared(self.truth, self.predicted)

    @property
    def mae(self) -> float:
        """Mean absolute error on test, in the label's unit."""
        return float(np.abs(self.truth - self.predicted).mean())


def probe_continuous(
    features: Float[Tensor, "n d"],
    columns: Mapping[str, Float[np.ndarray, " n"]],
    split: Split,
    *,
    strengths: Sequence[float] = RIDGE_STRENGTHS,
) -> dict[str, RidgeResult]:
    """Ridge regression on frozen features, per label column, scored on the test rows.

        minimise over w, b:   1/(2n) Σ_i (w · x_i + b − y_i)²  +  strength/2 · ‖w‖²

    Features and labels are brought to mean 0 and variance 1 on the column's labelled training rows, other rows'
    features being clipped to the range of these. In the features' principal axes (`Spectrum`) the solution is
    w_d = mean(x_d y) / (variance_d + strength), so one eigendecomposition serves every strength and label.
    scikit-learn's `Ridge` has the same solution for **alpha = n · strength**.

    The strength with the highest R² on the labelled validation rows is taken, the stronger among equals, and the middle
    one when fewer than 30 validation rows are labelled or their labels are all equal.

    **Arguments:**

    - `features`: one row per item.
    - `columns`: numbers per label column, NaN where the label is missing.
    - `split`: row indices into `features`.
    - `strengths`: L2 penalties, positive, in any order.

    **Returns:** a `RidgeResult` per column, in the order of `columns`.

    **Raises:** `UserError` for a column without a label in train or in test.
    """
    strengths = sorted(strengths, reverse=True)
    results: dict[str, RidgeResult] = {}
    for group in by_training_rows(columns, split):
        spectrum = Spectrum.of(features, group.train)
        train, val, test = (spectrum.project(features, rows) for rows in (group.train, split.val, split.test))
        penalties = torch.tensor(strengths, dtype=torch.float64, device=features.device)
        shrunk = spectrum.variances + penalties[:, None]
        for name in group.names:
            values = columns[name].astype(np.float64)
            mean, scale = values[group.train].mean(), values[group.train].std() or 1.0
            target = torch.from_numpy((values[group.train] - mean) / scale).to(train)
            weight = ((target @ train).double() / len(target) / shrunk).to(train)
            probed, scored = labelled(values)[split.val], labelled(values)[split.test]
            guesses = (val @ weight.T).double().cpu().numpy()[probed] * scale + mean
            scores = [r_squared(values[split.val][probed], guess) for guess in guesses.T]
            chosen = best(scores, rows=int(probed.sum()))
            results[name] = RidgeResult(
                rows=split.test[scored],
                truth=values[split.test][scored],
                predicted=(test @ weight[chosen]).double().cpu().numpy()[scored] * scale + mean,
                strength=strengths[chosen],
                validation=scores[chosen],
            )
    return {name: results[name] for name in columns}


def r_squared(truth: Float64[np.ndarray, " n"], predicted: Float64[np.ndarray, " n"]) -> float:
    """1 − Σ (y − ŷ)² / Σ (y − ȳ)², ȳ being the mean of `truth` itself; NaN when `truth` is empty or does not vary."""
    if len(truth) == 0 or truth.min() == truth.max():
        return math.nan
    return float(1 - np.square(truth - predicted).sum() / np.square(truth - truth.mean()).sum())

"""Linear probes for categorical labels: what a linear classifier on frozen features tells of each label column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from mscon.data.information import labelled
from mscon.data.splits import Split
from mscon.evaluate.classified import Classified
from mscon.evaluate.columns import best, by_training_rows, share
from mscon.evaluate.logistic import Classifiers, fit_logistic
from mscon.evaluate.spectrum import Spectra

STRENGTHS = (1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
# Nats, as the solver sees it. Fits ten times more exact have scored within 0.3 points at every strength.
TOLERANCE = 1e-6
# The strengths that win have seldom needed more; the weakest, on ill-conditioned features, are stopped early.
MAX_ITERATIONS = 200


@dataclass(frozen=True, eq=False)
class ProbeResult(Classified):
    """One label column's probe.

    `strength`: the L2 penalty that was chosen; `validation`: its accuracy on the labelled validation rows, NaN when
    there are none.
    """

    strength: float
    validation: float


def probe_categorical(
    features: Float[Tensor, "n d"],
    columns: Mapping[str, Int[np.ndarray, " n"]],
    split: Split,
    *,
    strengths: Sequence[float] = STRENGTHS,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
    spectra: Spectra | None = None,
) -> dict[str, ProbeResult]:
    """Multinomial logistic regression on frozen features, per label column, scored on the test rows.

    Features are brought to mean 0 and variance 1 on the column's labelled training rows, other rows being clipped to
    the range of these (`Spectrum`). The penalised mean cross-entropy of the training rows is minimised; `fit_logistic`
    gives the formula and its terms in scikit-learn. The strength with the highest accuracy on the labelled validation
    rows is taken, the stronger among equals, and the middle one when fewer than 30 validation rows are labelled.
    Validation rows are never trained on.

    **Arguments:**

    - `features`: one row per item; float64 is fitted in float64, anything else in float32.
    - `columns`: codes per label column, −1 where the label is missing. Codes need not be consecutive.
    - `split`: row indices into `features`.
    - `strengths`: L2 penalties, positive, in any order.
    - `tolerance`, `max_iterations`: see `fit_logistic`.
    - `spectra`: of these features and training rows, where other probes share them.

    **Returns:** a `ProbeResult` per column, in the order of `columns`.

    **Raises:** `UserError` for a column without a label in train or in test.
    """
    strengths = sorted(strengths, reverse=True)
    results: dict[str, ProbeResult] = {}
    spectra = spectra or Spectra(features, split.train)
    for group in by_training_rows(columns, split):
        train = [np.unique(columns[name][group.train], return_inverse=True) for name in group.names]
        spectrum = spectra.of(group.train)
        fits = fit_logistic(
            spectrum.project(features, group.train),
            torch.from_numpy(np.stack([codes for _, codes in train])).to(features.device),
            strengths=strengths,
            variances=spectrum.variances,
            tolerance=tolerance,
            max_iterations=max_iterations,
        )
        val, test = spectrum.project(features, split.val), spectrum.project(features, split.test)
        for name, (classes, codes), fit in zip(group.names, train, fits, strict=True):
            values = columns[name].astype(np.int64)
            probed, scored = labelled(values)[split.val], labelled(values)[split.test]
            accuracies = [
                share(_predict(fit, strength, val, classes) == values[split.val], probed)
                for strength in range(len(strengths))
            ]
            chosen = best(accuracies, rows=int(probed.sum()))
            results[name] = ProbeResult(
                rows=split.test[scored],
                truth=values[split.test][scored],
                predicted=_predict(fit, chosen, test, classes)[scored],
                common=int(classes[np.bincount(codes).argmax()]),
                known=classes.astype(np.int64),
                strength=strengths[chosen],
                validation=accuracies[chosen],
            )
    return {name: results[name] for name in columns}


def _predict(
    fit: Classifiers, strength: int, features: Float[Tensor, "n d"], classes: Int[np.ndarray, " k"]
) -> Int64[np.ndarray, " n"]:
    return classes[fit.logits(features, strength).argmax(1).cpu().numpy()].astype(np.int64)

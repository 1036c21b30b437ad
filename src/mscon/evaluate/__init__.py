"""What an embedding knows: probes of every label on frozen features, beside floors that nobody trained, with intervals.

`score` makes the probe table of a run; the parts it is made of stand alone:

- `probe_categorical`, `probe_continuous`: linear probes, their strength chosen on validation, scored on test.
- `knn_categorical`: nearest-neighbour accuracy by cosine.
- `pixel_features`, `classical_features`: the floors that need no encoder.
- `resampled_accuracy`, `resampled_r2`, `interval`: the bootstrap, over groups of near-duplicates.
"""

from mscon.evaluate.bootstrap import Interval, interval, resampled_accuracy, resampled_r2
from mscon.evaluate.floors import classical_features, pixel_features
from mscon.evaluate.probe import ProbeResult, probe_categorical
from mscon.evaluate.retrieval import NeighbourResult, knn_categorical
from mscon.evaluate.ridge import RidgeResult, probe_continuous
from mscon.evaluate.scores import Label, score

__all__ = [
    "Interval",
    "Label",
    "NeighbourResult",
    "ProbeResult",
    "RidgeResult",
    "classical_features",
    "interval",
    "knn_categorical",
    "pixel_features",
    "probe_categorical",
    "probe_continuous",
    "resampled_accuracy",
    "resampled_r2",
    "score",
]

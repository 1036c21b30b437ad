"""What an embedding knows: probes of every label on frozen features, beside floors that nobody trained, with intervals.

`score` makes the probe table of a run; the parts it is made of stand alone:

- `probe_categorical`, `probe_continuous`, `probe_tags`: linear probes, their strength chosen on validation, scored on
  test; `compare_levels` tells how far down a path a prediction is right.
- `probe_by_sgd`: a linear probe trained by SGD on augmented images, after the first author's precursor code.
- `knn_categorical`, `knn_continuous`, `knn_tags`: what the nearest neighbours by cosine say.
- `find_links`: how linked items find one another.
- `pixel_features`, `classical_features`: the floors that need no encoder.
- `average_precision`, `mean_average_precision`, `spearman`: scores that see the order alone; `circular`: the
  correlation of numbers on a circle.
- `resampled_accuracy`, `resampled_r2`, `resampled`, `interval`: the bootstrap, over groups of near-duplicates.
"""

from mscon.data.classical import classical_features, pixel_features
from mscon.evaluate.bootstrap import Interval, interval, resampled, resampled_accuracy, resampled_r2
from mscon.evaluate.columns import membership
from mscon.evaluate.hierarchy import Levels, compare_levels
from mscon.evaluate.links import LinkResult, find_links
from mscon.evaluate.measures import average_precision, circular, mean_average_precision, spearman
from mscon.evaluate.neighbours import NeighbourResult, knn_categorical, knn_continuous, knn_tags
from mscon.evaluate.paper_probe import SgdProbe, probe_by_sgd
from mscon.evaluate.probe import ProbeResult, probe_categorical
from mscon.evaluate.ridge import RidgeResult, probe_continuous
from mscon.evaluate.scores import Label, score
from mscon.evaluate.tags import TagResult, probe_tags

__all__ = [
    "Interval",
    "Label",
    "Levels",
    "LinkResult",
    "NeighbourResult",
    "ProbeResult",
    "RidgeResult",
    "SgdProbe",
    "TagResult",
    "average_precision",
    "circular",
    "classical_features",
    "compare_levels",
    "find_links",
    "interval",
    "knn_categorical",
    "knn_continuous",
    "knn_tags",
    "mean_average_precision",
    "membership",
    "pixel_features",
    "probe_by_sgd",
    "probe_categorical",
    "probe_continuous",
    "probe_tags",
    "resampled",
    "resampled_accuracy",
    "resampled_r2",
    "score",
    "spearman",
]

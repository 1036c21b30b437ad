"""What mscon is compared with: losses of other methods on the same encoder, in the same loop, with the same weights.

`SummedLosses` takes the place of `MSConLoss`. What it sums, one for each similarity, is

- `CrossEntropy`: a classifier's, per task or multi-task;
- `Triplets`: the hinge of conditional similarity networks (CSN), on heads that a learned mask tells apart
  (`model.heads = "masked"`);
- `Contrastive`: of a similarity without labels, beside these.

SimCLR and SupCon need nothing of their own: they are `MSConLoss` under one similarity.
"""

from mscon.baselines.contrastive import Contrastive
from mscon.baselines.cross_entropy import CrossEntropy
from mscon.baselines.summed import RowLosses, SummedLosses
from mscon.baselines.triplets import Triplets

__all__ = ["Contrastive", "CrossEntropy", "RowLosses", "SummedLosses", "Triplets"]

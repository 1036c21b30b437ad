"""What held-out items say of each similarity, at the temperature that suits them best."""

from jaxtyping import Float
from torch import Tensor

from mscon.terms import BatchTerms

TEMPERS = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 200.0)
"""Of the temperature, by which held-out items may be told from one another less surely than in training."""


def best_tempered(sums: Float[Tensor, "t 4 c"]) -> BatchTerms:
    """What held-out items say of each similarity, at that of the temperatures where they say most.

    A head that is too sure of itself has a larger loss than what it knows would cost, above chance even; so of each
    similarity the tempered softmax counts that is best on these very items. One number is chosen, by all of them.

    **Arguments:** `sums`: of `MSConLoss.held_out_sums`, added up over all held-out batches.
    """
    anchors, loss, floor, chance = sums.unbind(dim=1)
    best = loss.argmin(dim=0, keepdim=True)
    count, *means = (each.gather(0, best).squeeze(0) for each in (anchors, loss, floor, chance))
    each = [mean / count.where(count > 0, 1.0) for mean in means]
    return BatchTerms(*each, anchors=count.round().long(), mass=count)

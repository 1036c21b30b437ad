"""Uncertainty of single items: which labels look like chance, and how sure a similarity is of an item.

Two things are told apart. Whether this label of this item is one to learn from (`label_trust`), which only a labelled
item has; and how well a similarity will do on such an item (`heteroscedastic`), which a head learns to tell from the
item alone.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mscon.contrast import AnchorLosses

MOST_NOISE = 0.5
"""Of the share of chance that labels are doubted with: a model cannot judge labels that are mostly wrong, and one that
knows nothing yet must not, for what it doubts it does not learn."""

LARGEST = 6.0
"""Of |log σ²|: beyond it the loss of an uncertainty head is all slope."""


def label_trust(losses: AnchorLosses, noise: Float[Tensor, ""]) -> Float[Tensor, " n"]:
    """The probability that a row's label is no chance, given how its loss turned out.

        t_i = (1 − η) e^(−excess_i) / [(1 − η) e^(−excess_i) + η e^(−(chance_i − floor_i))]
            = sigmoid(log((1 − η) / η) + chance_i − loss_i)

    η is the share of labels that are chance. The model's softmax gives an anchor's positives together at least the
    probability e^(−excess_i) (Jensen's inequality, of the mean logarithm that the loss is), and had the label been
    drawn by lot, the positives would have had their share of all others, e^(−(chance − floor)). So a label is doubted
    once its loss is higher than chance, more so the noisier the similarity is; at η = 0 none is. η is taken as ½ at
    most.

    **Arguments:**

    - `losses`: of one similarity.
    - `noise`: η in [0, 1].

    **Returns:** a number in [0, 1] per row, without gradient; of no meaning in rows that are no anchor.
    """
    odds = torch.logit(1.0 - noise.clamp(max=MOST_NOISE).to(losses.loss.dtype))
    return torch.sigmoid(odds + losses.chance - losses.loss.detach())


def heteroscedastic(losses: AnchorLosses, log_variance: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """What teaches an uncertainty head: e_i / σ_i² + log σ_i², with e_i = excess_i / (chance_i − floor_i) detached.

    Least where σ_i² is the mean relative excess of items that look like this one: near 0 where the similarity is
    plain to see, 1 where it might as well be chance (the classification form of Kendall and Gal 2017, arXiv
    1703.04977, with the floor taken off the loss).

    **Arguments:**

    - `losses`: of one similarity.
    - `log_variance`: log σ² of every row; its gradient passes where it is beyond ±6 but is taken at ±6.

    **Returns:** one value per row, 0 for a row that is no anchor.
    """
    excess = (losses.loss.detach() - losses.floor).clamp(min=0.0)
    relative = excess / (losses.chance - losses.floor).clamp(min=1e-3)
    bounded = log_variance + (log_variance.clamp(-LARGEST, LARGEST) - log_variance).detach()
    return (relative * torch.exp(-bounded) + bounded).where(losses.anchors, 0.0)

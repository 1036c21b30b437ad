"""Uncertainty of single items: how well a similarity will do on such an item, which a head learns to tell from it."""

import torch
from jaxtyping import Float
from torch import Tensor

from mscon.contrast import AnchorLosses
from mscon.terms import NARROWEST

LARGEST = 6.0
"""Of |log σ²|: beyond it the loss of an uncertainty head is all slope."""

LEAST = 0.1
"""Of σ² in the weights of items: without it those that are learned by heart would take all of the weight."""


def heteroscedastic(losses: AnchorLosses, log_variance: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """What teaches an uncertainty head: e_i / σ_i² + log σ_i², with e_i = excess_i / (chance_i − floor_i) detached.

    Least where σ_i² is the mean relative excess of items that look like this one: near 0 where the similarity is
    plain to see, 1 where it might as well be chance (the classification form of Kendall and Gal 2017, arXiv
    1703.04977, with the floor taken off the loss).

    **Arguments:**

    - `losses`: of one similarity.
    - `log_variance`: log σ² of every row; its gradient passes where it is beyond ±6 but is taken at ±6.

    **Returns:** one value per row, 0 for a row that is no anchor or has nothing between floor and chance.
    """
    excess = (losses.loss.detach() - losses.floor).clamp(min=0.0)
    span = losses.chance - losses.floor
    told_apart = losses.anchors & (span > NARROWEST * losses.chance)
    relative = excess / span.where(told_apart, 1.0)
    bounded = log_variance + (log_variance.clamp(-LARGEST, LARGEST) - log_variance).detach()
    return (relative * torch.exp(-bounded) + bounded).where(told_apart, 0.0)


def variance(log_variance: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """σ² of each item, which lies between e⁻⁶ and e⁶ whatever its head says."""
    return log_variance.clamp(-LARGEST, LARGEST).exp()


def item_weights(log_variance: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """1 / (0.1 + σ²) of each item, detached: as weights of anchors, those that are as good as chance count an eleventh
    of those that are plain to see.
    """
    return 1.0 / (LEAST + variance(log_variance.detach()))

"""Triplets: an item shall be nearer to one of its class than to one of another, by a margin."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor

from mscon.contrast import AnchorLosses

NEAREST = 1e-12
"""Of a squared distance, whose root has no gradient at 0."""


@dataclass(frozen=True)
class Triplets:
    """loss_i = mean over drawn (p, n) of max(0, ‖z_i − z_p‖ − ‖z_i − z_n‖ + margin)

    with p any other row of i's class and n any row of another, drawn anew at every call: conditional similarity
    networks (Veit, Belongie and Karaletsos 2017, arXiv 1603.07810, equation 3) inside a batch. Projections are taken as
    they are, not of unit length. The floor is 0; chance is the margin, the loss where all distances are alike.

    Beyond the paper, which draws triplets of the whole set, an anchor has several of its batch: the same mean with less
    noise. The paper's penalties, L1 on masks and L2 on embeddings, here are both on z, the masked embedding:
    `sparsity` · mean |z| + `shrinkage` · mean z².

    **Arguments:**

    - `margin`: h > 0.
    - `draws`: triplets of each anchor.
    - `sparsity`, `shrinkage`: λ1 and λ2; the authors' code has 5e-4 and 5e-3.
    """

    margin: float = 0.2
    draws: int = 16
    sparsity: float = 5e-4
    shrinkage: float = 5e-3

    def __call__(
        self, outputs: Float[Tensor, "n d"], values: Integer[Tensor, " n"], *, training: bool = True
    ) -> AnchorLosses:
        """The losses of rows with these projections and classes, −1 where one is missing.

        A row is an anchor if the batch has another one of its class and one of another. Out of `training` the same
        triplets are drawn every time, and there are no penalties.
        """
        known = values >= 0
        same = (values[:, None] == values) & known & known[:, None]
        others = known & known[:, None] & ~same
        same.fill_diagonal_(False)
        anchors = same.any(1) & others.any(1)
        generator = None if training else torch.Generator().manual_seed(0)
        near, far = (_drawn(each[anchors], self.draws, generator) for each in (same, others))
        squares = outputs.square().sum(1)
        distance = (squares[:, None] + squares - 2 * outputs @ outputs.T).clamp(min=NEAREST).sqrt()[anchors]
        hinge = (distance.gather(1, near) - distance.gather(1, far) + self.margin).clamp(min=0)
        each = hinge.mean(1)
        if training:
            z = outputs[anchors]
            penalty = self.sparsity * z.abs().mean(1) + self.shrinkage * z.square().mean(1)
            each = each + (penalty - penalty.detach())
        loss = outputs.sum(1) * 0.0
        loss = loss.index_put((anchors.nonzero().squeeze(1),), each)
        chance = torch.full_like(squares, self.margin).where(anchors, 0.0).detach()
        return AnchorLosses(loss, torch.zeros_like(chance), chance, anchors, anchors.sum())


def _drawn(allowed: Bool[Tensor, "a n"], draws: int, generator: torch.Generator | None) -> Int64[Tensor, "a draws"]:
    """Rows drawn evenly, with replacement, of those that are allowed to each anchor."""
    counts = allowed.sum(1, keepdim=True)
    chance = torch.rand(len(allowed), draws, generator=generator).to(allowed.device)
    wanted = (chance * counts).long().clamp(max=counts - 1) + 1  # the how manieth of the allowed
    return torch.searchsorted(allowed.cumsum(1), wanted)

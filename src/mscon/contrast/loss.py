"""The loss of one similarity, per anchor, with what it takes to read it: floor and chance."""

from dataclasses import dataclass
from math import log
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mscon.contrast.dense import dense_loss
from mscon.contrast.targets import LabelTargets, Targets
from mscon.contrast.tiled import tiled_push

Engine = Literal["auto", "dense", "tiled"]
"""How push is computed; every engine gives the same values and gradients."""

DENSE_UP_TO = 512
"""The batch up to which `auto` takes the dense engine: its N×N tensors are still small, and it makes fewer calls."""


@dataclass(frozen=True)
class AnchorLosses:
    """One contrastive loss per row of the batch, and the two marks to read it by.

    - `loss`: push_i − pull_i in nats; 0 for a row that is no anchor.
    - `floor`: H(q_i), the least value that loss can take; 0 for a row that is no anchor.
    - `chance`: log of the number of candidates, the loss of an anchor that ranks all others alike; one number.
    - `anchors`: rows that have a label and at least one positive.
    """

    loss: Float[Tensor, " n"]
    floor: Float[Tensor, " n"]
    chance: Float[Tensor, ""]
    anchors: Bool[Tensor, " n"]

    @property
    def count(self) -> Int[Tensor, ""]:
        """How many rows are anchors."""
        return self.anchors.sum()

    @property
    def mean(self) -> Float[Tensor, ""]:
        """The loss, averaged over the anchors; 0 with a gradient of 0 when there are none."""
        return self.loss.sum() / self.count.clamp(min=1)

    @property
    def mean_floor(self) -> Float[Tensor, ""]:
        """The floor, averaged over the anchors; 0 when there are none."""
        return self.floor.sum() / self.count.clamp(min=1)


def contrastive_loss(
    z: Float[Tensor, "n d"], targets: Targets, *, temperature: float = 0.1, engine: Engine = "auto"
) -> AnchorLosses:
    """The cross-entropy between target distributions and the softmax over the other items.

        p_ij = exp(z_i·z_j/τ) / Σ_{k≠i} exp(z_i·z_k/τ)
        loss_i = −Σ_j q_ij log p_ij = push_i − pull_i = H(q_i) + KL(q_i ‖ p_i)

    With `LabelTargets` this is SupCon's L_out (Khosla et al. 2020, arXiv 2004.11362, equation 2).

    **Arguments:**

    - `z`: projections, one row per view of an item; normalised to unit length here. Half precision is raised to
      float32.
    - `targets`: what each row is pulled toward, over the same N rows.
    - `temperature`: τ > 0.
    - `engine`: `"dense"` (N×N tensors), `"tiled"` (O(N·d) memory) or `"auto"` (by N).

    **Returns:** the losses per row. Rows without a label take no part at all, so they get a gradient of 0; a row
    without a positive is no anchor but still a negative to others. With no anchor at all, every loss is 0 and so is
    the gradient.

    **Raises:** `ValueError` for a temperature that is not positive or an unknown engine.
    """
    if not temperature > 0.0:
        raise ValueError(f"temperature must be positive, not {temperature}")
    if engine not in ("auto", "dense", "tiled"):
        raise ValueError(f"engine must be 'auto', 'dense' or 'tiled', not {engine!r}")
    rows = targets.rows
    everything = len(rows) == len(z)
    unit = _unit_rows(z if everything else z[rows])
    if len(rows) < 2:
        nothing = z[:0].sum() + unit.new_zeros(len(z))
        none = torch.zeros(len(z), dtype=torch.bool, device=z.device)
        return AnchorLosses(loss=nothing, floor=nothing.detach(), chance=unit.new_zeros(()), anchors=none)

    with torch.autocast(z.device.type, enabled=False):
        dense = engine == "dense" or (engine == "auto" and len(rows) <= DENSE_UP_TO)
        if dense:
            loss = dense_loss(unit, targets.matrix().to(unit.dtype), temperature=temperature)
        else:
            pull = (unit * targets.mean_target(unit)).sum(dim=1) / temperature
            loss = tiled_push(unit, temperature=temperature) - pull
    loss = loss.where(targets.anchors, 0.0)
    floor = targets.floor.to(unit.dtype).where(targets.anchors, 0.0)
    chance = unit.new_tensor(log(len(rows) - 1))
    if everything:
        return AnchorLosses(loss=loss, floor=floor, chance=chance, anchors=targets.anchors)
    scatter = unit.new_zeros(len(z))
    return AnchorLosses(
        loss=scatter.index_copy(0, rows, loss),
        floor=scatter.index_copy(0, rows, floor),
        chance=chance,
        anchors=torch.zeros(len(z), dtype=torch.bool, device=z.device).index_copy(0, rows, targets.anchors),
    )


def supcon_loss(
    z: Float[Tensor, "n d"], labels: Int[Tensor, " n"], *, temperature: float = 0.1, engine: Engine = "auto"
) -> Float[Tensor, ""]:
    """SupCon (Khosla et al. 2020, L_out): mean over the anchors that have a positive, no extra factor of temperature.

    SupContrast keeps anchors without positives as zeros and multiplies by τ/0.07; pytorch-metric-learning averages
    the non-zero losses. All three agree when every anchor has a positive and τ = 0.07. Labels below 0 are missing.
    """
    return contrastive_loss(z, LabelTargets.of(labels), temperature=temperature, engine=engine).mean


def simclr_loss(
    z: Float[Tensor, "n d"], *, views: int = 2, temperature: float = 0.1, engine: Engine = "auto"
) -> Float[Tensor, ""]:
    """SimCLR's NT-Xent (Chen et al. 2020, arXiv 2002.05709): the other views of the same item are the positives.

    Rows are ordered view by view: row i and row i + N/views are views of one item. **Raises** `ValueError` if N is no
    multiple.
    """
    if views < 1 or len(z) % views:
        raise ValueError(f"{len(z)} rows are not {views} views of the same number of items")
    items = torch.arange(len(z) // views, device=z.device).repeat(views)
    return supcon_loss(z, items, temperature=temperature, engine=engine)


def _unit_rows(z: Tensor) -> Tensor:
    return F.normalize(z if z.dtype in (torch.float32, torch.float64) else z.float(), dim=1)

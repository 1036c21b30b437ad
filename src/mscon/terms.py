"""Terms: what a batch says of each similarity, as means over its anchors; and what the objective makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mscon.contrast import AnchorLosses, Ranks

NARROWEST = 1e-5
"""Of the chance's loss: where the floor is no further below it, float32 cannot tell the two apart."""


@dataclass(frozen=True)
class BatchTerms:
    """What one batch says of each similarity, detached from the encoder unless stated.

    - `loss`: mean over the anchors, in nats, with the encoder's graph.
    - `floor`, `chance`: means over the anchors, in nats.
    - `anchors`: how many there were with a weight above 0.
    - `mass`: the sum of their weights, `anchors` where each weighs 1.
    """

    loss: Float[Tensor, " c"]
    floor: Float[Tensor, " c"]
    chance: Float[Tensor, " c"]
    anchors: Int[Tensor, " c"]
    mass: Float[Tensor, " c"]


@dataclass(frozen=True)
class Term:
    """One similarity's part of the objective. All but `loss` are detached; all are in nats but the last four.

    - `loss`: mean over the anchors; 0 when the batch has none.
    - `floor`: the least value that loss can take: the mean entropy of the targets.
    - `chance`: the loss of an anchor that ranks all others alike.
    - `excess`: loss − floor, the mean KL(q ‖ p) ≥ 0.
    - `relative_excess`: excess / (chance − floor), from 0 (clean) to about 1 (noise); NaN without anchors, and where
      chance is no higher than the floor, all of the batch being alike.
    - `weight`: what the loss was multiplied by.
    - `anchors`: how many rows had a label, a positive, and an anchor weight above 0.
    - `mass`: the sum of their anchor weights, `anchors` where each weighs 1.
    """

    loss: Float[Tensor, ""]
    floor: Float[Tensor, ""]
    chance: Float[Tensor, ""]
    excess: Float[Tensor, ""]
    relative_excess: Float[Tensor, ""]
    weight: Float[Tensor, ""]
    anchors: Int[Tensor, ""]
    mass: Float[Tensor, ""]


@dataclass(frozen=True)
class MSConOutput:
    """`total` is the number to call `backward` on; `terms` holds one part per similarity."""

    total: Float[Tensor, ""]
    terms: dict[str, Term]


def mean_terms(
    losses: Sequence[AnchorLosses], weights: Sequence[Float[Tensor, " n"] | None], ranks: Ranks | None
) -> BatchTerms:
    """Weighted means over the anchors of all processes: Σ_i w_i x_i / Σ_i w_i; 0 where there are none.

    **Arguments:**

    - `losses`: of each similarity, this process's rows.
    - `weights`: ≥ 0 of these rows; None for 1 each.
    - `ranks`: the processes, if several.
    """
    each = [_sums(one, weight) for one, weight in zip(losses, weights, strict=True)]
    total, marks = torch.stack([loss for loss, _ in each]), torch.stack([marks for _, marks in each])
    if ranks:
        total, marks = ranks.sum_of_shares(total), ranks.sum(marks)
    count, mass, floor, chance = marks.unbind(dim=1)
    weight = mass.where(mass > 0, 1.0)
    return BatchTerms(
        loss=total / weight.to(total.dtype),
        floor=(floor / weight).to(total.dtype),
        chance=(chance / weight).to(total.dtype),
        anchors=count.round().long(),
        mass=mass,
    )


def relative_excess(loss: Tensor, floor: Tensor, chance: Tensor) -> Tensor:
    """(loss − floor) / (chance − floor); NaN where there is nothing between the two."""
    span = chance - floor
    return (loss - floor) / span.where(span > NARROWEST * chance, float("nan"))


def terms_of(names: Sequence[str], batch: BatchTerms, weight: Tensor) -> dict[str, Term]:
    """A batch's terms by the names of their similarities, with the weights that they got."""
    excess = batch.loss.detach() - batch.floor
    relative = relative_excess(batch.loss.detach(), batch.floor, batch.chance)
    return {
        name: Term(
            loss=batch.loss[c],
            floor=batch.floor[c],
            chance=batch.chance[c],
            excess=excess[c],
            relative_excess=relative[c],
            weight=weight[c],
            anchors=batch.anchors[c],
            mass=batch.mass[c],
        )
        for c, name in enumerate(names)
    }


def _sums(losses: AnchorLosses, weights: Tensor | None) -> tuple[Float[Tensor, ""], Float[Tensor, "4"]]:
    """Over this process's anchors: the weighted sum of the loss; and how many, their weights, weighted floor and
    chance, in float64.
    """
    each = losses.anchors.to(losses.loss.dtype)
    if weights is not None:
        each = each * weights.detach().to(each.dtype)
    marks = torch.stack([each > 0, each, each * losses.floor, each * losses.chance]).double().sum(dim=1)
    return (each * losses.loss).sum(), marks

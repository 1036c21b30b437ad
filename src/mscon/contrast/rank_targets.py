"""Rank-N-Contrast: numbers order the others by how near they are, and nothing but the order counts."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mscon.contrast.blocks import in_blocks
from mscon.contrast.numbers import NumberTargets, check_period, known_numbers, on_circle, rounding


@dataclass(frozen=True)
class RankTargets(NumberTargets):
    """Every other row j is a positive of anchor i, in its turn: against those at least as far from i as j is.

    - `rounding`: how far off each value may be; distances that may be equal are. The rest as in `NumberTargets`.
    """

    rounding: Float[Tensor, " m"]

    @classmethod
    def of(cls, values: Float[Tensor, " n"], *, period: float | None = None) -> "RankTargets":
        """The targets of numbers; NaN is a missing label. On a circle a value counts as its remainder.

        **Raises:** `ValueError` for a period that is not positive and finite, and values that are infinite or no
        floating point numbers.
        """
        check_period(period)
        rows, known = known_numbers(values)
        return cls(len(values), rows, on_circle(known, period), period, rounding(known, period))


def rank_losses(
    z: Float[Tensor, "m d"], targets: RankTargets, *, temperature: float, own: slice = slice(None)
) -> tuple[Float[Tensor, " own"], Float[Tensor, " own"], Float[Tensor, " own"]]:
    """The loss of each row in `own`, the least it can be, and the one of chance (Zha et al. 2023, arXiv 2210.01189).

        S_ij = {k ≠ i : Δ_ik ≥ Δ_ij}        the others that are at least as far
        loss_i   = mean_{j≠i} [log Σ_{k∈S_ij} exp(z_i·z_k/τ) − z_i·z_j/τ]
        floor_i  = mean_{j≠i} log |{k ≠ i : Δ_ik = Δ_ij}|        approached as scores fall ever more steeply with Δ
        chance_i = mean_{j≠i} log |S_ij|                         where all scores are alike

    O(M² log M) time, for a row sorts the others by distance and sums from the far end; O(M·d) memory: orders and scores
    are made block by block, and anew in the backward pass.

    **Arguments:** `z`, M ≥ 2 unit rows; `targets` over them; `temperature` τ > 0; `own`, the rows wanted.
    """
    parts = in_blocks(lambda rows: _of_block(z, targets, rows, temperature), own, rows=len(z), width=len(z))
    if not parts:
        return z[own].sum(dim=1), z.new_zeros(0), z.new_zeros(0)
    losses, floors, chances = zip(*parts, strict=True)
    return torch.cat(losses), torch.cat(floors), torch.cat(chances)


def _of_block(z: Tensor, targets: RankTargets, own: slice, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    places = torch.arange(own.start, own.stop, device=z.device)
    gap = targets.distance(own).scatter_(1, places.unsqueeze(1), -1.0)
    gap, order = gap.sort(dim=1, descending=True)
    gap, order = gap[:, :-1], order[:, :-1]  # the row itself stands last
    near = targets.rounding[order]
    first, last = _ends_of_ties(gap, 2.0 * targets.rounding[own].unsqueeze(1) + near[:, :-1] + near[:, 1:])
    floor, chance = (last - first + 1).double().log().mean(dim=1), (last + 1).double().log().mean(dim=1)
    scores = (z[own] @ z.mT / temperature).gather(1, order)
    loss = (scores.logcumsumexp(dim=1).gather(1, last) - scores).mean(dim=1)
    return loss, floor, chance


def _ends_of_ties(gap: Float[Tensor, "b n"], rounding: Float[Tensor, "b n-1"]) -> tuple[Tensor, Tensor]:
    """Of each place in rows that fall, the first and the last one with the same value, neighbours being equal up to
    `rounding`.
    """
    places = torch.arange(gap.shape[1], device=gap.device).expand_as(gap)
    new = torch.ones_like(gap, dtype=torch.bool)
    new[:, 1:] = gap[:, :-1] - gap[:, 1:] > rounding
    ends = new.roll(-1, dims=1)  # the first place is new, so the last one ends
    first = places.where(new, 0).cummax(dim=1).values
    last = places.where(ends, gap.shape[1]).flip(1).cummin(dim=1).values.flip(1)
    return first, last

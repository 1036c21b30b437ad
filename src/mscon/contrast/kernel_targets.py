"""Targets among items with a number: the nearer two are, the harder they pull."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mscon.contrast.numbers import NumberTargets, check_period, known_numbers, on_circle, rounding
from mscon.contrast.sparse import distinct, sparse
from mscon.contrast.type_targets import TypeTargets

FAR = 11.0
"""Bandwidths to the nearest other row beyond which an anchor has none near: a kernel of e⁻⁶⁰."""


@dataclass(frozen=True)
class KernelTargets(NumberTargets):
    """q_ij = k_ij / Σ_{l≠i} k_il with k_ij = exp(−Δ(v_i, v_j)² / 2h²): a softmax over the other rows.

    Δ is |v_i − v_j| or, on a circle of circumference P, the shorter way round. An anchor that is more than 11 h from
    every other row has none near: it is pulled toward the nearest alone, in equal parts where several are.

    The mean target takes N² steps, so it rides in the pass of push (`mscon.contrast.push_pull`); `matrix` is the
    definition.

    Beside what `NumberTargets` has:

    - `bandwidth`: h > 0, in the unit of v.
    - `far`: anchors that have none near.
    - `nearest`: what those are pulled toward; None where there are none of them.
    """

    bandwidth: float
    far: Bool[Tensor, " m"]
    nearest: TypeTargets | None

    @classmethod
    def of(cls, values: Float[Tensor, " n"], *, bandwidth: float, period: float | None = None) -> "KernelTargets":
        """The targets of numbers; NaN is a missing label. On a circle a value counts as its remainder.

        **Raises:** `ValueError` for a bandwidth that is not between 10⁻¹² and 10¹², a period that is not positive and
        finite, and values that are infinite or no floating point numbers.
        """
        if not 1e-12 <= bandwidth <= 1e12:
            raise ValueError(f"a bandwidth must be from 1e-12 to 1e12, not {bandwidth}")
        check_period(period)
        rows, given = known_numbers(values)
        known = on_circle(given, period)
        values_, types, counts = distinct(known)
        before, after = _gaps(values_, period)
        least = torch.minimum(before, after)
        far = (counts == 1) & (least > FAR * bandwidth) & least.isfinite()
        nearest = None
        if bool(far.any()):
            off = torch.zeros_like(values_).scatter_reduce_(0, types, rounding(given, period), "amax")
            within = least + 2.0 * off + off.roll(1) + off.roll(-1)
            nearest = TypeTargets.of_matrix(rows, types, _nearest(far, before, after, within), batch=len(values))
        return cls(len(values), rows, known, period, bandwidth, far[types], nearest)

    @property
    def floor(self) -> Float[Tensor, " m"]:
        """H(q_i), from the definition: N² numbers; the engines have it from their pass."""
        q = self.matrix()
        return -torch.xlogy(q, q).sum(dim=1)

    def matrix(self, own: slice = slice(None)) -> Float[Tensor, "own m"]:
        """q as defined, float64."""
        place = torch.arange(len(self.rows), device=self.rows.device)
        itself = place[own].unsqueeze(1) == place
        logits = -(self.distance(own).square() / (2.0 * self.bandwidth**2)).masked_fill(itself, torch.inf)
        q = logits.softmax(dim=1).nan_to_num(0.0)  # a row that is alone has no others to share 1 among
        if self.nearest is None:
            return q
        return torch.where(self.far[own].unsqueeze(1), self.nearest.matrix(own), q)

    @property
    def fine(self) -> bool:
        """Whether the values range over more than 1,000 bandwidths, so that float32 would blur a bandwidth."""
        return bool(len(self.values)) and float(self.values.max() - self.values.min()) > 1e3 * self.bandwidth

    def centred(self, dtype: torch.dtype) -> Float[Tensor, " m"]:
        """The values, on a line about their mean, in a narrower type; for those that are not `fine`."""
        return (self.values - self.values.mean() if self.period is None else self.values).to(dtype)


def _gaps(values: Float[Tensor, " u"], period: float | None) -> tuple[Tensor, Tensor]:
    """From each of several sorted, distinct values to the one before it and to the one after it; ∞ beyond an end."""
    after = torch.full_like(values, torch.inf)
    after[:-1] = values.diff()
    if period is not None and len(values) > 1:
        after[-1] = values[0] + period - values[-1]
    return after.roll(1), after


def _nearest(far: Tensor, before: Tensor, after: Tensor, within: Tensor) -> Tensor:
    """Sparse (U, U): 1 from each far value to the nearest one, or to both when both are within so much."""
    count, places = len(far), torch.arange(len(far), device=far.device)
    pairs = [
        torch.stack([places, (places + step) % count])[:, far & (gap <= within)]
        for step, gap in ((-1, before), (1, after))
    ]
    where = torch.cat(pairs, dim=1)
    return sparse(where, torch.ones(where.shape[1], dtype=torch.float64, device=far.device), (count, count))

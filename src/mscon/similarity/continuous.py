"""Alike means: near in value."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from mscon.arguments import check_tensor
from mscon.contrast import KernelTargets
from mscon.contrast.numbers import check_period, floats, known_numbers, on_circle

LEAST_BANDWIDTH = 1e-6
"""Of bandwidths: less than one item in any reference."""


@dataclass(frozen=True, eq=False)
class Continuous:
    """Alike means: near in rank. q_ij is a normal kernel on the distance of ranks, scaled to sum to 1 over the others.

        u(v) = (share of the reference below v + share of it not above v) / 2           in [0, 1]
        q_ij ∝ exp(−Δ(u_i, u_j)² / 2h²)

    Ranks know no unit: metres and beats per minute behave alike, a long tail is no longer than another, and any rising
    function of the values leaves the targets the same to the last bit. Equal values have equal ranks. (Kernels on the
    labels themselves: y-aware InfoNCE, Dufumier et al. 2021, arXiv 2106.08808.)

    **Arguments:**

    - `bandwidth`: h > 0, a share of all items: at 0.05 the item a twentieth of them further up counts e^(−½) as much.
    - `period`: of values on a circle, such as 24 for hours: Δ is then the shorter way round.
    - `reference`: the values among which ranks are taken, usually those of the training items, in any order; NaN does
      not count. Left out, the batch is its own reference.

    **Raises:** `ValueError` for a bandwidth below 10⁻⁶ or above 10⁶, a period that is not positive and finite, or a
    reference that is no tensor (n,) or holds no number; for numbers that are not floating point, and on a circle for
    infinite ones. (On a line those are beyond all others.)
    """

    bandwidth: float = 0.05
    period: float | None = None
    reference: Float[Tensor, " n"] | None = None
    _ordered: dict[tuple[torch.dtype, torch.device], Tensor] = field(
        default_factory=dict[tuple[torch.dtype, torch.device], Tensor], init=False, repr=False
    )

    def __post_init__(self) -> None:
        if not LEAST_BANDWIDTH <= self.bandwidth <= 1.0 / LEAST_BANDWIDTH:
            raise ValueError(f"a bandwidth must be from {LEAST_BANDWIDTH} to 1e6, not {self.bandwidth}")
        check_period(self.period)
        if self.reference is not None:
            check_tensor("the reference of a continuous similarity", self.reference, "n")
            object.__setattr__(self, "reference", self._known(self.reference))
            if len(self.reference) == 0:
                raise ValueError("the reference of a continuous similarity holds no number")

    def targets(self, values: Float[Tensor, " n"]) -> KernelTargets:
        """Targets from numbers, NaN being a missing one."""
        return KernelTargets.of(
            self.ranks(values), bandwidth=self.bandwidth, period=None if self.period is None else 1.0
        )

    def ranks(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """u of each value, float64; NaN where it is missing.

        Values and reference are compared in the coarser one's type: 0.3 as float32 is 0.3 as float64.
        """
        known = self._known(values)
        if self.reference is None:
            coarser, among = values.dtype, self._in_order(known)
        else:
            coarser = max(values.dtype, self.reference.dtype, key=lambda each: torch.finfo(each).eps)
            among = self._reference_in_order(coarser, values.device)
        values = on_circle(values.to(coarser), self.period)
        below, not_above = (torch.searchsorted(among, values, right=right) for right in (False, True))
        return ((below + not_above).double() / (2.0 * max(1, len(among)))).masked_fill(values.isnan(), torch.nan)

    def _reference_in_order(self, dtype: torch.dtype, device: torch.device) -> Float[Tensor, " n"]:
        """Put in order once for each type that batches have: it may hold a million values."""
        if self.reference is not None and (dtype, device) not in self._ordered:
            self._ordered[dtype, device] = self._in_order(self.reference.to(device).to(dtype))
        return self._ordered[dtype, device]

    def _in_order(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return on_circle(values, self.period).sort().values

    def _known(self, values: Float[Tensor, " n"]) -> Float[Tensor, " m"]:
        """The values that are there."""
        return values[~floats(values).isnan()] if self.period is None else known_numbers(values)[1]

"""Numbers as labels: how far apart they are and what of that is rounding, on a line and on a circle."""

from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mscon.arguments import check_tensor

GRID = 2.0**40
"""Steps of a circle: 8.1 o'clock is the same on every day, though 24.1 − 24 is not 0.1."""


def floats(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The values as they are. **Raises:** `ValueError` for what cannot say that one is missing, and more than one for
    each row.
    """
    check_tensor("labels", values, "N")
    if not values.dtype.is_floating_point:
        raise ValueError(f"numbers must be floating point, NaN where one is missing, not {values.dtype}")
    return values


def known_numbers(values: Float[Tensor, " n"]) -> tuple[Int[Tensor, " m"], Float[Tensor, " m"]]:
    """The rows that have a number, and these. **Raises:** `ValueError` for infinity, and as `floats` does."""
    rows = (~floats(values).isnan()).nonzero().squeeze(1)
    known = values[rows]
    if known.isinf().any():
        raise ValueError(f"an infinite value has no distance to others (row {int(rows[known.isinf()][0])}): mend it")
    return rows, known


def check_period(period: float | None) -> None:
    """**Raises** `ValueError` for a period that is not positive and finite; None stands for a line."""
    if period is not None and not 0.0 < period < inf:
        raise ValueError(f"a period must be positive and finite, not {period}")


def on_circle(values: Float[Tensor, " n"], period: float | None) -> Float[Tensor, " n"]:
    """Values as float64, in [0, period), to one in 2⁴⁰ of it, so that equal ones in different turns are equal; as they
    are where there is no period.
    """
    values = values.double()
    if period is None:
        return values
    return (values / period * GRID).round().remainder(GRID) * (period / GRID)


def rounding(values: Float[Tensor, " n"], period: float | None) -> Float[Tensor, " n"]:
    """How far off each value may be for being written in its type, float64: twice the half of a last place, on a circle
    a step of it at least.

    Two distances |v_i − v_j| and |v_i − v_k| are equal where they differ by no more than twice i's, j's and k's, as
    12.3 − 12.2 does from 12.2 − 12.1.
    """
    off = torch.finfo(values.dtype).eps * values.abs().double()
    return off if period is None else off.clamp(min=period / GRID)


@dataclass(frozen=True)
class NumberTargets:
    """What targets that are made from numbers have in common.

    - `batch`, `rows`: as in `Targets`.
    - `values`: v of each labelled row, float64; on a circle in [0, P).
    - `period`: P, or None on a line.
    """

    batch: int
    rows: Int[Tensor, " m"]
    values: Float[Tensor, " m"]
    period: float | None

    @property
    def anchors(self) -> Bool[Tensor, " m"]:
        """Every labelled row, once there is another."""
        return torch.full_like(self.rows, len(self.rows) > 1, dtype=torch.bool)

    def distance(self, own: slice = slice(None)) -> Float[Tensor, "own m"]:
        """Δ of the labelled rows `own` to all: |v_i − v_j|, on a circle the shorter way round."""
        gap = (self.values[own].unsqueeze(1) - self.values).abs()
        return gap if self.period is None else torch.minimum(gap, self.period - gap)

"""Means over seeds with their 95% intervals, and differences between methods on the same seeds."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's t at 97.5% for 1, 2, … degrees of freedom; beyond these the last, which is a little too wide."""


@dataclass(frozen=True)
class Mean:
    """A mean over seeds; `half` is half of its 95% interval by Student's t, NaN where no spread is known."""

    value: float
    half: float
    seeds: int

    def text(self, *, signed: bool = False) -> str:
        """As tables show it: 81.5 ± 0.4, or 81.5 with a single seed."""
        value = f"{self.value:+.1f}".replace("-", "−") if signed else f"{self.value:.1f}"
        return value if math.isnan(self.half) else f"{value} ± {self.half:.1f}"


@dataclass(frozen=True)
class Spread:
    """A standard deviation between seeds, and the degrees of freedom that it was estimated with."""

    deviation: float
    freedom: int


def pooled(groups: Iterable[Sequence[float]]) -> Spread | None:
    """One spread for all groups, each around its own mean: √(Σ (x − mean)² / Σ (n − 1)); None without two of a kind.

    With two seeds a group's own says next to nothing: its interval, by the t of one degree of freedom, is six times as
    wide as what many groups give together. It takes the spread to be the same in all of them.
    """
    several = [np.array(group, dtype=np.float64) for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    squares = sum(float(np.square(group - group.mean()).sum()) for group in several)
    return Spread(math.sqrt(squares / freedom), freedom) if freedom else None


def mean(values: Sequence[float], spread: Spread | None = None) -> Mean:
    """Of at least one value, with the spread between them, or a known one. **Raises** `ValueError` for no value."""
    if not values:
        raise ValueError("there is nothing to take the mean of")
    spread = spread or pooled([values])
    half = math.nan
    if spread:
        half = T_975[min(spread.freedom, len(T_975)) - 1] * spread.deviation / math.sqrt(len(values))
    return Mean(float(np.mean(values)), half, len(values))


def paired(ours: dict[int, float], theirs: dict[int, float]) -> Mean | None:
    """The mean of ours − theirs over the seeds that both have; None when there are none."""
    both = sorted(ours.keys() & theirs.keys())
    return mean([ours[seed] - theirs[seed] for seed in both]) if both else None

"""Means over seeds with their 95% intervals, and differences between methods on the same seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's t at 97.5% for 1, 2, … degrees of freedom; beyond these the last, which is a little too wide."""


@dataclass(frozen=True)
class Mean:
    """A mean over seeds; `half` is half of its 95% interval by Student's t, NaN with a single seed."""

    value: float
    half: float
    seeds: int

    def text(self, *, signed: bool = False) -> str:
        """As tables show it: 81.5 ± 0.4, or 81.5 with a single seed."""
        value = f"{self.value:+.1f}".replace("-", "−") if signed else f"{self.value:.1f}"
        return value if math.isnan(self.half) else f"{value} ± {self.half:.1f}"


def mean(values: Sequence[float]) -> Mean:
    """Of at least one value. **Raises** `ValueError` for none."""
    if not values:
        raise ValueError("there is nothing to take the mean of")
    numbers = np.array(values, dtype=np.float64)
    count = len(numbers)
    half = math.nan
    if count > 1:
        half = T_975[min(count - 2, len(T_975) - 1)] * float(numbers.std(ddof=1)) / math.sqrt(count)
    return Mean(float(numbers.mean()), half, count)


def paired(ours: dict[int, float], theirs: dict[int, float]) -> Mean | None:
    """The mean of ours − theirs over the seeds that both have; None when there are none."""
    both = sorted(ours.keys() & theirs.keys())
    return mean([ours[seed] - theirs[seed] for seed in both]) if both else None

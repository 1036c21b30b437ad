"""Alike means: nearer in value than others are."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from mscon.contrast import RankTargets
from mscon.contrast.numbers import check_period


@dataclass(frozen=True)
class RankNContrast:
    """Alike means: nearer in value than others are (Zha et al. 2023, arXiv 2210.01189).

    Each other row is a positive against those that are at least as far from the anchor as it is; `rank_losses` has the
    formula. The published way for numbers, here to compare `Continuous` with: distances are of the values themselves,
    and the time is O(N² log N).

    **Arguments:**

    - `period`: of values on a circle, such as 24 for hours: distance is then the shorter way round.

    **Raises:** `ValueError` for a period that is not positive and finite.
    """

    period: float | None = None

    def __post_init__(self) -> None:
        check_period(self.period)

    def targets(self, values: Float[Tensor, " n"]) -> RankTargets:
        """Targets from numbers, NaN being a missing one."""
        return RankTargets.of(values, period=self.period)

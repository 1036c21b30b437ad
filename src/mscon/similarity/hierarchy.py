"""Alike means: the same beginning of a path."""

from collections.abc import Sequence
from math import inf

from jaxtyping import Integer
from torch import Tensor

from mscon.contrast import LinearTargets
from mscon.similarity.groups import Groups, refuse_text


class Hierarchy:
    """Alike means: the same path, or the same beginning of it. Closer kin pull harder.

        q_ij = Σ_l w_l [i and j agree down to level l] / (Σ_l w_l) / (n_il − 1)

    with n_il the rows of the batch that agree with i down to level l; over the levels where that is 2 or more. What
    agrees further down counts on every level above it too, and shares with fewer. A path may end early: its item takes
    part as far as it goes. (Label hierarchies under a supervised contrastive loss: Zhang et al. 2022, arXiv
    2204.13207.)

    **Arguments:**

    - `paths`: the paths that items have, coarse to fine; an item's value is the number of its path here. Levels need
      not nest: two "Boots" below different parents are different. An empty path is a missing label.
    - `weights`: w_l > 0 of each level, the same for all when left out.

    **Raises:** `ValueError` for a path with a gap, more or fewer weights than levels, or one that is not positive.
    """

    def __init__(self, paths: Sequence[Sequence[str]], *, weights: Sequence[float] | None = None):
        refuse_text(paths)
        levels = max((len(each) for each in paths), default=0)
        weights = [1.0] * levels if weights is None else list(weights)
        if any(not name for path in paths for name in path):
            raise ValueError("a path ends where its names do: it has no level without a name")
        if len(weights) != levels or not all(0.0 < each < inf for each in weights):
            raise ValueError(f"{levels} levels need as many weights above 0, not {weights}")
        codes: dict[tuple[str, ...], int] = {}
        groups = [
            [codes.setdefault(tuple(path[:level]), len(codes)) for level in range(1, len(path) + 1)] for path in paths
        ]
        self._groups = Groups(groups, [weights[: len(each)] for each in groups])

    def targets(self, values: Integer[Tensor, " n"]) -> LinearTargets:
        """Targets from numbers of paths, a negative one being a missing label."""
        return self._groups.targets(values)

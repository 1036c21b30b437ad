"""How far down a path a prediction is right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64


@dataclass(frozen=True, eq=False)
class Levels:
    """Predicted paths beside true ones, level by level, coarse to fine.

    - `present`: `(n, l)`, whether the item's true path goes as far down as that.
    - `correct`: `(n, l)`, whether the predicted path goes as far too and is the same down to there.
    """

    present: Bool[np.ndarray, "n l"]
    correct: Bool[np.ndarray, "n l"]


def compare_levels(
    truth: Int64[np.ndarray, " n"], predicted: Int64[np.ndarray, " n"], members: Sequence[Sequence[int]]
) -> Levels:
    """The levels that predicted paths get right; right on one level means right on every level above it.

    **Arguments:**

    - `truth`, `predicted`: numbers of paths, none missing.
    - `members`: the codes of each path's nodes, coarse to fine; a node's code tells its whole way from the top.
    """
    nodes = np.full((len(members), max(map(len, members), default=0)), -1)
    for number, path in enumerate(members):
        nodes[number, : len(path)] = path
    present = nodes[truth] >= 0
    return Levels(present, present & (nodes[truth] == nodes[predicted]))

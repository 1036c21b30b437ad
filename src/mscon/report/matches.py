"""How two items compare under one label: the mark that a neighbour's picture carries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mscon.data.circle import shorter_way
from mscon.data.information import labelled
from mscon.data.labels import LabelColumn

Match = Literal["same", "part", "other", "number", "missing"]


@dataclass(frozen=True)
class Comparison:
    """What is seen of two items under one label, and the sign for it.

    - `match`: `"same"` class, path, or a tag in common; `"part"`, paths that begin alike; `"other"`; `"number"`, where
      alike is a matter of degree; `"missing"` on either side.
    - `sign`: ✓, ✗, ?, the levels in common of the query's (1/2), or how far above the query's the number is (+3), on a
      circle the shorter way round.
    """

    match: Match
    sign: str


def compare(column: LabelColumn, values: np.ndarray, query: int, row: int) -> Comparison:
    """An item of `row` beside the `query`; `values` are every row's, −1 or NaN where missing."""
    if not labelled(values[[query, row]]).all():
        return Comparison("missing", "?")
    if column.kind == "continuous":
        return Comparison("number", difference(float(shorter_way(values[[row]] - values[query], column.period)[0])))
    if values[row] == values[query]:
        return Comparison("same", "✓")
    if column.kind == "tags":
        alike = set(column.members[values[query]]) & set(column.members[values[row]])
        return Comparison("same", "✓") if alike else Comparison("other", "✗")
    if column.kind == "hierarchy":
        return _kin(column.members[values[query]], column.members[values[row]])
    return Comparison("other", "✗")


def difference(number: float) -> str:
    """A signed number of few digits, such as +3, −0.25 or +1,200; "=" for none."""
    if number == 0:
        return "="
    return f"{number:{'+,.0f' if abs(number) >= 100 else '+.2g'}}".replace("-", "−")


def _kin(query: Sequence[int], other: Sequence[int]) -> Comparison:
    # A node's code tells its whole way from the top, so levels in common are the first ones.
    shared = sum(one == another for one, another in zip(query, other, strict=False))
    return Comparison("part", f"{shared}/{len(query)}") if shared else Comparison("other", "✗")

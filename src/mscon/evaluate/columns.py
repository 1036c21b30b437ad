"""Which rows a label column is trained, chosen and scored on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from mscon.data.information import labelled
from mscon.data.splits import Split
from mscon.errors import UserError

# With fewer labelled validation rows one item weighs over three points: choosing by them would be drawing lots.
FEWEST_TO_CHOOSE = 30


@dataclass(frozen=True, eq=False)
class Labelled:
    """Columns that are labelled on the same training rows and so share whatever is computed from these alone."""

    names: tuple[str, ...]
    train: Int64[np.ndarray, " m"]


def by_training_rows(columns: Mapping[str, np.ndarray], split: Split) -> list[Labelled]:
    """Puts the columns together whose labelled training rows are the same.

    An item without a label has then no influence on the column's score whatever, not even through the features' mean,
    and a column scores the same whichever others are scored beside it.

    **Raises:** `UserError` for a column that has no labelled row in train or in test.
    """
    check_labelled(columns, split)
    alike: dict[bytes, list[str]] = {}
    for name, values in columns.items():
        alike.setdefault(labelled(values)[split.train].tobytes(), []).append(name)
    return [Labelled(tuple(names), split.train[labelled(columns[names[0]])[split.train]]) for names in alike.values()]


def check_labelled(columns: Mapping[str, np.ndarray], split: Split) -> None:
    """**Raises** `UserError` for a column that has no labelled row in train or in test."""
    for name, values in columns.items():
        if part := lacking_part(values, split):
            raise UserError(
                f"Label {name!r} is missing on every {part} row, so it cannot be scored. "
                "Choose another column, or a split that leaves some of its labels to every part."
            )


def lacking_part(values: np.ndarray, split: Split) -> str | None:
    """The part, train or test, in which no row has a label that could be fitted or scored; None if both have one."""
    known = labelled(values)
    return next((part for part in ("train", "test") if not known[getattr(split, part)].any()), None)


def membership(members: Sequence[Sequence[int]], tags: int) -> Bool[np.ndarray, "s t"]:
    """Which of t tags each set of tags holds, from the tags' codes in each."""
    table = np.zeros((len(members), tags), dtype=bool)
    for number, codes in enumerate(members):
        table[number, list(codes)] = True
    return table


def share(right: Bool[np.ndarray, " n"], where: Bool[np.ndarray, " n"]) -> float:
    """The share of the chosen rows that are right; NaN when none is chosen."""
    return float(right[where].mean()) if where.any() else math.nan


def best(scores: Sequence[float], rows: int) -> int:
    """The position of the highest validation score, the first among equals.

    It is the middle position when fewer than 30 rows gave the scores or a score is NaN, for then there is no choosing.
    """
    if rows < FEWEST_TO_CHOOSE or np.isnan(scores).any():
        return len(scores) // 2
    return int(np.argmax(scores))

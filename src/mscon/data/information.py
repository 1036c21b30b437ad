"""What labels say, whatever kind they are of: where there is one, and what two have in common."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Int64

BINS = 10
FEWEST = 50
"""Rows with both labels: among fewer, independent ones seem to have something in common by luck."""


def labelled(values: np.ndarray) -> Bool[np.ndarray, " n"]:
    """Where a label is present: codes that are not negative, numbers that are not NaN."""
    return values >= 0 if np.issubdtype(values.dtype, np.integer) else ~np.isnan(values)


def shared_information(
    first: Int64[np.ndarray, " n"], second: Int64[np.ndarray, " n"], *, of: Callable[[float, float], float] = min
) -> float:
    """(I(a; b) − E) / (of(H(a), H(b)) − E) over the rows that have both labels.

    Of the smaller entropy: 0 where the labels are independent … 1 where one follows from the other. Of the larger
    (`of=max`): 1 where each follows from the other. E is the mutual information I with one of the two shuffled: a label
    that is another for nearly every row, as sets of tags are, seems to tell all of any other.

    **Arguments:** `first`, `second`: codes, negative where a label is missing.

    **Returns:** a number in [0, 1]; 0 where there is nothing to share, or fewer than 50 rows have both labels.
    """
    both = (first >= 0) & (second >= 0)
    if both.sum() < FEWEST:
        return 0.0
    kinds, others = (_dense(each[both]) for each in (first, second))
    alone = _entropy(kinds), _entropy(others)
    if not min(alone) > 0:
        return 0.0
    count = int(others.max()) + 1
    shared = sum(alone) - _entropy(kinds * count + others)
    by_chance = sum(alone) - _entropy(kinds * count + np.random.default_rng(0).permutation(others))
    span = of(*alone) - by_chance
    return float(np.clip((shared - by_chance) / span, 0.0, 1.0)) if span > 1e-9 else 0.0


def in_common(labels: Sequence[np.ndarray | None]) -> list[list[float]]:
    """What every two labels have in common, as `mscon.weighting.Excess` takes it (`shared`): 1 for copies, 0 for labels
    that have nothing to do with one another.

    `shared_information` of the larger entropy, times the share of rows with either label that have both: a label that
    few items have takes little from one that all have.

    **Arguments:** `labels`: codes, −1 where missing, or numbers, NaN where missing; None for what has no label, and so
    nothing in common with others.
    """
    codes = [None if values is None else as_codes(values) for values in labels]
    table = np.eye(len(codes))
    for (i, a), (j, b) in combinations(enumerate(codes), 2):
        if a is not None and b is not None:
            known = np.stack([a >= 0, b >= 0])
            together = known.all(axis=0).sum() / max(1, known.any(axis=0).sum())
            table[i, j] = table[j, i] = together * shared_information(a, b, of=max)
    return table.tolist()


def as_codes(values: np.ndarray) -> Int64[np.ndarray, " n"]:
    """Any label as classes, −1 where it is missing: numbers in ten bins of as many items each, as far as ties allow."""
    if values.dtype.kind != "f":
        return values
    known = labelled(values)
    _, place, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    # Equal values go by their middle rank, so that they are in one bin.
    middle = (2 * np.cumsum(counts) - counts) / (2 * max(1, len(place)))
    codes = np.full(len(values), -1, dtype=np.int64)
    codes[known] = np.minimum(BINS * middle, BINS - 1).astype(np.int64)[place]
    return codes


def class_counts(codes: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " k"]:
    """How often each code that is there occurs, in order of the codes, which are not negative."""
    if _few(codes):
        counts = np.bincount(codes)
        return counts[counts > 0]
    return np.unique(codes, return_counts=True)[1]


def _dense(codes: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """The codes numbered from 0 on without gaps, in their order."""
    if _few(codes):
        return (np.cumsum(np.bincount(codes) > 0) - 1)[codes]
    return np.unique(codes, return_inverse=True)[1]


def _few(codes: Int64[np.ndarray, " n"]) -> bool:
    """Whether counting them one by one takes less than sorting them, as it does of ten million rows of some classes."""
    return len(codes) > 0 and int(codes.max()) <= max(len(codes), 2**16)


def _entropy(codes: Int64[np.ndarray, " n"]) -> float:
    p = class_counts(codes) / max(1, len(codes))
    return float(-(p * np.log(p)).sum())

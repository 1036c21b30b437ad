"""Rows dealt out to the parts of a split, each by itself: what `read_split` does where no groups stay together."""

import numpy as np
from jaxtyping import Float64, Int64


def deal_rows(
    strata: list[Int64[np.ndarray, " n"]], shares: Float64[np.ndarray, " parts"], seed: int, rows: int
) -> Int64[np.ndarray, " n"]:
    """The part of each row, as `read_split` tells: those of the rarest stratum first, in random order, each to the part
    that lacks most of that stratum, among equals most of all rows, among equals the first.

    One row makes a part's lack of its stratum and of all rows smaller by one, so which parts the m rows of a stratum go
    to is a merge of the parts' falling lacks, whatever the other strata of these rows. So ten million rows take a
    sort, and not a step of Python each.

    **Arguments:**

    - `strata`: for each column, the stratum of each row, from 0 on.
    - `shares`: of all rows, for each part.
    - `seed`: of the order within a stratum.
    - `rows`: how many there are.
    """
    numbered, first = [], 0
    for codes in strata:
        counts = np.bincount(codes)
        numbered.append((np.cumsum(counts > 0) - 1)[codes] + first)
        first += int((counts > 0).sum())
    totals = np.bincount(np.concatenate(numbered), minlength=first) if numbered else np.arange(0)
    totals = np.append(totals, rows)  # all rows are one more stratum
    rarest = np.full(rows, first)
    for codes in reversed(numbered):  # of two alike the column that is named first
        rarest = np.where(totals[codes] <= totals[rarest], codes, rarest)
    chance = np.random.default_rng(seed).permutation(rows)
    queue = np.lexsort((chance, rarest, totals[rarest]))
    lacks = totals[:, None] * shares
    parts = np.empty(rows, dtype=np.int64)
    ends = np.flatnonzero(np.append(np.diff(rarest[queue]) != 0, True)) + 1
    for begin, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        block = queue[begin:end]
        parts[block] = _merged(lacks[rarest[block[0]]], lacks[-1], len(block))
        _take(lacks[-1], np.bincount(parts[block], minlength=len(shares)))
        for codes in numbered:
            pairs = np.bincount(codes[block] * len(shares) + parts[block])
            for pair in np.flatnonzero(pairs).tolist():
                stratum, part = divmod(pair, len(shares))
                _take(lacks[stratum, part : part + 1], pairs[pair : pair + 1])
    return parts


def _merged(
    lacks: Float64[np.ndarray, " parts"], of_all: Float64[np.ndarray, " parts"], count: int
) -> Int64[np.ndarray, " m"]:
    """The parts that so many rows go to, one after the other."""
    falling = np.stack([_falling(lacks, count), _falling(of_all, count)])
    part = np.repeat(np.arange(len(lacks)), count)
    order = np.lexsort((part, -falling[1].ravel(), -falling[0].ravel()))
    return part[order[:count]]


def _falling(lacks: Float64[np.ndarray, " parts"], count: int) -> Float64[np.ndarray, "parts m"]:
    """Each lack, less 0, 1, … m − 1, by subtraction one at a time, which rounds otherwise than all at once."""
    ones = np.ones((len(lacks), count))
    ones[:, 0] = lacks
    return np.subtract.accumulate(ones, axis=1)


def _take(lacks: Float64[np.ndarray, " parts"], counts: Int64[np.ndarray, " parts"]) -> None:
    for part, count in enumerate(counts.tolist()):
        lacks[part] = _falling(lacks[part : part + 1], count + 1)[0, -1]

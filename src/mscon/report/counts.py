"""How often each class, path or tag occurs, as bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from mscon.data.labels import LabelColumn
from mscon.evaluate.columns import membership
from mscon.prepare import Prepared

TOP = 12
"""Classes with a bar of their own; the others share one."""

BINS = 8
"""Bars of a continuous column, each an interval of the same width."""

EXACT = 2.0**53
"""Whole numbers below it are all there as floats."""


@dataclass(frozen=True)
class Bar:
    """One bar: a class or an interval, the classes left over, or the rows without a label."""

    name: str
    rows: int
    kind: Literal["class", "rest", "missing"] = "class"


@dataclass(frozen=True)
class LabelCounts:
    """One column's bars: the most frequent class first, or intervals from low to high.

    Together they are all rows, but for tags, of which a row may have several.
    """

    name: str
    summary: str
    bars: tuple[Bar, ...]

    @property
    def longest(self) -> int:
        """Rows of the most frequent class, interval or gap: what a bar of full length stands for.

        The rest counts for nothing here: it has as many rows as there are rare classes, and would dwarf the others.
        """
        return max(bar.rows for bar in self.bars if bar.kind != "rest")


def count_labels(data: Prepared) -> list[LabelCounts]:
    """The bars of every label column over all splits."""
    count = {"continuous": count_numbers, "tags": count_tags, "hierarchy": count_paths, "categorical": count_classes}
    return [count[column.kind](column, data.values[name]) for name, column in data.labels.items()]


def count_classes(column: LabelColumn, codes: Int64[np.ndarray, " n"]) -> LabelCounts:
    """The `TOP` most frequent classes, the others together, and the rows without a label (code −1)."""
    bars = _classes(column.classes, codes)
    return LabelCounts(column.name, f"{len(column.classes)} classes", (*bars, *_missing(codes < 0)))


def count_paths(column: LabelColumn, paths: Int64[np.ndarray, " n"]) -> LabelCounts:
    """The `TOP` most frequent paths, the others together, and the rows without one (−1)."""
    names = [column.classes[nodes[-1]] for nodes in column.members]
    levels = max(map(len, column.members), default=0)
    summary = f"{len(names)} paths of up to {levels} level{'s' * (levels > 1)}"
    return LabelCounts(column.name, summary, (*_classes(names, paths), *_missing(paths < 0)))


def count_tags(column: LabelColumn, sets: Int64[np.ndarray, " n"]) -> LabelCounts:
    """Rows with each of the `TOP` most frequent tags, rows with any other, and the rows without a set (−1)."""
    has = membership(column.members, len(column.classes))
    times = np.bincount(sets[sets >= 0], minlength=len(column.members))
    rows = times @ has
    top, rest = _most_frequent(rows)
    bars = [Bar(column.classes[code], int(rows[code])) for code in top]
    if len(rest):
        bars.append(Bar(f"{len(rest)} others", int(times[has[:, rest].any(1)].sum()), "rest"))
    summary = f"{len(column.classes)} tags, {rows.sum() / max(1, times.sum()):.2g} of them on an item"
    return LabelCounts(column.name, summary, (*bars, *_missing(sets < 0)))


def count_numbers(column: LabelColumn, values: Float64[np.ndarray, " n"]) -> LabelCounts:
    """Up to `BINS` intervals of the same width, and the rows without a number (NaN)."""
    gaps = np.isnan(values)
    known = values[~gaps]
    if len(known) == 0:
        return LabelCounts(column.name, "no values", tuple(_missing(gaps)))
    middle = f"median {np.median(known):.4g}" if column.period is None else f"on a circle of {column.period:.4g}"
    summary = f"{known.min():.4g} to {known.max():.4g}, {middle}"
    return LabelCounts(column.name, summary, (*_intervals(known), *_missing(gaps)))


def _classes(names: Sequence[str], codes: Int64[np.ndarray, " n"]) -> list[Bar]:
    rows = np.bincount(codes[codes >= 0], minlength=len(names))
    top, rest = _most_frequent(rows)
    bars = [Bar(names[int(code)], int(rows[code])) for code in top]
    return [*bars, Bar(f"{len(rest)} others", int(rows[rest].sum()), "rest")] if len(rest) else bars


def _most_frequent(rows: Int64[np.ndarray, " k"]) -> tuple[Int64[np.ndarray, " t"], Int64[np.ndarray, " r"]]:
    """The codes that get a bar each, and those that share one; a rest of one is shown as what it is."""
    order = np.argsort(-rows, kind="stable")
    shown = len(order) if len(order) <= TOP + 1 else TOP
    return order[:shown], order[shown:]


def _intervals(known: Float64[np.ndarray, " n"]) -> list[Bar]:
    low, high = known.min(), known.max()
    if (known % 1 == 0).all() and max(-low, high) < EXACT:
        # Whole numbers are counted in whole steps: a year is in one interval, not on the edge of two.
        step = np.ceil((high - low + 1) / BINS)
        starts = np.arange(low, high + 1, step)
        rows = np.bincount(((known - low) // step).astype(np.int64), minlength=len(starts))
        names = [f"{start:.0f}" if step == 1 else f"{start:.0f} – {start + step - 1:.0f}" for start in starts]
    elif len(distinct := np.unique(known)) <= BINS:
        rows, names = np.bincount(np.searchsorted(distinct, known)), [f"{value:.17g}" for value in distinct]
    else:
        rows, edges = np.histogram(known / 2, bins=BINS)  # half of it: from one end of the floats to the other
        names = [f"{2 * start:.4g} – {2 * end:.4g}" for start, end in pairwise(edges)]
    return [Bar(name, int(count)) for name, count in zip(names, rows, strict=True)]


def _missing(gaps: np.ndarray) -> list[Bar]:
    return [Bar("missing", int(gaps.sum()), "missing")] if gaps.any() else []

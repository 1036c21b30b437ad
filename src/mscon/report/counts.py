"""How often each class occurs, as bars."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from mscon.data.labels import LabelColumn
from mscon.prepare import Prepared

TOP = 12
"""Classes with a bar of their own; the others share one."""

BINS = 8
"""Bars of a continuous column, each an interval of the same width."""


@dataclass(frozen=True)
class Bar:
    """One bar: a class or an interval, the classes left over, or the rows without a label."""

    name: str
    rows: int
    kind: Literal["class", "rest", "missing"] = "class"


@dataclass(frozen=True)
class LabelCounts:
    """One column's bars: the most frequent class first, or intervals from low to high; together they are all rows."""

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
    return [
        (count_classes if column.kind == "categorical" else count_numbers)(column, data.values[name])
        for name, column in data.labels.items()
    ]


def count_classes(column: LabelColumn, codes: Int64[np.ndarray, " n"]) -> LabelCounts:
    """The `TOP` most frequent classes, the others together, and the rows without a label (code −1)."""
    rows = np.bincount(codes[codes >= 0], minlength=len(column.classes))
    order = np.argsort(-rows, kind="stable")
    # A rest of one class is shown as what it is.
    top = order if len(order) <= TOP + 1 else order[:TOP]
    bars = [Bar(column.classes[code], int(rows[code])) for code in top]
    if rest := len(order) - len(top):
        bars.append(Bar(f"{rest} others", int(rows[order[len(top) :]].sum()), "rest"))
    return LabelCounts(column.name, f"{len(column.classes)} classes", (*bars, *_missing(codes < 0)))


def count_numbers(column: LabelColumn, values: Float64[np.ndarray, " n"]) -> LabelCounts:
    """Up to `BINS` intervals of the same width, and the rows without a number (NaN)."""
    gaps = np.isnan(values)
    known = values[~gaps]
    if len(known) == 0:
        return LabelCounts(column.name, "no values", tuple(_missing(gaps)))
    summary = f"{known.min():.4g} to {known.max():.4g}, median {np.median(known):.4g}"
    return LabelCounts(column.name, summary, (*_intervals(known), *_missing(gaps)))


def _intervals(known: Float64[np.ndarray, " n"]) -> list[Bar]:
    low, high = known.min(), known.max()
    if (known % 1 == 0).all():
        # Whole numbers are counted in whole steps: a year is in one interval, not on the edge of two.
        step = np.ceil((high - low + 1) / BINS)
        starts = np.arange(low, high + 1, step)
        rows = np.bincount(((known - low) // step).astype(np.int64), minlength=len(starts))
        names = [f"{start:.0f}" if step == 1 else f"{start:.0f} – {start + step - 1:.0f}" for start in starts]
    else:
        rows, edges = np.histogram(known, bins=BINS)
        names = [f"{start:.4g} – {end:.4g}" for start, end in pairwise(edges)]
    return [Bar(name, int(count)) for name, count in zip(names, rows, strict=True)]


def _missing(gaps: np.ndarray) -> list[Bar]:
    return [Bar("missing", int(gaps.sum()), "missing")] if gaps.any() else []

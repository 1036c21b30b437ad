"""Uncertainty of single items, of runs that learned it: whether it tells where the probe is wrong, and of whom."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from mscon.model import MSConModel
from mscon.prepare import Prepared

PARTS = 5
"""Of the test items, from the least to the most uncertain, each of the same size."""

PICTURES = 48
"""Shown in all, at most; no fewer than three at either end of each similarity."""

FEWEST = 5
"""Test items of a part below which nothing is said of how many are told right."""


@dataclass(frozen=True)
class Part:
    """Some of the test items: their mean uncertainty, how many of them the label's probe was asked of, and the share
    that it told right; None where there is no such probe, or too few were asked.
    """

    uncertainty: float
    asked: int
    right: float | None


@dataclass(frozen=True)
class ItemUncertainty:
    """One similarity: the test items in five parts, and the rows of the most certain and the most uncertain ones."""

    name: str
    parts: tuple[Part, ...]
    certain: tuple[int, ...]
    uncertain: tuple[int, ...]


def read_uncertainty(
    model: MSConModel, data: Prepared, embeddings: Float[Tensor, "n d"], predictions: pl.DataFrame | None
) -> list[ItemUncertainty]:
    """What the uncertainty head says of the test items; empty for a run without one."""
    test = data.split.test
    found = model.item_uncertainty(embeddings[test])
    shown = max(3, min(8, PICTURES // (2 * max(1, len(found)))))
    right = {name: _told_right(name, data, predictions) for name in found}
    return [
        _item_uncertainty(name, values.double().numpy(), right[name], test, shown) for name, values in found.items()
    ]


def _item_uncertainty(
    name: str,
    values: Float64[np.ndarray, " t"],
    right: Float64[np.ndarray, " t"] | None,
    test: Int64[np.ndarray, " t"],
    shown: int,
) -> ItemUncertainty:
    order = np.argsort(values, kind="stable")
    parts = [
        _part(values[some], None if right is None else right[some])
        for some in np.array_split(order, PARTS)
        if len(some)
    ]
    ends = order[:shown], order[::-1][:shown]
    certain, uncertain = (tuple(test[some].tolist()) for some in ends)
    return ItemUncertainty(name, tuple(parts), certain, uncertain)


def _part(values: Float64[np.ndarray, " p"], right: Float64[np.ndarray, " p"] | None) -> Part:
    known = np.zeros(0) if right is None else right[~np.isnan(right)]
    return Part(float(values.mean()), len(known), float(known.mean()) if len(known) >= FEWEST else None)


def _told_right(name: str, data: Prepared, predictions: pl.DataFrame | None) -> Float64[np.ndarray, " t"] | None:
    """1 or 0 for each test item, NaN where its label is missing; None where no probe tells classes."""
    if predictions is None:
        return None
    told = predictions.filter(pl.col("label") == name, pl.col("truth_numbers").is_null())
    known = np.flatnonzero(data.values[name][data.split.test] >= 0) if name in data.labels else np.zeros(0, np.int64)
    if len(told) == 0 or len(known) != len(told):  # they are of another state of the catalog
        return None
    right = np.full(len(data.split.test), np.nan)
    right[known] = (told["truth"] == told["predicted"]).to_numpy()
    return right

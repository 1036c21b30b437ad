"""What metrics.jsonl says of each similarity, as curves over training steps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

POINTS = 240
"""Points of a drawn curve; a longer one is averaged down to so many, which is as fine as a panel shows."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One quantity over training steps; NaN where it has no value."""

    steps: Float64[np.ndarray, " n"]
    values: Float64[np.ndarray, " n"]

    @property
    def known(self) -> Float64[np.ndarray, " k"]:
        """The values without the gaps."""
        return self.values[np.isfinite(self.values)]


@dataclass(frozen=True, eq=False)
class SimilarityCurves:
    """One similarity's training: loss between its floor and chance, relative excess and weight, train and held out."""

    loss: Curve
    floor: Curve
    chance: Curve
    relative_excess: Curve
    weight: Curve
    held_out_loss: Curve
    held_out_relative_excess: Curve


def read_curves(records: Iterable[Mapping[str, Any]], similarities: Iterable[str]) -> dict[str, SimilarityCurves]:
    """The curves of each similarity, from the lines of metrics.jsonl; without points where nothing was logged."""
    logged = list(records)
    train, held_out = ([record for record in logged if record["kind"] == kind] for kind in ("train", "val"))
    return {
        name: SimilarityCurves(
            loss=_curve(train, name, "loss"),
            floor=_curve(train, name, "floor"),
            chance=_curve(train, name, "chance"),
            relative_excess=_curve(train, name, "relative_excess"),
            weight=_curve(train, name, "weight"),
            held_out_loss=_curve(held_out, name, "loss"),
            held_out_relative_excess=_curve(held_out, name, "relative_excess"),
        )
        for name in similarities
    }


def _curve(records: list[Mapping[str, Any]], name: str, key: str) -> Curve:
    points = [(record["step"], record["terms"].get(name, {}).get(key)) for record in records]
    steps, values = np.array(points, dtype=np.float64).reshape(-1, 2).T  # None becomes NaN
    if len(steps) <= POINTS:
        return Curve(steps, values)
    bins = np.arange(len(steps)) * POINTS // len(steps)
    return Curve(_means(steps, bins), _means(values, bins))


def _means(values: Float64[np.ndarray, " n"], bins: np.ndarray) -> Float64[np.ndarray, " k"]:
    """The mean of each bin's known values; NaN for a bin without one."""
    known = np.isfinite(values)
    counts = np.bincount(bins[known], minlength=POINTS)
    sums = np.bincount(bins[known], weights=values[known], minlength=POINTS)
    return np.divide(sums, counts, out=np.full(POINTS, np.nan), where=counts > 0)

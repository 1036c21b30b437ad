"""What metrics.jsonl says of each similarity, as curves over training steps."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

POINTS = 240
"""Points of a drawn curve; a longer one is averaged down to so many, which is as fine as a panel shows."""

POINTS_IN_ALL = 1800
"""Of the curves of one kind: those of many similarities have fewer each, so that the page does not grow without end."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One quantity over training steps; NaN where it has no value."""

    steps: Float64[np.ndarray, " n"]
    values: Float64[np.ndarray, " n"]

    @property
    def known(self) -> Float64[np.ndarray, " k"]:
        """The values without the gaps."""
        return self.values[np.isfinite(self.values)]

    def averaged(self, most: int) -> "Curve":
        """The same in no more than so many points, each the mean of some that follow one another."""
        if len(self.steps) <= most:
            return self
        bins = np.arange(len(self.steps)) * most // len(self.steps)
        return Curve(_means(self.steps, bins, most), _means(self.values, bins, most))


@dataclass(frozen=True, eq=False)
class LossCurves:
    """A loss in nats, what bounds it in batches of its size, how far it is above its floor, in nats and as a share of
    the way to chance.
    """

    loss: Curve
    floor: Curve
    chance: Curve
    excess: Curve
    relative_excess: Curve


@dataclass(frozen=True, eq=False)
class SimilarityCurves:
    """One similarity's training: losses, each between its own floor and chance, relative excess and weight.

    A held-out batch may be smaller than one of training, which lowers all three.
    """

    train: LossCurves
    held_out: LossCurves
    weight: Curve


def read_curves(records: Iterable[Mapping[str, Any]], similarities: Collection[str]) -> dict[str, SimilarityCurves]:
    """The curves of each similarity, from the lines of metrics.jsonl; without points where nothing was logged.

    Weights are those of training's lines, or of the held-out ones where these are more: a short training has few.
    """
    logged, most = list(records), points_each(len(similarities))
    train, held_out = ([record for record in logged if record["kind"] == kind] for kind in ("train", "val"))

    def curve(lines: list[Mapping[str, Any]], name: str, key: str) -> Curve:
        return curve_of((line["step"], line["terms"].get(name, {}).get(key)) for line in lines).averaged(most)

    def losses(lines: list[Mapping[str, Any]], name: str) -> LossCurves:
        keys = ("loss", "floor", "chance", "excess", "relative_excess")
        return LossCurves(*(curve(lines, name, key) for key in keys))

    return {
        name: SimilarityCurves(
            train=losses(train, name),
            held_out=losses(held_out, name),
            weight=curve(max(train, held_out, key=len), name, "weight"),
        )
        for name in similarities
    }


def points_each(curves: int) -> int:
    """Points of each of so many curves."""
    return max(10, min(POINTS, POINTS_IN_ALL // max(1, curves)))


def curve_of(points: Iterable[tuple[float, float | None]]) -> Curve:
    """A curve through (step, value), averaged down to `POINTS` where there are more."""
    steps, values = np.array(list(points), dtype=np.float64).reshape(-1, 2).T  # None becomes NaN
    return Curve(steps, values).averaged(POINTS)


def _means(values: Float64[np.ndarray, " n"], bins: np.ndarray, count: int) -> Float64[np.ndarray, " k"]:
    """The mean of each bin's known values; NaN for a bin without one."""
    known = np.isfinite(values)
    counts = np.bincount(bins[known], minlength=count)
    sums = np.bincount(bins[known], weights=values[known], minlength=count)
    return np.divide(sums, counts, out=np.full(count, np.nan), where=counts > 0)

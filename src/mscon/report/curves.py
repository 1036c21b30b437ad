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

    def thinned(self, points: int) -> "Curve":
        """No more than so many of its points, evenly spread, the last among them."""
        if len(self.steps) <= points:
            return self
        kept = np.linspace(0, len(self.steps) - 1, points).round().astype(np.int64)
        return Curve(self.steps[kept], self.values[kept])


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


def read_curves(records: Iterable[Mapping[str, Any]], similarities: Iterable[str]) -> dict[str, SimilarityCurves]:
    """The curves of each similarity, from the lines of metrics.jsonl; without points where nothing was logged.

    Weights are those of training's lines, or of the held-out ones where these are more: a short training has few.
    """
    logged = list(records)
    train, held_out = ([record for record in logged if record["kind"] == kind] for kind in ("train", "val"))
    return {
        name: SimilarityCurves(
            train=_losses(train, name),
            held_out=_losses(held_out, name),
            weight=_curve(max(train, held_out, key=len), name, "weight"),
        )
        for name in similarities
    }


def curve_of(points: Iterable[tuple[float, float | None]]) -> Curve:
    """A curve through (step, value), averaged down to `POINTS` where there are more."""
    steps, values = np.array(list(points), dtype=np.float64).reshape(-1, 2).T  # None becomes NaN
    if len(steps) <= POINTS:
        return Curve(steps, values)
    bins = np.arange(len(steps)) * POINTS // len(steps)
    return Curve(_means(steps, bins), _means(values, bins))


def _losses(records: list[Mapping[str, Any]], name: str) -> LossCurves:
    return LossCurves(*(_curve(records, name, key) for key in ("loss", "floor", "chance", "excess", "relative_excess")))


def _curve(records: list[Mapping[str, Any]], name: str, key: str) -> Curve:
    return curve_of((record["step"], record["terms"].get(name, {}).get(key)) for record in records)


def _means(values: Float64[np.ndarray, " n"], bins: np.ndarray) -> Float64[np.ndarray, " k"]:
    """The mean of each bin's known values; NaN for a bin without one."""
    known = np.isfinite(values)
    counts = np.bincount(bins[known], minlength=POINTS)
    sums = np.bincount(bins[known], weights=values[known], minlength=POINTS)
    return np.divide(sums, counts, out=np.full(POINTS, np.nan), where=counts > 0)

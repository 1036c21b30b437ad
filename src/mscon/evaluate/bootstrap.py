"""Percentile bootstrap intervals of any score, resampling groups of near-duplicates as wholes; Wilson's where all items
of an accuracy are right, or none.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

RESAMPLES = 2000
LEVEL = 0.95
FEW = 30
"""Test items below which a score says little: it is shown with a warning, and nothing concluded from its interval."""

Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
# Draws that are held at a time: 32 MiB.
CHUNK = 2**22
# Weights that are held at a time, 2 MiB: a score by rank goes over them again and again, so they stay in the cache.
WEIGHTS = 2**18

# A score of each of b resamples from truths, predictions and how often each resample drew each item (n, b).
Measure = Callable[[np.ndarray, np.ndarray, Float64[np.ndarray, "n b"]], Float64[np.ndarray, " b"]]


Verdict = Literal["above", "level", "below"]


@dataclass(frozen=True)
class Interval:
    """The ends of a 95% interval; both NaN where it is not defined."""

    low: float
    high: float


def resampled_accuracy(
    correct: Bool[np.ndarray, "n f"],
    groups: Int[np.ndarray, " n"] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Float64[np.ndarray, "b f"]:
    """The accuracy of f predictors of the same items on every resample.

    A resample draws as many groups as there are, with replacement, and takes all items of a group each time it is
    drawn: near-duplicates do not count as independent evidence. All predictors see the same resamples, so the
    difference of two columns is the paired difference. A single group cannot tell how groups differ: NaN.

    **Arguments:**

    - `correct`: whether each predictor is right on each item.
    - `groups`: a code per item; None makes every item a group of its own.
    - `resamples`: b.
    - `seed`: the same seed and groups give the same resamples.

    Source: Efron & Tibshirani, *An Introduction to the Bootstrap*, chapters 8 and 13.
    """
    return resampled_mean(correct.astype(np.float64), groups, resamples=resamples, seed=seed)


def resampled_mean(
    values: Float[np.ndarray, "n f"],
    groups: Int[np.ndarray, " n"] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Float64[np.ndarray, "b f"]:
    """The means of f numbers of the same items on every resample, drawn as in `resampled_accuracy`."""
    sums = _resampled_sums(np.column_stack([np.ones(len(values)), values]), groups, resamples=resamples, seed=seed)
    return sums[:, 1:] / sums[:, :1]


def resampled_r2(
    truth: Float[np.ndarray, "n *k"],
    predicted: Float[np.ndarray, "n f *k"],
    groups: Int[np.ndarray, " n"] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Float64[np.ndarray, "b f"]:
    """R² of f predictors of the same items' numbers or points on every resample, drawn as in `resampled_accuracy`.

        R² = 1 − Σ |y − ŷ|² / (Σ |y|² − |Σ y|² / n)        the sums over the resample's n items

    NaN on a resample whose items all have the same value.
    """
    # Around the mean the two terms of the variance do not cancel.
    y = (truth - truth.mean(0)).reshape(len(truth), -1)
    errors = np.square(truth[:, None] - predicted).reshape(*predicted.shape[:2], -1).sum(2)
    statistics = np.column_stack([np.ones(len(y)), np.square(y).sum(1), errors, y])
    n, squares, *sums = _resampled_sums(statistics, groups, resamples=resamples, seed=seed).T
    missed, total = np.split(np.stack(sums), [errors.shape[1]])
    variation = squares - np.square(total).sum(0) / n
    # What rounding leaves of no variation at all.
    varies = variation > 1e-12 * squares
    return np.where(varies, 1 - missed / np.where(varies, variation, 1), np.nan).T


def resampled(
    measure: Measure,
    truth: np.ndarray,
    predicted: np.ndarray,
    groups: Int[np.ndarray, " n"] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Float64[np.ndarray, " b"]:
    """Any score of one predictor on every resample, drawn as in `resampled_accuracy`: for scores that are no sums.

    **Arguments:**

    - `measure`: such as `spearman` or `mean_average_precision`.
    - `truth`, `predicted`: whatever the measure takes, one row per item.
    """
    codes = np.arange(len(truth)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(codes.max(initial=-1)) + 1
    if count < 2:
        return np.full(resamples, np.nan)
    chunks = _counts(count, resamples, seed, size=WEIGHTS // len(truth))
    return np.concatenate([measure(truth, predicted, counts.T[codes]) for counts in chunks])


def interval(samples: Float64[np.ndarray, " b"]) -> Interval:
    """The percentile interval that holds the middle 95% of the resampled values, undefined ones left out."""
    if np.isnan(samples).all():
        return Interval(np.nan, np.nan)
    low, high = np.nanquantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def accuracy_interval(samples: Float64[np.ndarray, " b"], groups: int) -> Interval:
    """`interval` of an accuracy. Where all of g independent groups of items are right, or none, every resample is the
    same and tells no spread: there it is Wilson's,

        [g / (g + z²), 1]    and    [0, z² / (g + z²)]        z = 1.96, that of 95%

    Source: Wilson 1927, *Probable inference, the law of succession, and statistical inference*.
    """
    ends = interval(samples)
    if ends.low == ends.high and ends.low in (0.0, 1.0):
        spread = Z**2 / (groups + Z**2)
        return Interval(1.0 - spread, 1.0) if ends.low else Interval(0.0, spread)
    return ends


def verdict(low: float | None, high: float | None) -> Verdict:
    """Where the whole interval of a difference lies: `above` or `below` 0; `level` if it holds 0 or there is none."""
    if low is not None and low > 0:
        return "above"
    return "below" if high is not None and high < 0 else "level"


def defined(number: float) -> float | None:
    """The number, or None for NaN, which JSON has not."""
    return None if math.isnan(number) else number


def _resampled_sums(
    statistics: Float64[np.ndarray, "n q"], groups: Int[np.ndarray, " n"] | None, *, resamples: int, seed: int
) -> Float64[np.ndarray, "b q"]:
    """Sums of the items' statistics over every resample, by way of sums per group and how often each is drawn."""
    if groups is not None:
        _, codes = np.unique(groups, return_inverse=True)
        statistics = np.stack([np.bincount(codes, weights=column) for column in statistics.T], axis=1)
    if len(statistics) < 2:
        return np.full((resamples, statistics.shape[1]), np.nan)
    return np.concatenate(
        [counts @ statistics for counts in _counts(len(statistics), resamples, seed, size=CHUNK // len(statistics))]
    )


def _counts(groups: int, resamples: int, seed: int, *, size: int) -> Iterator[Float64[np.ndarray, "b g"]]:
    """How often each group is drawn in each resample, `size` resamples at a time."""
    generator = np.random.default_rng(seed)
    chunk = max(1, size)
    for first in range(0, resamples, chunk):
        count = min(chunk, resamples - first)
        draws = generator.integers(groups, size=(count, groups)) + groups * np.arange(count)[:, None]
        yield np.bincount(draws.ravel(), minlength=count * groups).reshape(count, groups).astype(np.float64)

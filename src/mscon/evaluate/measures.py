"""Scores of order and of going together: average precision and correlations, each of many resamples at once."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Float64

from mscon.data.circle import as_points


def average_precision(
    truth: Bool[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    weights: Float64[np.ndarray, "n b"] | None = None,
) -> Float64[np.ndarray, " b"]:
    """How pure the top of a ranking is, averaged over its positives.

        AP = Σ_k (recall_k − recall_{k−1}) · precision_k        over the distinct scores, from the highest down

    Items with the same score come at once, in no order; a score that is the same for all gives the positives' share,
    which is also about what a random order gives.

    **Arguments:**

    - `truth`: which items are positive.
    - `scores`: the higher, the earlier in the ranking.
    - `weights`: how often each item counts, for each of b resamples; once, with b = 1, when left out.

    **Returns:** one number per resample; NaN for one without a positive.

    Source: as `sklearn.metrics.average_precision_score`, without interpolation.
    """
    order = np.argsort(-scores, kind="stable")
    counted = np.ones((len(truth), 1)) if weights is None else weights[order]
    if len(truth) == 0:
        return np.full(counted.shape[1], math.nan)
    last = np.append(np.diff(scores[order]) != 0, True)
    seen = np.cumsum(counted, axis=0)[last]
    found = np.cumsum(counted * truth[order, None], axis=0)[last]
    gained = np.diff(found, axis=0, prepend=0.0)
    area = (gained * found / np.maximum(seen, 1)).sum(0)
    return _ratio(area, found[-1])


def mean_average_precision(
    truth: Bool[np.ndarray, "n t"],
    scores: Float[np.ndarray, "n t"],
    weights: Float64[np.ndarray, "n b"] | None = None,
) -> Float64[np.ndarray, " b"]:
    """mAP: the mean of `average_precision` over the tags that have a positive; NaN when none has.

    A tag whose positives are all missing from a resample counts there with what it scores on the items as they are:
    left out, it would move the mean by which tags were drawn and not by how well they are told.
    """
    resamples = 1 if weights is None else weights.shape[1]
    each = []
    for tag in np.flatnonzero(truth.any(0)):
        drawn = average_precision(truth[:, tag], scores[:, tag], weights)
        if np.isnan(drawn).any():
            drawn = np.where(np.isnan(drawn), average_precision(truth[:, tag], scores[:, tag]), drawn)
        each.append(drawn)
    return np.mean(each, axis=0) if each else np.full(resamples, math.nan)


def spearman(
    truth: Float[np.ndarray, " n"],
    predicted: Float[np.ndarray, " n"],
    weights: Float64[np.ndarray, "n b"] | None = None,
) -> Float64[np.ndarray, " b"]:
    """Spearman's ρ: Pearson's correlation of the ranks, equal values sharing the mean of theirs.

    In [−1, 1], whatever the scales; NaN where either side is the same for all.

    **Arguments:**

    - `truth`, `predicted`: numbers, finite.
    - `weights`: how often each item counts, for each of b resamples; once, with b = 1, when left out.

    **Returns:** one number per resample.
    """
    counted = np.ones((len(truth), 1)) if weights is None else weights
    # The mean rank is half of all, so what is left are the deviations from it.
    a, b = (_ranks(values, counted) - counted.sum(0) / 2 for values in (truth, predicted))
    variation = (counted * a * a).sum(0) * (counted * b * b).sum(0)
    return _ratio((counted * a * b).sum(0), np.sqrt(variation))


def circular(
    truth: Float64[np.ndarray, " n"],
    predicted: Float64[np.ndarray, " n"],
    weights: Float64[np.ndarray, "n b"] | None = None,
    *,
    period: float,
) -> Float64[np.ndarray, " b"]:
    """Fisher and Lee's ρ_T, which is to numbers on a circle what a correlation is to those on a line.

        ρ_T = Σ_{i<j} sin(α_i − α_j) sin(β_i − β_j) / √(Σ_{i<j} sin²(α_i − α_j) · Σ_{i<j} sin²(β_i − β_j))
            = det Σ_i a_i b_iᵀ / √(det Σ_i a_i a_iᵀ · det Σ_i b_i b_iᵀ),        a_i = (cos α_i, sin α_i), b_i alike

    In [−1, 1]: 1 where one side is the other turned by a constant, −1 where it is mirrored besides, about 0 where they
    are independent. It needs no mean direction, which numbers spread evenly over the circle do not have. NaN where all
    values of a side are equal or opposite.

    **Arguments:**

    - `truth`, `predicted`: numbers, finite.
    - `weights`: how often each item counts, for each of b resamples; once, with b = 1, when left out.
    - `period`: P; α = 2π · truth / P, and β that of the predictions.

    **Returns:** one number per resample.

    Source: Fisher & Lee, *A Correlation Coefficient for Circular Data*, Biometrika 70, 1983 (the determinants by
    Cauchy and Binet's formula).
    """
    counted = np.ones((len(truth), 1)) if weights is None else weights
    a, b = (as_points(values, period) for values in (truth, predicted))

    def area(one: Float64[np.ndarray, "n 2"], other: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, " b"]:
        products = one[:, :, None] * other[:, None, :]
        return np.linalg.det(np.einsum("nb,nkl->bkl", counted, products, optimize=True))

    # Below this it is what rounding leaves of no variation at all.
    least = 1e-12 * counted.sum(0) ** 2
    of_truth, of_predicted = (np.where(each > least, each, 0.0) for each in (area(a, a), area(b, b)))
    return _ratio(area(a, b), np.sqrt(of_truth * of_predicted))


def correlation(period: float | None) -> Callable[..., Float64[np.ndarray, " b"]]:
    """How numbers go together: Spearman's ρ on a line, Fisher and Lee's on a circle."""
    return spearman if period is None else partial(circular, period=period)


def single(score: Float64[np.ndarray, " b"]) -> float:
    """The one number of a score without weights."""
    return float(score[0])


def _ranks(values: Float[np.ndarray, " n"], weights: Float64[np.ndarray, "n b"]) -> Float64[np.ndarray, "n b"]:
    """Mid-ranks less ½: the weight of all lower values and half the weight of the equal ones."""
    if len(values) == 0:
        return weights
    _, starts, place = np.unique(values[order := np.argsort(values)], return_index=True, return_inverse=True)
    equal = np.add.reduceat(weights[order], starts, axis=0)
    ranks = np.empty_like(weights)
    ranks[order] = (np.cumsum(equal, axis=0) - equal / 2)[place]
    return ranks


def _ratio(above: Float64[np.ndarray, " b"], below: Float64[np.ndarray, " b"]) -> Float64[np.ndarray, " b"]:
    return np.divide(above, below, out=np.full_like(above, math.nan), where=below > 0)

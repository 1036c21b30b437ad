"""Numbers on a circle, such as hours or angles: in one turn, as points, and how far apart. Without a period, a line."""

import numpy as np
from jaxtyping import Float64

OF_PERIOD = 12
"""Decimal digits of a period that count: 8.1 o'clock is the same on every day, though 24.1 − 24 is not 0.1."""

OF_VALUE = 15
"""Decimal digits of a value that float64 surely holds; the more of them are whole turns, the fewer are left."""


def in_one_turn(values: Float64[np.ndarray, " *n"], period: float | None) -> Float64[np.ndarray, " *n"]:
    """Values in [0, P), rounded in their own unit so that equal ones in different turns are equal; NaN stays NaN."""
    if period is None:
        return values
    turns = np.maximum(np.abs(values), period)
    decimals = np.minimum(OF_PERIOD - np.ceil(np.log10(period)), OF_VALUE - np.ceil(np.log10(turns)))
    remainder = np.rint(np.remainder(values, period) * 10.0**decimals) / 10.0**decimals
    return np.where(remainder >= period, 0.0, remainder)


def shorter_way(differences: Float64[np.ndarray, " *n"], period: float | None) -> Float64[np.ndarray, " *n"]:
    """Differences with their sign, the shorter way round: in [−P/2, P/2]."""
    return differences if period is None else differences - period * np.rint(differences / period)


def as_points(values: Float64[np.ndarray, " n"], period: float | None) -> Float64[np.ndarray, "n k"]:
    """Values as what means and lines can be laid through: (cos 2πv/P, sin 2πv/P), on a line v alone."""
    if period is None:
        return values[:, None]
    angles = 2.0 * np.pi / period * values
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def from_points(points: Float64[np.ndarray, "n k"], period: float | None) -> Float64[np.ndarray, " n"]:
    """Values from points anywhere in the plane: the direction in which each is seen from the circle's centre, in
    [0, P); on a line the numbers themselves.
    """
    if period is None:
        return points[:, 0]
    return in_one_turn(np.arctan2(points[:, 1], points[:, 0]) * (period / (2.0 * np.pi)), period)

"""Kinds of weights: an approximate index finds more under some than under others."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mscon.settings import SHARED

EVEN, UNEVEN, NEGATIVE, OTHER = "even", "uneven", "one negative", "other"

BALANCED = 2.0
"""Weights of which the largest is at most so many times the smallest are even."""


def kind_of(weights: Mapping[str, float], similarities: Sequence[str]) -> str:
    """The kind of a mix: one similarity alone, by its name; even; uneven; one negative; other, which is not measured.

    Only weights that are not 0 are there.
    """
    values = list(weights.values())
    if SHARED in weights or max(values) <= 0 or sum(each < 0 for each in values) > 1:
        return OTHER
    if min(values) < 0:
        return NEGATIVE
    if len(values) == 1:
        return f"{next(iter(weights))} alone"
    return EVEN if len(values) == len(similarities) and max(values) <= BALANCED * min(values) else UNEVEN


def samples(similarities: Sequence[str]) -> dict[str, Callable[[np.random.Generator], dict[str, float]]]:
    """Each kind that these similarities allow → a mix of that kind, drawn."""
    names = list(similarities)
    kinds: dict[str, Callable[[np.random.Generator], dict[str, float]]] = {
        f"{name} alone": lambda _, name=name: {name: 1.0} for name in names
    }
    if len(names) > 1:
        kinds[EVEN] = lambda _: dict.fromkeys(names, 1.0)
        kinds[UNEVEN] = lambda rng: dict(zip(names, _uneven(rng, len(names)), strict=True))
        kinds[NEGATIVE] = lambda rng: _negative(names, rng)
    return kinds


def _uneven(rng: np.random.Generator, count: int) -> list[float]:
    """One counts 1, the others less than half as much, down to hardly anything."""
    weights = 0.5 * rng.random(count) ** 2 + 0.01
    weights[rng.integers(count)] = 1.0
    return weights.tolist()


def _negative(names: Sequence[str], rng: np.random.Generator) -> dict[str, float]:
    """One counts 1, another −0.5: the same in this way, but not in that."""
    one, other = rng.permutation(len(names))[:2]
    return {names[int(one)]: 1.0, names[int(other)]: -0.5}

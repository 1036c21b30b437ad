"""Mixes of similarities: how much each counts in a search."""

from collections.abc import Iterable, Mapping, Sequence

from mscon.errors import UserError, nearest
from mscon.settings import SHARED

Weights = Mapping[str, float]
"""Similarity, or `shared`, → how much its cosine counts; those not named count nothing."""

LARGEST = 1_000_000
"""Of a weight, whatever its sign: scores are sums in float32, which ends at 3e38."""


def mix(wanted: Weights | None, similarities: Sequence[str]) -> dict[str, float]:
    """The weights asked for; when none are, 1 for each similarity, and nothing for the shared embedding.

    A negative weight looks for what is *not* alike in this way.

    **Raises:** `UserError` for a name that is no similarity, a weight beyond ±`LARGEST` or NaN, and weights of 0 alone.
    """
    if not wanted:
        return dict.fromkeys(similarities, 1.0)
    known = [*similarities, SHARED]
    for name, weight in wanted.items():
        if name not in known:
            raise UserError(
                f"--weight {name}: there is no such similarity.{nearest(name, known)} Known: {', '.join(known)}"
            )
        if not abs(weight) <= LARGEST:
            raise UserError(f"--weight {name}={weight}: a weight is a number from -{LARGEST:,} to {LARGEST:,}")
    weights = {name: float(weight) for name, weight in wanted.items() if weight != 0}
    if not weights:
        raise UserError(f"all weights are 0: give at least one of {', '.join(known)} another")
    return weights


def read_weights(words: Iterable[str]) -> dict[str, float]:
    """Weights as a command line has them, NAME=NUMBER each. **Raises** `UserError` for any other, and a name twice."""
    weights: dict[str, float] = {}
    for word in words:
        name, _, number = word.rpartition("=")
        if name in weights:
            raise UserError(f"--weight {name} is given twice: give it once")
        try:
            weights[name] = float(number if name else "")
        except ValueError:
            raise UserError(f"--weight {word}: write NAME=NUMBER, such as --weight colour=0.2") from None
    return weights

"""What a search looks through, what it looks for, and what it finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64

from mscon.errors import UserError
from mscon.search.mix import Weights


@dataclass(frozen=True, eq=False)
class Query:
    """A vector of unit length under each similarity.

    - `blocks`: similarity, or `shared`, → the vector.
    - `rows`: items of the collection that the query is made of, which are not found again.
    - `images`: what was asked for, as files hold it.
    """

    blocks: dict[str, Float32[np.ndarray, " d"]]
    rows: tuple[int, ...]
    images: tuple[bytes, ...]


@dataclass(frozen=True, eq=False)
class Hits:
    """The items found, best first.

    - `rows`: of the collection; `scores`: Σ_c w_c cos_c.
    - `cosines`: similarity, or `shared`, → how near each is in this way, whatever it weighed.
    - `weights`: of the mix.
    """

    rows: Int64[np.ndarray, " k"]
    scores: Float32[np.ndarray, " k"]
    cosines: dict[str, Float32[np.ndarray, " k"]]
    weights: dict[str, float]


@runtime_checkable
class Collection(Protocol):
    """Items with a vector of unit length under each similarity: a catalog in memory (`Space`) or a table (`Index`).

    Rows are numbers by which it knows its items.
    """

    @property
    def source(self) -> str:
        """What the user calls it."""
        ...

    @property
    def similarities(self) -> list[str]:
        """Those that the run was trained on."""
        ...

    @property
    def ids(self) -> list[str]:
        """The names of all items."""
        ...

    def rows_of(self, ids: Sequence[str]) -> dict[str, int]:
        """The rows of the items with these names, of those that there are; of a name's several the first."""
        ...

    def blocks_of(self, rows: Sequence[int]) -> dict[str, Float32[np.ndarray, "n d"]]:
        """Similarity, or `shared`, → the vectors of some rows."""
        ...

    def images_of(self, rows: Sequence[int]) -> list[bytes]:
        """Their pictures, as files hold them."""
        ...

    def values_of(self, rows: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Their ids, as `id`, and what they have in those of the columns that there are, as `labels`."""
        ...

    def search(self, query: Query, weights: Weights | None = None, *, k: int = 10, where: str | None = None) -> Hits:
        """The k items with the highest Σ_c w_c cos(z_c, q_c), those that the query is made of left out.

        **Arguments:**

        - `weights`: see `mix`.
        - `k`: at most so many; fewer where fewer pass.
        - `where`: a condition on the columns in SQL, such as `gender = 'Women' AND year > 2012`.

        **Raises:** `UserError` for weights or a condition that cannot be, and k below 1.
        """
        ...


def best(score: Float32[np.ndarray, " n"], k: int) -> Int64[np.ndarray, " k"]:
    """Places of the k highest scores, best first; of equals, the first come first."""
    k = min(k, len(score))
    if k == 0:
        return np.empty(0, dtype=np.int64)
    places = np.arange(len(score))
    if k < len(score):  # all that are as good as the k-th, then the first of them
        places = np.flatnonzero(score >= np.partition(score, -k)[-k])
    return places[np.argsort(-score[places], kind="stable")][:k]


def check_count(k: int) -> None:
    """**Raises** `UserError` for a search for less than one item."""
    if k < 1:
        raise UserError(f"-k {k}: at least one item must be asked for")

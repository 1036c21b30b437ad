"""Exact search: the mix of every item, in memory."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int64

from mscon.errors import UserError
from mscon.search.mix import Weights, mix
from mscon.search.query import Query
from mscon.search.space import Space


@dataclass(frozen=True, eq=False)
class Hits:
    """The items found, best first.

    - `rows`: of the space; `scores`: Σ_c w_c cos_c.
    - `cosines`: similarity, or `shared`, → how near each is in this way, whatever it weighed.
    - `weights`: of the mix.
    """

    rows: Int64[np.ndarray, " k"]
    scores: Float32[np.ndarray, " k"]
    cosines: dict[str, Float32[np.ndarray, " k"]]
    weights: dict[str, float]


def search(
    space: Space, query: Query, weights: Weights | None = None, *, k: int = 10, where: str | None = None
) -> Hits:
    """The k items with the highest Σ_c w_c cos(z_c, q_c), those that the query is made of left out. Of equals, the
    catalog's first come first.

    **Arguments:**

    - `weights`: see `mix`.
    - `k`: at most so many; fewer where fewer pass.
    - `where`: a condition on the catalog's columns in SQL, such as `gender = 'Women' AND year > 2012`.

    **Raises:** `UserError` for weights or a condition that cannot be, and k below 1.
    """
    if k < 1:
        raise UserError(f"-k {k}: at least one item must be asked for")
    weighed = mix(weights, space.similarities)
    score = np.zeros(len(space), dtype=np.float32)
    for name, weight in weighed.items():
        score += np.float32(weight) * (space.blocks[name] @ query.blocks[name])
    allowed = passing(space, where)
    allowed[list(query.rows)] = False
    candidates = allowed.nonzero()[0]
    k = min(k, len(candidates))
    if 0 < k < len(candidates):  # all that are as good as the k-th, then the first of them
        worst = np.partition(score[candidates], -k)[-k]
        candidates = candidates[score[candidates] >= worst]
    rows = candidates[np.argsort(-score[candidates], kind="stable")][:k]
    cosines = {name: block[rows] @ query.blocks[name] for name, block in space.blocks.items()}
    return Hits(rows, score[rows], cosines, weighed)


def passing(space: Space, where: str | None) -> Bool[np.ndarray, " n"]:
    """Which items a condition lets pass. **Raises** `UserError` for one that cannot be read, or is none."""
    if where is None:
        return np.ones(len(space), dtype=bool)
    table = space.catalog.table
    try:
        found = table.select(pl.sql_expr(where).alias("passing"))["passing"]
    except (pl.exceptions.PolarsError, ValueError) as error:
        first = str(error).splitlines()[0].partition("; valid columns")[0]
        raise UserError(f"--where {where!r}: {first}. Columns: {', '.join(table.columns)}") from None
    if found.dtype != pl.Boolean:
        raise UserError(f"--where {where!r} is no condition; write one such as \"gender = 'Women' AND year > 2012\"")
    passed = np.array(found.fill_null(value=False))
    return passed if len(passed) == len(space) else np.full(len(space), passed[0])

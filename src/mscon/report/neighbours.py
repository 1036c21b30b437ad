"""Nearest neighbours of a few test items: under each similarity's projection, and under the shared embedding."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from mscon.prepare import Prepared
from mscon.report.matches import Comparison, Match, compare
from mscon.run import Run

QUERIES, NEIGHBOURS = 12, 6

LINES = 60
"""Of neighbours in all, about: a run of many similarities shows fewer queries, and no fewer than three."""


@dataclass(frozen=True)
class Neighbour:
    """An item near a query.

    - `row`: which item.
    - `cosine`: how near, in [−1, 1].
    - `match`: how its label compares with the query's under the similarity it was found by, `"same"` where the two are
      linked; None where there is no one label to compare (an instance similarity, the shared embedding), or no link.
    - `sign`: of the match; without one, how many of the labels that both have are the same (2/3), numbers aside, and
      nothing of pairs or where no label compares.
    """

    row: int
    cosine: float
    match: Match | None
    sign: str


@dataclass(frozen=True)
class Query:
    """A test item and its neighbours, nearest first: similarity → neighbours, and under None the shared embedding's."""

    row: int
    neighbours: dict[str | None, tuple[Neighbour, ...]]


def find_neighbours(run: Run, data: Prepared, embeddings: Float[Tensor, "n d"]) -> list[Query]:
    """The nearest train or test items, by cosine, of up to a dozen test items, of fewer under many similarities.

    Queries are the same in every report of a run's recipe. An item of the query's own group, which is near in any
    case, is no neighbour.

    **Arguments:**

    - `run`: its model projects the embeddings.
    - `data`, `embeddings`: row for row.

    **Raises:** `UserError` for a run without a model.
    """
    model = run.model()
    first = next((data.values[name] for name, column in data.labels.items() if column.kind != "continuous"), None)
    count = max(3, min(QUERIES, LINES // (1 + len(model.similarities))))
    queries = choose_queries(data.split.test, first, count=count, seed=run.recipe.training.seed)
    pool = np.union1d(data.split.train, data.split.test)
    spaces: dict[str | None, Tensor] = {name: model.project_embedding(embeddings, name) for name in model.similarities}
    spaces[None] = F.normalize(embeddings, dim=1)
    found = {
        name: nearest(vectors, queries, pool, groups=data.groups, count=NEIGHBOURS) for name, vectors in spaces.items()
    }
    return [
        Query(
            row,
            {
                name: tuple(_neighbour(data, row, other, cosine, similarity=name) for other, cosine in per_query[place])
                for name, per_query in found.items()
            },
        )
        for place, row in enumerate(queries.tolist())
    ]


def choose_queries(
    rows: Int64[np.ndarray, " n"], codes: Int64[np.ndarray, " all"] | None, *, count: int, seed: int
) -> Int64[np.ndarray, " k"]:
    """Up to `count` of `rows`, drawn at random but spread over the classes, in order of class.

    No class comes a second time before every class of `rows` has come once, and so on; rows without a label come
    last. `codes` are every row's, −1 where missing, or None for a plain draw.
    """
    drawn = np.random.default_rng(seed).permutation(rows)
    if codes is None:
        return np.sort(drawn[:count])
    classes = codes[drawn]
    by_class = np.argsort(classes, kind="stable")
    starts = np.searchsorted(classes[by_class], classes[by_class])
    turn = np.empty(len(drawn), dtype=np.int64)  # how many of its class were drawn before it
    turn[by_class] = np.arange(len(drawn)) - starts
    chosen = drawn[np.lexsort((turn, classes < 0))[:count]]
    return chosen[np.lexsort((chosen, codes[chosen]))]


def nearest(
    vectors: Float[Tensor, "n d"],
    queries: Int64[np.ndarray, " q"],
    pool: Int64[np.ndarray, " m"],
    *,
    groups: Int64[np.ndarray, " n"] | None,
    count: int,
) -> list[list[tuple[int, float]]]:
    """For each query the `count` rows of `pool` with the largest cosine, as (row, cosine), nearest first.

    Neither the query itself nor an item of its group counts; a small pool gives fewer. `vectors` have unit length.
    """
    cosines = vectors[torch.from_numpy(queries)] @ vectors[torch.from_numpy(pool)].T
    owner = np.arange(len(vectors)) if groups is None else groups
    cosines[torch.from_numpy(owner[queries, None] == owner[None, pool])] = -torch.inf
    best = cosines.topk(min(count, len(pool)), dim=1)
    return [
        [(int(pool[place]), value) for place, value in zip(places, values, strict=True) if value > -np.inf]
        for places, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _neighbour(data: Prepared, query: int, row: int, cosine: float, *, similarity: str | None) -> Neighbour:
    def compared(name: str) -> Comparison:
        return compare(data.labels[name], data.values[name], query, row)

    if similarity in data.labels:
        found = compared(similarity)
        return Neighbour(row, cosine, found.match, found.sign)
    if similarity in data.pairs:
        linked = (np.sort([query, row]) == data.pairs[similarity].edges).all(axis=1).any()
        return Neighbour(row, cosine, *(("same", "✓") if linked else (None, "")))
    matches = [compared(name).match for name in data.labels]
    comparable = [match for match in matches if match not in ("missing", "number")]
    return Neighbour(row, cosine, None, f"{comparable.count('same')}/{len(comparable)}" if comparable else "")

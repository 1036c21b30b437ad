"""Nearest neighbours of a few test items: under each similarity's projection, and under the shared embedding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from mscon.prepare import Prepared
from mscon.run import Run

QUERIES, NEIGHBOURS = 12, 6

Match = Literal["same", "other", "missing"]


@dataclass(frozen=True)
class Neighbour:
    """An item near a query.

    - `row`: which item.
    - `cosine`: how near, in [−1, 1].
    - `match`: whether it has the query's label under the similarity it was found by; None where there is no one label
      to compare (an instance similarity, the shared embedding).
    - `shared`, `comparable`: labels that it shares with the query, of those that both have.
    """

    row: int
    cosine: float
    match: Match | None
    shared: int
    comparable: int


@dataclass(frozen=True)
class Query:
    """A test item and its neighbours, nearest first: similarity → neighbours, and under None the shared embedding's."""

    row: int
    neighbours: dict[str | None, tuple[Neighbour, ...]]


def find_neighbours(run: Run, data: Prepared, embeddings: Float[Tensor, "n d"]) -> list[Query]:
    """The nearest train or test items, by cosine, of up to a dozen test items.

    Queries are the same in every report of a run's recipe. An item of the query's own group, which is near in any
    case, is no neighbour.

    **Arguments:**

    - `run`: its model projects the embeddings.
    - `data`, `embeddings`: row for row.

    **Raises:** `UserError` for a run without a model.
    """
    model = run.model()
    codes = {name: data.values[name] for name, column in data.labels.items() if column.kind == "categorical"}
    first = next(iter(codes.values()), None)
    queries = choose_queries(data.split.test, first, count=QUERIES, seed=run.recipe.training.seed)
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
                name: tuple(_compare(codes, row, other, cosine, similarity=name) for other, cosine in per_query[place])
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


def _compare(
    codes: Mapping[str, Int64[np.ndarray, " n"]], query: int, row: int, cosine: float, *, similarity: str | None
) -> Neighbour:
    comparable = [name for name, each in codes.items() if each[query] >= 0 and each[row] >= 0]
    alike = [name for name in comparable if codes[name][query] == codes[name][row]]
    match: Match | None = None
    if similarity in codes:
        match = "missing" if similarity not in comparable else "same" if similarity in alike else "other"
    return Neighbour(row, cosine, match, shared=len(alike), comparable=len(comparable))

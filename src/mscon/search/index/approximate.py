"""Approximate indexes: built, measured against exact search, and used where they find the same in less time."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import isqrt
from statistics import median
from time import perf_counter
from typing import TypeVar

import numpy as np

from mscon.search.collection import Query
from mscon.search.index.kinds import samples
from mscon.search.index.layout import HEADS, Approximate
from mscon.search.index.scan import scan
from mscon.search.index.table import Index

T = TypeVar("T")
R = TypeVar("R")

FROM = 50_000
"""Rows, from which on an exact search takes long enough for an approximate one to be tried."""

GROWN = 1.5
"""Times the rows for which indexes were built, from which on they are built anew."""

K, ENOUGH = 10, 0.95
"""An index serves a kind of weights if, of the K best items, it finds this share, by a standard error at least."""

QUERIES, TIMED = 100, 5
"""Of each kind of weights: items whose neighbours are asked for; and of these, how many exact searches are timed."""

PROBES = 8
"""Partitions looked through at first; then twice as many, and so on."""

TRAINED_ON, ROUNDS = 32, 15
"""Rows per partition, and rounds, by which k-means finds its centres: more takes longer and finds no more."""

SEED = 0


@dataclass(frozen=True)
class Recall:
    """What was measured of one kind of weights.

    - `kind`: see `mscon.search.index.kinds`.
    - `probes`: partitions looked through, of `partitions`: as few as find enough, or the most that were tried.
    - `recall`: of the 10 best items, the share that is found in these, and the standard `error` of this mean over
      queries; `milliseconds`: of one such search, the median.
    - `exact_milliseconds`: of one exact search, the median.
    """

    kind: str
    probes: int
    partitions: int
    recall: float
    error: float
    milliseconds: float
    exact_milliseconds: float

    @property
    def enough(self) -> bool:
        """Whether it finds enough, with a margin: what only just does would often fall short of other queries."""
        return self.recall - self.error >= ENOUGH

    @property
    def serves(self) -> bool:
        """Whether it finds enough, and sooner than an exact search."""
        return self.enough and self.milliseconds < self.exact_milliseconds


def tidy(index: Index, *, new: bool, say: Callable[[str], None] = lambda _: None) -> None:
    """Join small files, and bring approximate indexes up to date. What was joined is removed at once from a `new`
    table, which nobody has read yet; else a week later, for a search may be reading it.
    """
    say("tidying up the table")
    index.table.optimize(cleanup_older_than=timedelta(milliseconds=1) if new else None)


def outgrown(index: Index) -> bool:
    """Whether it has become too large for exact search alone, or for the approximate indexes that it has."""
    chosen, rows = index.about.approximate, len(index)
    return rows >= FROM and (chosen is None or rows >= GROWN * chosen.rows)


def approximate(index: Index, *, say: Callable[[str], None] = lambda _: None) -> tuple[Approximate, list[Recall]]:
    """Build an approximate index over all projections side by side, and one for each similarity that stands apart; then
    find out for each kind of weights how many partitions must be looked through, and whether that pays.

    Partitions are found by k-means over the vectors (IVF), which in them are kept as 8-bit integers; four times as many
    candidates as asked for are scored by the vectors themselves.

    **Arguments:** `index`: of at least some thousands of rows. `say`: told what is being done.
    """
    from lancedb.index import IvfSq

    rows = len(index)
    partitions = isqrt(rows)
    for column in [HEADS, *(index.about.own[name] for name in index.similarities if index.about.apart)]:
        say(f"building an approximate index over {column}: {rows:,} rows in {partitions:,} partitions")
        config = IvfSq(distance_type="dot", num_partitions=partitions, sample_rate=TRAINED_ON, max_iterations=ROUNDS)
        index.table.create_index(column, config=config, replace=True)
    say("measuring it against exact search")
    measured = _measure(index, partitions)
    return Approximate(rows, partitions, {each.kind: each.probes for each in measured if each.serves}), measured


def _measure(index: Index, partitions: int) -> list[Recall]:
    rng = np.random.default_rng(SEED)
    rows = np.array(index.table.search().select(["id"]).with_row_id(True).to_arrow()["_rowid"])
    drawn = rng.choice(rows, min(QUERIES, len(rows)), replace=False).tolist()
    blocks = index.blocks_of(drawn)
    queries = [
        Query({name: block[number] for name, block in blocks.items()}, (row,), ()) for number, row in enumerate(drawn)
    ]
    draws = samples(index.similarities)
    asked = [(query, draw(rng)) for draw in draws.values() for query in queries]
    vectors = np.stack([index.heads_vector(query, mix) for query, mix in asked])
    found = scan(index.table, vectors, None, K + 1)
    _, exact = _timed(lambda number: scan(index.table, vectors[number : number + 1], None, K), range(TIMED))
    searches = [_Asked(*each, _others(best.tolist(), each[0])) for each, (best, _) in zip(asked, found, strict=True)]
    return [
        _chosen(index, kind, searches[first : first + len(queries)], partitions, exact)
        for kind, first in zip(draws, range(0, len(searches), len(queries)), strict=True)
    ]


@dataclass(frozen=True)
class _Asked:
    """A search and what is to be found."""

    query: Query
    mix: dict[str, float]
    best: set[int]


def _others(found: Sequence[int], query: Query) -> set[int]:
    """The best but the item that is asked with, which is easier to find than any other."""
    return set([row for row in found if row not in query.rows][:K])


def _chosen(index: Index, kind: str, searches: Sequence[_Asked], partitions: int, exact: float) -> Recall:
    """With as few partitions as will do; exact search where that is as fast."""

    def with_partitions(probes: int) -> Recall:
        found, taken = _timed(lambda each: index.near(each.query, each.mix, K + 1, probes=probes), searches)
        shares = [
            len(each.best & _others(rows, each.query)) / len(each.best)
            for each, rows in zip(searches, found, strict=True)
        ]
        error = float(np.std(shares) / np.sqrt(len(shares)))
        return Recall(kind, probes, partitions, float(np.mean(shares)), error, taken, exact)

    tried = with_partitions(min(PROBES, partitions))
    while not tried.enough and tried.probes < partitions and tried.milliseconds < exact:
        tried = with_partitions(min(2 * tried.probes, partitions))
    return tried


def _timed(work: Callable[[T], R], some: Iterable[T]) -> tuple[list[R], float]:
    """What the work comes to for each, and the median time that it takes, in milliseconds."""
    found: list[R] = []
    times: list[float] = []
    for each in some:
        started = perf_counter()
        found.append(work(each))
        times.append(1000 * (perf_counter() - started))
    return found, median(times)

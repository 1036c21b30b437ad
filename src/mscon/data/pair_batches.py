"""Batches that bring linked items together, as a pure function of a seed and the epoch's number."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from mscon.data.batches import check_batch_size, own_batches
from mscon.errors import UserError


@dataclass(frozen=True, eq=False)
class PairBatches:
    """The items of every batch of every epoch: as `Batches`, but made of small clusters of linked items.

    An epoch parts the items anew into clusters of at most `per_cluster`, held together by links (`clusters`), puts the
    clusters into a random order and cuts it into len(items) / batch_size batches: an item is seen about once. What is
    left over waits for another epoch, an item without a link is a cluster of its own, and the end of a batch may cut a
    cluster in two.

    Where all of a linked item's partners are in full clusters, one of them is seen once more, with up to
    per_cluster − 1 such items (`accompanied`). So a hub is seen once per per_cluster − 1 of its leaves, and where most
    items are leaves of one, it is in every batch up to batch_size / per_cluster times, and the leaves are seen less
    than once; a larger `per_cluster` makes that rarer.

    Pairs that were judged different are hard negatives: the two clusters are put into one batch, as far as each can
    have one other beside it.

    **Arguments:**

    - `items`, `batch_size`, `seed`, `rank`, `world_size`: as in `Batches`.
    - `edges`: the two items of each linked pair, in any order; those with an item outside `items` do not count.
    - `strength`: > 0 per pair, 1 when left out: a pair comes before another with odds of its strength to the other's.
    - `apart`: pairs that were judged different.
    - `per_cluster`: from 2 to `batch_size`.

    **Raises:**

    - `UserError`: there are fewer items than one batch holds, `batch_size` is no multiple of `world_size`, no two of
      the items are linked, or `per_cluster` is out of its range.
    """

    items: Int[Tensor, " n"]
    batch_size: int
    seed: int
    edges: Int[Tensor, "e 2"]
    strength: Float[Tensor, " e"] | None = None
    apart: Int[Tensor, "h 2"] | None = None
    per_cluster: int = 4
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size, len(self.items), world_size=self.world_size)
        if not 2 <= self.per_cluster <= self.batch_size:
            raise UserError(
                f"A cluster of {self.per_cluster} linked items is not possible in batches of {self.batch_size}: "
                f"set per_cluster (training.per_class of a recipe) to a number from 2 to {self.batch_size}."
            )
        if len(self._links[0]) == 0:
            raise UserError(
                f"No two of the {len(self.items)} items to train on are linked, of {len(self.edges)} pairs: "
                "batches of linked items can't be made."
            )

    def __len__(self) -> int:
        """Batches in an epoch, the same on every rank."""
        return len(self.items) // self.batch_size

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Int[Tensor, " b"]]:
        """This rank's part of each batch, from batch number `start` on: batch_size / world_size of the items."""
        rng = np.random.default_rng((self.seed, epoch))
        for batch in own_batches(self._positions(rng), rank=self.rank, world_size=self.world_size, start=start):
            yield self.items[batch]

    def _positions(self, rng: np.random.Generator) -> Int64[np.ndarray, "batches size"]:
        links, strength = self._links
        # The first of exponential waiting times is the i-th with probability s_i / Σ s.
        links = links[np.argsort(rng.standard_exponential(len(links)) / strength)]
        cluster = clusters(len(self.items), links, most=self.per_cluster)
        drawn, cluster = accompanied(cluster, links, most=self.per_cluster)
        # A cluster goes by the number of one of its items, so clusters can be joined as items are: here to couples.
        couple = clusters(len(drawn), cluster[rng.permutation(self._apart)], most=2)[cluster]
        turn = rng.permutation(len(drawn))[couple]
        order = np.argsort(turn, kind="stable")[: len(self) * self.batch_size]
        # Ranks take slices of a batch: partners shall not always meet on one of them, nor strangers.
        return rng.permuted(drawn[order].reshape(len(self), self.batch_size), axis=1)

    @cached_property
    def _links(self) -> tuple[Int64[np.ndarray, "e 2"], Float64[np.ndarray, " e"]]:
        """The pairs among the items, as positions, and their strengths."""
        edges, kept = self._places(self.edges)
        strength = np.ones(len(self.edges)) if self.strength is None else self.strength.double().numpy()
        return edges, strength[kept]

    @cached_property
    def _apart(self) -> Int64[np.ndarray, "h 2"]:
        return np.empty((0, 2), dtype=np.int64) if self.apart is None else self._places(self.apart)[0]

    def _places(self, pairs: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of items as pairs of positions in `items`, and which of the given ones these are."""
        known = int(self.items.max()) + 1
        places = np.full(known + 1, -1)
        places[self.items.numpy()] = np.arange(len(self.items))
        found = places[np.minimum(pairs.numpy(), known)]
        kept = np.min(found, axis=1) >= 0
        return found[kept], kept


def clusters(items: int, edges: Int64[np.ndarray, "e 2"], *, most: int) -> Int64[np.ndarray, " n"]:
    """Parts items into clusters of at most `most`, each held together by edges.

    Edge after edge joins the clusters of its two ends if they fit together: first any two items that are alone, then an
    item that is alone and a cluster, then any two clusters. No edge is left between two clusters that fit together.

    **Arguments:**

    - `edges`: pairs of items, numbers from 0; earlier ones come first.

    **Returns:** each item's cluster, by the number of one of its items.
    """
    cluster, sizes, earliest = np.arange(items), np.ones(items, dtype=np.int64), np.empty(items, dtype=np.int64)
    for largest, smaller in ((2, 1), (most, 1), (most, most)):
        # As many edges at a time as there are items: what they join, most later edges need not be compared with again.
        for start in range(0, len(edges), max(1, items)):
            ends = cluster[edges[start : start + items]]
            while True:
                one, other = sizes[ends].T
                fits = (ends[:, 0] != ends[:, 1]) & (one + other <= largest) & (np.minimum(one, other) <= smaller)
                if not fits.any():
                    break
                ends = ends[fits]
                # Edges that are the earliest at both their ends share none: taken at once they do as one by one.
                number = np.arange(len(ends))
                earliest[ends] = len(ends)
                np.minimum.at(earliest, ends.ravel(), number.repeat(2))
                into, gone = ends[(earliest[ends] == number[:, None]).all(axis=1)].T
                sizes[into] += sizes[gone]
                cluster[gone] = into
                ends = cluster[ends]
            while not np.array_equal(outer := cluster[cluster], cluster):
                cluster = outer
    return cluster


def accompanied(
    cluster: Int64[np.ndarray, " n"], edges: Int64[np.ndarray, "e 2"], *, most: int
) -> tuple[Int64[np.ndarray, " drawn"], Int64[np.ndarray, " drawn"]]:
    """Gives linked items that are alone in their cluster a partner: a copy of the one on their first edge, which up to
    `most` − 1 of them share.

    **Arguments:**

    - `cluster`: of each item, no two of those that are alone being linked.
    - `edges`, `most`: as in `clusters`.

    **Returns:** the items followed by the copies, as numbers of items; and the cluster of each of these.
    """
    items = len(cluster)
    alone = np.bincount(cluster, minlength=items)[cluster] == 1
    edges = edges[alone[edges].any(axis=1)]
    lonely, partner = np.where(alone[edges[:, :1]], edges, edges[:, ::-1]).T
    lonely, first = np.unique(lonely, return_index=True)
    order = np.lexsort((first, partner[first]))
    lonely, partner = lonely[order], partner[first[order]]
    _, start, place = np.unique(partner, return_index=True, return_inverse=True)
    opens = (np.arange(len(partner)) - start[place]) % (most - 1) == 0
    cluster = cluster.copy()
    cluster[lonely] = items + np.cumsum(opens) - 1
    copies = partner[opens]
    return np.append(np.arange(items), copies), np.append(cluster, items + np.arange(len(copies)))

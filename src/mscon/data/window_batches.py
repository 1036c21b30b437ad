"""Batches of a catalog that is read piece by piece: a shuffle that has only a few pieces open at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from mscon.data.batches import check_batch_size, own_batches
from mscon.errors import UserError


@dataclass(frozen=True, eq=False)
class WindowBatches:
    """The items of every batch of every epoch, as `Batches` has them, for items whose images lie in pieces, such as
    the row groups of Parquet files, that cost much to open.

    An epoch puts the pieces into a random order. Each process takes an equal part of the items, in order of their
    pieces, so that it opens its own pieces alone: a piece on the border of two parts is opened by both. Within its part
    the j-th of m pieces gives its items at random times between j and j + w, w being `open`, times beyond the end
    counting from the beginning (mod m):

        time = (j + w · u) mod m,   u uniform in [0, 1)

    So at any time at most w + 1 pieces are open, as many items as w pieces have are mixed, and the last w pieces are
    opened twice. Two items of a batch are of the same piece about once in w times, where a full shuffle has that once
    in as many times as there are pieces. With no more than w pieces it is a full shuffle. The len(items) mod
    batch_size items that are last wait for another epoch.

    **Arguments:**

    - `items`, `batch_size`, `seed`, `rank`, `world_size`: as in `Batches`.
    - `pieces`: the number of each item's piece, in any order.
    - `open`: w.

    **Raises:**

    - `UserError`: there are fewer items than one batch holds, or `batch_size` is no multiple of `world_size`.
    """

    items: Tensor
    batch_size: int
    seed: int
    pieces: Int64[np.ndarray, " n"]
    open: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size, len(self.items), world_size=self.world_size)

    def __len__(self) -> int:
        """Batches in an epoch, the same on every rank."""
        return len(self.items) // self.batch_size

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Tensor]:
        """This rank's part of each batch, from batch number `start` on: batch_size / world_size of the items."""
        positions = self._positions(epoch).reshape(len(self), self.batch_size // self.world_size)
        for batch in own_batches(positions, rank=0, world_size=1, start=start):
            yield self.items[batch]

    def _positions(self, epoch: int) -> Int64[np.ndarray, " p"]:
        """Those of this rank's items in an epoch, in their order."""
        rng = np.random.default_rng((self.seed, epoch))
        _, piece = np.unique(self.pieces, return_inverse=True)
        turn = rng.permutation(piece.max() + 1)[piece]
        # Random within a piece too: which of its items wait, and which go to which of two ranks.
        order = rng.permutation(len(piece))
        order = order[np.argsort(turn[order], kind="stable")]
        share = len(self) * self.batch_size // self.world_size
        mine = order[self.rank * share : (self.rank + 1) * share]
        of_rank = turn[mine] - turn[mine[0]]
        count = int(of_rank[-1]) + 1
        time = np.random.default_rng((self.seed, epoch, self.rank)).random(share) * min(self.open, count)
        return mine[np.argsort((of_rank + time) % count, kind="stable")]


def check_sampler(sampler: str, source: str) -> None:
    """**Raises** `UserError` for a sampler that needs images from anywhere at any time."""
    if sampler != "random":
        raise UserError(
            f"training.sampler: {sampler!r} brings items together from anywhere in {source}, but without the cache its"
            " images are read row group by row group: set training.sampler = 'random', or image.cache = true"
        )

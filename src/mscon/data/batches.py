"""Batches: which items each training step sees, as a pure function of a seed and the epoch's number."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor

from mscon.errors import UserError


@dataclass(frozen=True, eq=False)
class Batches:
    """The items of every batch of every epoch; nothing is remembered between epochs, so training resumes at any batch.

    *Random* (`per_class` left out): an epoch is one pass over the items in a random order, cut into batches; the
    len(items) mod batch_size items at its end wait for another epoch.

    *m per class* (`per_class` = m): a batch holds batch_size / m classes with m items each. An epoch has as many
    batches as the labelled items fill, and a class is drawn in proportion to its items, so that an item is seen about
    once; but a batch takes a class once at most, so classes too large for that are in every batch, their items are
    seen less often and the others' more. Within an epoch a class's items are drawn without repetition until fewer than
    m are left. A class of fewer than m items repeats them. Items without a label are never drawn: where many lack it,
    random batches serve the other similarities better.

    **Arguments:**

    - `items`: what the batches are made of, usually rows of the catalog; on the CPU, as `codes`.
    - `batch_size`: items in a batch, over all ranks together.
    - `seed`: another seed, other batches; 0 or more.
    - `codes`: each item's class under the chosen similarity, −1 where it is missing; given together with `per_class`.
    - `per_class`: m.
    - `rank`, `world_size`: this process among how many. Rank r takes the r-th of `world_size` equal slices of every
      batch.

    **Raises:**

    - `UserError`: there are fewer items than one batch holds, `batch_size` is no multiple of `world_size` or of
      `per_class`, or there are fewer classes than a batch needs.
    """

    items: Int[Tensor, " n"]
    batch_size: int
    seed: int
    codes: Int[Tensor, " n"] | None = None
    per_class: int | None = None
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if (self.codes is None) != (self.per_class is None):
            raise ValueError("codes and per_class are given together or not at all")
        m = self.per_class
        what = "items" if m is None else "labelled items"
        check_batch_size(self.batch_size, len(self._drawable()), world_size=self.world_size, what=what)
        if m is not None:
            self._check_classes(m)

    def __len__(self) -> int:
        """Batches in an epoch, the same on every rank."""
        return len(self._drawable()) // self.batch_size

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Int[Tensor, " b"]]:
        """This rank's part of each batch, from batch number `start` on: batch_size / world_size of the items."""
        rng = np.random.default_rng((self.seed, epoch))
        positions = self._random(rng) if self.per_class is None else self._per_class(rng, self.per_class)
        for batch in own_batches(positions, rank=self.rank, world_size=self.world_size, start=start):
            yield self.items[batch]

    def _check_classes(self, m: int) -> None:
        size, classes = self.batch_size, len(self._classes())
        if size % m:
            raise UserError(
                f"A batch of {size} items cannot hold {m} of each class: make batch_size a multiple of {m}."
            )
        if size // m > classes:
            fits = fitting_per_class(size, classes, least=m)
            more = f"raise per_class to {fits} (-s training.per_class={fits}), or " if fits else ""
            raise UserError(
                f"A batch of {size} items with {m} of each class needs {size // m} classes, but there are {classes}: "
                f"{more}lower batch_size to {classes * m} (-s training.batch_size={classes * m})."
            )

    def _drawable(self) -> np.ndarray:
        """Positions in `items` that can be drawn."""
        return np.arange(len(self.items)) if self.codes is None else np.flatnonzero(self.codes.numpy() >= 0)

    def _classes(self) -> list[np.ndarray]:
        """Positions in `items`, one array per class."""
        assert self.codes is not None
        positions = self._drawable()
        codes = self.codes.numpy()[positions]
        order = np.argsort(codes, kind="stable")
        return np.split(positions[order], np.flatnonzero(np.diff(codes[order])) + 1)

    def _random(self, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(len(self.items))[: len(self) * self.batch_size].reshape(len(self), self.batch_size)

    def _per_class(self, rng: np.random.Generator, m: int) -> np.ndarray:
        classes = self._classes()
        classes = [classes[k] for k in rng.permutation(len(classes))]
        rows, columns = self.batch_size // m, len(self)
        visits = _visits(np.array([len(members) for members in classes]), rows * columns, columns, rng)
        # The classes' blocks, laid out one class after the other in rows as long as the epoch: batch b is column b,
        # and as no class has more blocks than a row is long, none comes twice in a column.
        visited = zip(classes, visits.tolist(), strict=True)
        blocks = np.concatenate([_blocks(members, count, m, rng) for members, count in visited])
        batches = blocks.reshape(rows, columns, m).swapaxes(0, 1).reshape(columns, self.batch_size)
        # Neighbouring columns share classes, and so do neighbours within a batch: ranks would see few classes each.
        return rng.permuted(rng.permutation(batches), axis=1)


def fitting_per_class(batch_size: int, classes: int, *, least: int) -> int | None:
    """The smallest m, `least` or more, for which a batch of m items of each class can be made of so many classes, two
    classes at least in a batch; None where there is none.
    """
    fitting = (m for m in range(least, batch_size // 2 + 1) if batch_size % m == 0 and batch_size // m <= classes)
    return next(fitting, None)


def check_batch_size(size: int, items: int, *, world_size: int, what: str = "items") -> None:
    """**Raises** `UserError` for a batch of more than there is, or one that the processes cannot share equally."""
    if size > items:
        raise UserError(f"A batch of {size} needs as many {what}, but there are {items} to train on: lower batch_size.")
    if size % world_size:
        raise UserError(
            f"A batch of {size} items cannot be shared equally by {world_size} processes: "
            f"make batch_size a multiple of {world_size}."
        )


def own_batches(
    positions: Int64[np.ndarray, "batches size"], *, rank: int, world_size: int, start: int
) -> Int64[Tensor, "rest share"]:
    """Process `rank`'s slice of every batch, from batch number `start` on."""
    share = positions.shape[1] // world_size
    return torch.from_numpy(positions)[start:, rank * share : (rank + 1) * share]


def _visits(sizes: np.ndarray, total: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """How many blocks of each class: `total` altogether, in proportion to the sizes but at most `most` of one."""
    visits = np.zeros_like(sizes)
    uncapped = np.ones(len(sizes), dtype=bool)
    while (full := uncapped & (sizes * total > most * sizes[uncapped].sum())).any():
        visits[full] = most
        uncapped &= ~full
        total -= most * int(full.sum())
    # Systematic sampling: every class gets its share rounded up or down, on average over the offset the share itself.
    whole = int(sizes[uncapped].sum())
    if whole:
        edges = (np.cumsum(sizes[uncapped]) * total + rng.integers(whole)) // whole
        visits[uncapped] = np.diff(edges, prepend=0)
    return visits


def _blocks(members: np.ndarray, count: int, m: int, rng: np.random.Generator) -> np.ndarray:
    """(count, m) members: disjoint blocks of m until too few are left, then afresh."""
    if len(members) < m:
        return rng.permuted(np.resize(rng.permutation(members), (count, m)), axis=1)
    fresh = len(members) // m
    rounds = -(-count // fresh)
    shuffled = rng.permuted(np.tile(members, (rounds, 1)), axis=1)
    return shuffled[:, : fresh * m].reshape(-1, m)[:count]

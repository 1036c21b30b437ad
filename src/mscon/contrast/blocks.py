"""Rows in blocks, done anew in the backward pass: a matrix of all rows is never there at once."""

from collections.abc import Callable
from typing import Any

from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType]

BLOCK_NUMBERS = 2**20
"""Numbers of a block of rows by all that they are compared with: some ten tensors of that size are held at a time."""


def in_blocks(work: Callable[[slice], Any], own: slice, *, rows: int, width: int) -> list[Any]:
    """What `work` makes of the rows `own`, block after block; nothing in between is kept for the backward pass.

    **Arguments:**

    - `work`: from the place of a block of rows to a tensor, or several.
    - `own`: which of so many `rows`.
    - `width`: with how many others each of them is compared.
    """
    first, last, _ = own.indices(rows)
    size = max(1, BLOCK_NUMBERS // width)
    blocks = [slice(start, min(start + size, last)) for start in range(first, last, size)]
    return [checkpoint(work, block, use_reentrant=False) for block in blocks]  # pyright: ignore[reportUnknownMemberType]

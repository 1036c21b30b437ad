"""Sparse matrices and their rows, and distinct values, in the one form that the targets need."""

from typing import cast

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor


def sparse(where: Int[Tensor, "2 e"], values: Float[Tensor, " e"], shape: tuple[int, int]) -> Tensor:
    """A matrix with `values` at the (row, column) pairs of `where`; what comes twice adds up."""
    matrix = torch.sparse_coo_tensor(where, values, shape, check_invariants=False)  # pyright: ignore[reportUnknownMemberType]
    return matrix.coalesce()


def entries(first: Int[Tensor, " r"], lengths: Int[Tensor, " r"]) -> tuple[Int[Tensor, " e"], Int[Tensor, " e"]]:
    """Of rows whose entries stand one after the other from `first` on: the row of each entry, and where it stands."""
    rows = torch.arange(len(first), device=first.device).repeat_interleave(lengths)
    before = lengths.cumsum(0) - lengths
    return rows, torch.arange(len(rows), device=first.device) + (first - before)[rows]


def distinct(values: Shaped[Tensor, " n"]) -> tuple[Shaped[Tensor, " u"], Int[Tensor, " n"], Int[Tensor, " u"]]:
    """The values that occur, ascending; the place of each row's value among them; and how often each occurs."""
    found = values.unique(return_inverse=True, return_counts=True)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return cast("tuple[Tensor, Tensor, Tensor]", found)

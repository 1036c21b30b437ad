"""Targets among items that come in types: labels that overlap, nest, or are linked to one another."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mscon.contrast.sparse import distinct, sparse

TYPES_AT_A_TIME = 512
"""Types at a time, where entropies are taken over all pairs of them."""


@dataclass(frozen=True)
class TypeTargets:
    """q_ij = V[t_i, t_j] for j ≠ i, where t_i is the type of row i: rows of one type are interchangeable.

    V (U×U, over the types of this batch) is kept as a product of matrices, sparse ones mostly, and never written out:
    the mean target of row i is V[t_i] S − V[t_i, t_i] z_i, with S the sum of z over each type.

    - `batch`, `rows`: as in `Targets`.
    - `types`: t_i of each labelled row, 0 … U − 1.
    - `factors`: matrices whose product is V, float64.
    - `diagonal`: of V.
    - `entropy`: H(q) of a row of each type; `has_positive`: whether it is pulled toward any other.
    """

    batch: int
    rows: Int[Tensor, " m"]
    types: Int[Tensor, " m"]
    factors: tuple[Tensor, ...]
    diagonal: Float[Tensor, " u"]
    entropy: Float[Tensor, " u"]
    has_positive: Bool[Tensor, " u"]

    @classmethod
    def of_groups(
        cls,
        rows: Int[Tensor, " m"],
        types: Int[Tensor, " m"],
        members: Int[Tensor, " e"],
        groups: Int[Tensor, " e"],
        weights: Float[Tensor, " e"],
        *,
        batch: int,
    ) -> "TypeTargets":
        """Alike means: in one group. A type is in several groups, and a group holds several types.

            q_ij = Σ_g α_ig [j in g] / (n_g − 1)        over the groups g of i with n_g ≥ 2 rows

        α_ig are the weights of i's groups, scaled to sum to 1 over those with another row in them.

        **Arguments:**

        - `rows`, `types`: as in the class; every type occurs.
        - `members`, `groups`, `weights`: one entry per membership: the type, its group (any codes) and w ≥ 0.
        - `batch`: N.
        """
        counts = torch.bincount(types)
        known, groups, _ = distinct(groups)
        sizes = torch.zeros_like(known).index_add_(0, groups, counts[members])
        shared = weights.double().where(sizes[groups] > 1, 0.0)
        total = torch.zeros(len(counts), dtype=torch.float64, device=types.device).index_add_(0, members, shared)
        share = shared / total[members].where(total[members] > 0, 1.0) / (sizes[groups] - 1).clamp(min=1)
        shape, places = (len(counts), len(known)), torch.stack([members, groups])
        each, holds = sparse(places, share, shape), sparse(places, torch.ones_like(share), shape)
        diagonal = torch.zeros_like(total).index_add_(0, members, share)
        factors = (each, holds.t().coalesce())
        return cls(batch, rows, types, factors, diagonal, _entropies(factors, diagonal, counts), total > 0)

    @classmethod
    def of_matrix(
        cls, rows: Int[Tensor, " m"], types: Int[Tensor, " m"], v: Float[Tensor, "u u"], *, batch: int
    ) -> "TypeTargets":
        """From how alike the types are: V ≥ 0, dense or sparse, in any scale; every type occurs.

        q_ij = V[t_i, t_j] / Σ_{k≠i} V[t_i, t_k]

        What a type that occurs once has in common with itself plays no part.

        **Raises:** `ValueError` for a V that is not U×U, or has a number below 0, NaN or infinity.
        """
        counts = torch.bincount(types)
        numbers = v.coalesce().values() if v.is_sparse else v
        if v.shape != (len(counts), len(counts)) or not bool(((numbers >= 0) & numbers.isfinite()).all()):
            raise ValueError(
                f"how alike {len(counts)} types are takes as many rows and columns of numbers from 0 on, "
                f"not {tuple(v.shape)} from {numbers.min()} to {numbers.max()}"
            )
        v = _without_diagonal(v.double(), counts == 1)  # or rounding would leave a part of it
        diagonal = _diagonal(v)
        total = (v @ counts.double().unsqueeze(1)).squeeze(1) - diagonal
        some = total > 0
        inverse = total.where(some, 1.0).reciprocal().where(some, 0.0)
        scaled = _rows_times(v, inverse)
        diagonal = diagonal * inverse
        return cls(batch, rows, types, (scaled,), diagonal, _entropies((scaled,), diagonal, counts), some)

    @property
    def anchors(self) -> Bool[Tensor, " m"]:
        """Rows that are alike any other."""
        return self.has_positive[self.types]

    @property
    def floor(self) -> Float[Tensor, " m"]:
        """H(q_i)."""
        return self.entropy[self.types]

    def mean_target(self, z: Float[Tensor, "m d"], own: slice = slice(None)) -> Float[Tensor, "own d"]:
        """V[t_i] S − V[t_i, t_i] z_i."""
        mine = self.types[own]
        points = self._sums(z, self.types)
        for factor in reversed(self.factors):
            points = factor.to(z.dtype) @ points
        return points.index_select(0, mine).addcmul_(self._diagonal(mine, z), z[own], value=-1)

    def mean_target_gradient(self, upstream: Float[Tensor, "own d"], own: slice = slice(None)) -> Float[Tensor, "m d"]:
        """Vᵀ over the sums of `upstream`, without each row's own part."""
        mine = self.types[own]
        points = self._sums(upstream, mine)
        for factor in self.factors:
            points = factor.t().to(upstream.dtype) @ points
        gradient = points.index_select(0, self.types)
        gradient[own].addcmul_(self._diagonal(mine, upstream), upstream, value=-1)
        return gradient

    def matrix(self, own: slice = slice(None)) -> Float[Tensor, "own m"]:
        """V between rows, 0 where a row meets itself."""
        place = torch.arange(len(self.types), device=self.types.device)
        itself = place[own].unsqueeze(1) == place
        v = self.diagonal.new_zeros(len(self.diagonal), len(self.diagonal))
        for columns, part in _tiles(self.factors, len(self.diagonal)):
            v[:, columns] = part
        return v[self.types[own]][:, self.types].masked_fill_(itself, 0.0)

    def _sums(self, z: Tensor, types: Tensor) -> Tensor:
        return z.new_zeros(len(self.diagonal), z.shape[1]).index_add_(0, types, z)

    def _diagonal(self, types: Tensor, z: Tensor) -> Tensor:
        return self.diagonal[types].to(z.dtype).unsqueeze(1)


def _tiles(factors: tuple[Tensor, ...], types: int) -> Iterator[tuple[slice, Float[Tensor, "u t"]]]:
    """V in blocks of columns."""
    *others, last = factors
    for start in range(0, types, TYPES_AT_A_TIME):
        places = torch.arange(start, min(start + TYPES_AT_A_TIME, types), device=last.device)
        block = last.index_select(1, places)
        block = block.to_dense() if block.is_sparse else block
        for factor in reversed(others):
            block = factor @ block
        yield slice(start, start + len(places)), block


def _entropies(factors: tuple[Tensor, ...], diagonal: Tensor, counts: Tensor) -> Tensor:
    """−Σ_j q_ij log q_ij for a row of each type."""
    entropy, weights = torch.xlogy(diagonal, diagonal), counts.double()
    if len(factors) == 1 and factors[0].is_sparse:
        (rows, columns), v = factors[0].indices(), factors[0].values()
        return entropy.index_add_(0, rows, torch.xlogy(v, v) * weights[columns], alpha=-1)
    for columns, v in _tiles(factors, len(diagonal)):
        entropy -= torch.xlogy(v, v) @ weights[columns]
    return entropy


def _diagonal(v: Tensor) -> Tensor:
    if not v.is_sparse:
        return v.diagonal()
    v = v.coalesce()
    (rows, columns), values = v.indices(), v.values()
    own = rows == columns
    return torch.zeros(len(v), dtype=v.dtype, device=v.device).index_add_(0, rows[own], values[own])


def _without_diagonal(v: Tensor, of: Bool[Tensor, " u"]) -> Tensor:
    """V with zeros where these types meet themselves."""
    if not v.is_sparse:
        return v.masked_fill(torch.diag(of), 0.0)
    v = v.coalesce()
    rows, columns = v.indices()
    return sparse(v.indices(), v.values().masked_fill((rows == columns) & of[rows], 0.0), (len(v), len(v)))


def _rows_times(v: Tensor, factor: Tensor) -> Tensor:
    if not v.is_sparse:
        return v * factor.unsqueeze(1)
    v = v.coalesce()
    values = v.values() * factor[v.indices()[0]]
    return sparse(v.indices(), values, (len(v), len(v)))

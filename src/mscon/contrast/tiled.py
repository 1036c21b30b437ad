"""push in tiles: exact, O(N·d) memory forward and backward, never an N×N tensor.

S_ij = z_i·z_j/τ is symmetric, so tiles i ≤ j serve rows and columns alike: N²d flops forward and 3N²d backward, not
2N²d and 6N²d.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

TILE = 512
"""Rows of a tile: 512² float32 scores are 1 MiB, which a core's second-level cache holds beside the two operands."""

SHIFT_FLOOR = 0.025
"""At this temperature and above, exp(s − 1/τ) of the least score s = −1/τ is exp(−80): a normal float32. Below it,
underflow.
"""


def tiled_push(z: Float[Tensor, "n d"], *, temperature: float, tile: int = TILE) -> Float[Tensor, " n"]:
    """push_i = log Σ_{j≠i} exp(z_i·z_j / τ), in O(N·d + tile²) memory.

    With a_i = upstream_i · exp(−push_i) the gradient is (1/τ) Σ_{j≠i} exp(z_i·z_j/τ) (a_i + a_j) z_j; the scores are
    computed anew in the backward pass. Differentiable once.

    **Arguments:**

    - `z`: N ≥ 2 unit rows, float32 or float64; |z_i·z_j| ≤ 1 is what makes a fixed shift of 1/τ safe.
    - `temperature`: τ > 0; below 0.025 a running maximum replaces the fixed shift.
    - `tile`: rows of a tile.

    **Returns:** one value per row, in z's dtype.
    """
    push: Tensor = _TiledPush.apply(z, temperature, tile)  # pyright: ignore[reportUnknownMemberType, reportAssignmentType]
    return push


class _TiledPush(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, temperature: float, tile: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        with torch.autocast(z.device.type, enabled=False):
            z = z.contiguous()
            log_sums = _shifted_log_sums if temperature >= SHIFT_FLOOR else _running_log_sums
            push = log_sums(z, temperature, tile)
        ctx.save_for_backward(z, push)
        ctx.temperature, ctx.tile = temperature, tile
        return push

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():  # as under create_graph=True; autograd alone would return a wrong second derivative
            raise RuntimeError("the tiled engine is differentiable once: take engine='dense' for second derivatives")
        z, push = ctx.saved_tensors
        with torch.autocast(z.device.type, enabled=False):
            gradient = _shifted_gradient if ctx.temperature >= SHIFT_FLOOR else _row_gradient
            return gradient(z, push, upstream, ctx.temperature, ctx.tile), None, None


def _tile_pairs(n: int, tile: int) -> list[tuple[slice, slice]]:
    starts = range(0, n, tile)
    return [(slice(i, min(i + tile, n)), slice(j, min(j + tile, n))) for i in starts for j in starts if j >= i]


def _scores(scaled: Tensor, z: Tensor, rows: slice, columns: slice, workspace: Tensor) -> Tensor:
    """One tile of z_i·z_j/τ in the workspace, −∞ where an item meets itself."""
    left, right = scaled[rows], z[columns]
    scores = torch.mm(left, right.mT, out=workspace[: len(left) * len(right)].view(len(left), len(right)))
    if rows == columns:
        scores.fill_diagonal_(float("-inf"))
    return scores


def _workspace(z: Tensor, tile: int) -> Tensor:
    return z.new_empty(min(tile, len(z)) ** 2)


def _shifted_log_sums(z: Tensor, temperature: float, tile: int) -> Tensor:
    sums, workspace, scaled, shift = z.new_zeros(len(z)), _workspace(z, tile), z / temperature, 1.0 / temperature
    for rows, columns in _tile_pairs(len(z), tile):
        weights = _scores(scaled, z, rows, columns, workspace).sub_(shift).exp_()
        sums[rows] += weights.sum(dim=1)
        if rows != columns:
            sums[columns] += weights.sum(dim=0)
    return sums.log_().add_(shift)


def _running_log_sums(z: Tensor, temperature: float, tile: int) -> Tensor:
    push, workspace, scaled = z.new_full((len(z),), float("-inf")), _workspace(z, tile), z / temperature
    for rows, columns in _tile_pairs(len(z), tile):
        scores = _scores(scaled, z, rows, columns, workspace)
        push[rows] = torch.logaddexp(push[rows], scores.logsumexp(dim=1))
        if rows != columns:
            push[columns] = torch.logaddexp(push[columns], scores.logsumexp(dim=0))
    return push


def _shifted_gradient(z: Tensor, push: Tensor, upstream: Tensor, temperature: float, tile: int) -> Tensor:
    gradient, workspace, scaled, shift = torch.zeros_like(z), _workspace(z, tile), z / temperature, 1.0 / temperature
    a = upstream * (shift - push).exp()
    for rows, columns in _tile_pairs(len(z), tile):
        weights = _scores(scaled, z, rows, columns, workspace).sub_(shift).exp_()
        weights.mul_(a[rows].unsqueeze(1) + a[columns].unsqueeze(0))
        _add_products(gradient, weights, scaled, rows, columns)
    return gradient


def _row_gradient(z: Tensor, push: Tensor, upstream: Tensor, temperature: float, tile: int) -> Tensor:
    """At a low temperature exp(−push_i) alone overflows: exp(s − push_i) and exp(s − push_j), each ≤ 1, are taken
    apart.
    """
    gradient, workspace, scaled = torch.zeros_like(z), _workspace(z, tile), z / temperature
    for rows, columns in _tile_pairs(len(z), tile):
        scores = _scores(scaled, z, rows, columns, workspace)
        weights = (scores - push[rows].unsqueeze(1)).exp_().mul_(upstream[rows].unsqueeze(1))
        weights += scores.sub_(push[columns].unsqueeze(0)).exp_().mul_(upstream[columns].unsqueeze(0))
        _add_products(gradient, weights, scaled, rows, columns)
    return gradient


def _add_products(gradient: Tensor, weights: Tensor, scaled: Tensor, rows: slice, columns: slice) -> None:
    gradient[rows].addmm_(weights, scaled[columns])
    if rows != columns:
        gradient[columns].addmm_(weights.mT, scaled[rows])

"""push in tiles of torch's own products: exact, O(N·d) memory forward and backward, never an N×N tensor.

S_ij = z_i·z_j/τ is symmetric, so tiles i ≤ j serve rows and columns alike: N²d flops forward and 3N²d backward, not
2N²d and 6N²d. Several processes share the tiles out among themselves.
"""

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mscon.contrast.precision import Precision, products
from mscon.contrast.ranks import Ranks

TILE = 512
"""Rows of a tile: 512² float32 scores are 1 MiB, of which two fit into a core's second-level cache (measured in
docs/performance.md).
"""

PLAIN_FROM = 0.025
"""At this temperature and above, exp(s) of any score |s| ≤ 1/τ = 40 and sums of such are normal float32 numbers."""


def tiled_push(
    heads: Sequence[Float[Tensor, "_ _"]],
    *,
    temperatures: Sequence[float],
    precisions: Sequence[Precision] | None = None,
    ranks: Ranks | None = None,
    tile: int = TILE,
) -> list[Float[Tensor, " _"]]:
    """push_i = log Σ_{j≠i} exp(z_i·z_j / τ) of several heads, each in O(N·d + tile²) memory.

    With a_i = upstream_i · exp(−push_i) the gradient is (1/τ) Σ_{j≠i} exp(z_i·z_j/τ) (a_i + a_j) z_j; the scores are
    computed anew in the backward pass. Differentiable once.

    **Arguments:**

    - `heads`: N_c unit rows each, float32 or float64; |z_i·z_j| ≤ 1 is what makes exp safe as it is.
    - `temperatures`: τ > 0 of each; below 0.025, where exp could overflow, sums are kept as logarithms.
    - `precisions`: of each head's products; its own dtype's when left out.
    - `ranks`: the processes that all hold these same rows. Each works through its share of the tiles; values are
      whole, while the gradient is a share, of which the sum over the processes is the gradient of the sum of their
      totals.
    - `tile`: rows of a tile; fewer where several processes would find too few tiles to share out.

    **Returns:** one value per row of each head, in its dtype; −∞ for a head of one row, whose gradient is 0.
    """
    precisions = precisions or ["float64" if z.dtype == torch.float64 else "float32" for z in heads]
    if ranks:  # enough tiles that shares come out about even
        tile = max(1, min(tile, max((len(z) for z in heads), default=0) // (2 * ranks.size)))
    settings = list(zip(temperatures, precisions, strict=True))
    return list(_TiledPush.apply(settings, ranks, tile, *heads))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportArgumentType]


class _TiledPush(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, settings: list[tuple[float, Precision]], ranks: Ranks | None, tile: int, *heads: Tensor
    ) -> tuple[Tensor, ...]:
        heads = tuple(z.contiguous() for z in heads)
        pushes: list[Tensor] = []
        for z, (temperature, precision) in zip(heads, settings, strict=True):
            with products(z.device, precision):
                if temperature >= PLAIN_FROM:
                    sums = _sums(z, temperature, tile, ranks)
                    pushes.append((ranks.sum(sums) if ranks else sums).log_())
                else:
                    logs = _log_sums(z, temperature, tile, ranks)
                    pushes.append(_log_sum_over(ranks, logs) if ranks else logs)
        ctx.save_for_backward(*heads, *pushes)
        ctx.settings, ctx.ranks, ctx.tile = settings, ranks, tile
        return tuple(pushes)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():  # as under create_graph=True; autograd alone would return a wrong second derivative
            raise RuntimeError("the tiled engine is differentiable once: take engine='dense' for second derivatives")
        count = len(upstream)
        heads, pushes = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        gradients: list[Tensor] = []
        for z, push, up, (temperature, precision) in zip(heads, pushes, upstream, ctx.settings, strict=True):
            up = ctx.ranks.sum(up) if ctx.ranks else up
            push = push.where(push > -inf, inf)  # a row alone in its head has no weights
            with products(z.device, precision):
                gradient = _gradient if temperature >= PLAIN_FROM else _gradient_of_logs
                gradients.append(gradient(z, push, up, temperature, ctx.tile, ctx.ranks).div_(temperature))
        return None, None, None, *gradients


def _tiles(blocks: int, ranks: Ranks | None) -> Iterator[tuple[int, int]]:
    """Blocks of rows and of columns of the tiles on and above the diagonal; of several processes, each takes every
    size-th.
    """
    pairs = ((i, j) for i in range(blocks) for j in range(i, blocks))
    return (pair for k, pair in enumerate(pairs) if ranks is None or k % ranks.size == ranks.rank)


class _Scores:
    """z_i·z_j/τ tile by tile, in room for two tiles that is used over and over: fresh memory for each would cost more
    than the arithmetic in it.
    """

    def __init__(self, z: Tensor, temperature: float, tile: int):
        self.z = _blocks(z, tile)
        self.z_transposed = [each.mT for each in self.z]
        self.scale = 1.0 / temperature
        self.room = z.new_empty(2, min(tile, len(z)) ** 2)

    def tile(self, i: int, j: int) -> tuple[Tensor, Tensor]:
        """The scores, −∞ where an item meets itself; and a second tile of the same shape, not filled."""
        left, right = self.z[i], self.z_transposed[j]
        rows, columns = len(left), right.shape[1]
        scores, spare = self.room[:, : rows * columns].view(2, rows, columns)
        torch.addmm(scores, left, right, beta=0, alpha=self.scale, out=scores)
        if i == j:
            scores.fill_diagonal_(-inf)
        return scores, spare


def _blocks(values: Tensor, tile: int) -> list[Tensor]:
    return [values[start : start + tile] for start in range(0, len(values), tile)]


def _sums(z: Tensor, temperature: float, tile: int, ranks: Ranks | None) -> Tensor:
    whole, scores = z.new_zeros(len(z)), _Scores(z, temperature, tile)
    sums = _blocks(whole, tile)
    for i, j in _tiles(len(sums), ranks):
        weights = scores.tile(i, j)[0].exp_()
        sums[i].add_(weights.sum(dim=1))
        if i != j:
            sums[j].add_(weights.sum(dim=0))
    return whole


def _log_sums(z: Tensor, temperature: float, tile: int, ranks: Ranks | None) -> Tensor:
    whole, scores = z.new_full((len(z),), -inf), _Scores(z, temperature, tile)
    logs = _blocks(whole, tile)
    for i, j in _tiles(len(logs), ranks):
        tile_scores, _ = scores.tile(i, j)
        for block, dim in [(i, 1), (j, 0)][: 1 if i == j else 2]:
            torch.logaddexp(logs[block], tile_scores.logsumexp(dim), out=logs[block])
    return whole


def _log_sum_over(ranks: Ranks, logs: Tensor) -> Tensor:
    """log Σ exp over the processes, each having seen its share."""
    every = logs.new_zeros(ranks.size, len(logs))
    every[ranks.rank] = logs.clamp(min=torch.finfo(logs.dtype).min)  # a sum of −∞ with −∞ would be NaN
    logs = ranks.sum(every).logsumexp(dim=0)
    return logs.where(logs > torch.finfo(logs.dtype).min, -inf)


def _gradient(z: Tensor, push: Tensor, upstream: Tensor, temperature: float, tile: int, ranks: Ranks | None) -> Tensor:
    whole, scores, a = torch.zeros_like(z), _Scores(z, temperature, tile), upstream * (-push).exp()
    gradient, a_rows, a_columns = _blocks(whole, tile), _blocks(a.unsqueeze(1), tile), _blocks(a, tile)
    for i, j in _tiles(len(gradient), ranks):
        weights, spare = scores.tile(i, j)
        weights.exp_().mul_(torch.add(a_rows[i], a_columns[j], out=spare))
        _add_products(gradient, weights, scores.z, i, j)
    return whole


def _gradient_of_logs(
    z: Tensor, push: Tensor, upstream: Tensor, temperature: float, tile: int, ranks: Ranks | None
) -> Tensor:
    """At a low temperature exp(−push_i) alone overflows: exp(s − push_i) and exp(s − push_j), each ≤ 1, are taken
    apart.
    """
    whole, scores = torch.zeros_like(z), _Scores(z, temperature, tile)
    gradient, pushes, upstreams = _blocks(whole, tile), _blocks(push, tile), _blocks(upstream, tile)
    for i, j in _tiles(len(gradient), ranks):
        weights, spare = scores.tile(i, j)
        torch.sub(weights, pushes[i].unsqueeze(1), out=spare).exp_().mul_(upstreams[i].unsqueeze(1))
        weights.sub_(pushes[j]).exp_().mul_(upstreams[j]).add_(spare)
        _add_products(gradient, weights, scores.z, i, j)
    return whole


def _add_products(gradient: list[Tensor], weights: Tensor, z: list[Tensor], i: int, j: int) -> None:
    gradient[i].addmm_(weights, z[j])
    if i != j:
        gradient[j].addmm_(weights.mT, z[i])

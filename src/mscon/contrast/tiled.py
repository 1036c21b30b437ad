"""push in tiles of torch's own products: exact, O(N·d) memory forward and backward, never an N×N tensor.

S_ij = z_i·z_j/τ is symmetric, so tiles i ≤ j serve rows and columns alike: N²d flops forward and 3N²d backward, not
2N²d and 6N²d. So is a kernel k_ij on labels, and where the targets are one, the same tiles give pull and floor. Several
processes share the tiles out among themselves.
"""

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mscon.contrast.kernel_targets import KernelTargets
from mscon.contrast.precision import Precision, products
from mscon.contrast.ranks import Ranks

TILE_ROWS = 512
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
    tile: int = TILE_ROWS,
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
    return [push for push, _, _ in _tiled(heads, [None] * len(heads), temperatures, precisions, ranks, tile)]


class PushPull(NamedTuple):
    """Of one head with kernel targets: push and pull of each row, and the least value that push − pull can take."""

    push: Float[Tensor, " _"]
    pull: Float[Tensor, " _"]
    floor: Float[Tensor, " _"]


def tiled_push_pull(
    heads: Sequence[Float[Tensor, "_ _"]],
    kernels: Sequence[KernelTargets],
    *,
    temperatures: Sequence[float],
    precisions: Sequence[Precision] | None = None,
    ranks: Ranks | None = None,
    tile: int = TILE_ROWS,
) -> list[PushPull]:
    """push as `tiled_push`, and pull toward kernel targets, in one pass.

        pull_i = Σ_j q_ij z_i·z_j/τ      q_ij = k_ij / Σ_l k_il      floor_i = H(q_i) = log Σ_j k_ij − Σ_j q_ij log k_ij

    With b_i = upstream_i / Σ_j k_ij the gradient of pull is (1/τ) Σ_j k_ij (b_i + b_j) z_j.

    **Arguments:** as `tiled_push`; `kernels` are the targets of each head, over its rows.

    **Returns:** push, pull and floor of each head, floor without gradient; pull and floor mean nothing in rows that are
    `far` (their k_ij underflow), whose targets are `nearest`.
    """
    return _tiled(heads, kernels, temperatures, precisions, ranks, tile)


def _tiled(
    heads: Sequence[Tensor],
    kernels: Sequence[KernelTargets | None],
    temperatures: Sequence[float],
    precisions: Sequence[Precision] | None,
    ranks: Ranks | None,
    tile: int,
) -> list[PushPull]:
    precisions = precisions or ["float64" if z.dtype == torch.float64 else "float32" for z in heads]
    if ranks:  # enough tiles that shares come out about even
        tile = max(1, min(tile, max(len(z) for z in heads) // (2 * ranks.size)))
    settings = list(zip(temperatures, precisions, kernels, strict=True))
    outputs: tuple[Tensor, ...] = _Tiled.apply(settings, ranks, tile, *heads)  # pyright: ignore[reportUnknownMemberType, reportAssignmentType]
    return [PushPull(*outputs[c :: len(heads)]) for c in range(len(heads))]


class _Tiled(torch.autograd.Function):
    """Outputs: push of every head, then pull of every head, then floor of every head; empty without a kernel."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        settings: list[tuple[float, Precision, KernelTargets | None]],
        ranks: Ranks | None,
        tile: int,
        *heads: Tensor,
    ) -> tuple[Tensor, ...]:
        heads = tuple(z.contiguous() for z in heads)
        pushes: list[Tensor] = []
        of_kernels: list[tuple[Tensor, Tensor, Tensor]] = []
        for z, (temperature, precision, targets) in zip(heads, settings, strict=True):
            kernel = _Kernel(targets, z, tile) if targets else None
            with products(z.device, precision):
                if temperature >= PLAIN_FROM:
                    sums = _sums(z, temperature, tile, ranks, kernel)
                    pushes.append((ranks.sum(sums) if ranks else sums).log_())
                else:
                    logs = _log_sums(z, temperature, tile, ranks, kernel)
                    pushes.append(_log_sum_over(ranks, logs) if ranks else logs)
            nothing = z.new_empty(0)
            of_kernels.append(kernel.pull_and_floor(ranks) if kernel else (nothing, nothing, nothing))
        pulls, floors, nears = zip(*of_kernels, strict=True)
        ctx.save_for_backward(*heads, *pushes, *nears)
        ctx.settings, ctx.ranks, ctx.tile = settings, ranks, tile
        ctx.mark_non_differentiable(*floors)
        return *pushes, *pulls, *floors

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():  # as under create_graph=True; autograd alone would return a wrong second derivative
            raise RuntimeError("the tiled engine is differentiable once: take engine='dense' for second derivatives")
        count = len(upstream) // 3
        saved = [ctx.saved_tensors[start : start + count] for start in range(0, 3 * count, count)]
        gradients: list[Tensor] = []
        each = zip(*saved, upstream[:count], upstream[count : 2 * count], ctx.settings, strict=True)
        for z, push, near, up, of_pull, (temperature, precision, targets) in each:
            if ctx.ranks:
                up, of_pull = ctx.ranks.sum(up), ctx.ranks.sum(of_pull)
            push = push.where(push > -inf, inf)  # a row alone in its head has no weights
            kernel = _Kernel(targets, z, ctx.tile, b=of_pull / near) if targets else None
            with products(z.device, precision):
                gradient = _gradient if temperature >= PLAIN_FROM else _gradient_of_logs
                gradients.append(gradient(z, push, up, temperature, ctx.tile, ctx.ranks, kernel).div_(temperature))
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


def _sums(z: Tensor, temperature: float, tile: int, ranks: Ranks | None, kernel: "_Kernel | None") -> Tensor:
    whole, scores = z.new_zeros(len(z)), _Scores(z, temperature, tile)
    sums = _blocks(whole, tile)
    for i, j in _tiles(len(sums), ranks):
        weights, spare = scores.tile(i, j)
        if kernel:
            kernel.observe(i, j, weights, spare)
        weights.exp_()
        sums[i].add_(weights.sum(dim=1))
        if i != j:
            sums[j].add_(weights.sum(dim=0))
    return whole


def _log_sums(z: Tensor, temperature: float, tile: int, ranks: Ranks | None, kernel: "_Kernel | None") -> Tensor:
    whole, scores = z.new_full((len(z),), -inf), _Scores(z, temperature, tile)
    logs = _blocks(whole, tile)
    for i, j in _tiles(len(logs), ranks):
        tile_scores, spare = scores.tile(i, j)
        if kernel:
            kernel.observe(i, j, tile_scores, spare)
        for block, dim in [(i, 1), (j, 0)][: 1 if i == j else 2]:
            torch.logaddexp(logs[block], tile_scores.logsumexp(dim), out=logs[block])
    return whole


def _log_sum_over(ranks: Ranks, logs: Tensor) -> Tensor:
    """log Σ exp over the processes, each having seen its share."""
    every = logs.new_zeros(ranks.size, len(logs))
    every[ranks.rank] = logs.clamp(min=torch.finfo(logs.dtype).min)  # a sum of −∞ with −∞ would be NaN
    logs = ranks.sum(every).logsumexp(dim=0)
    return logs.where(logs > torch.finfo(logs.dtype).min, -inf)


def _gradient(
    z: Tensor,
    push: Tensor,
    upstream: Tensor,
    temperature: float,
    tile: int,
    ranks: Ranks | None,
    kernel: "_Kernel | None",
) -> Tensor:
    whole, scores, a = torch.zeros_like(z), _Scores(z, temperature, tile), upstream * (-push).exp()
    gradient, a_rows, a_columns = _blocks(whole, tile), _blocks(a.unsqueeze(1), tile), _blocks(a, tile)
    for i, j in _tiles(len(gradient), ranks):
        weights, spare = scores.tile(i, j)
        weights.exp_().mul_(torch.add(a_rows[i], a_columns[j], out=spare))
        if kernel:
            kernel.add_weights(i, j, weights, spare)
        _add_products(gradient, weights, scores.z, i, j)
    return whole


def _gradient_of_logs(
    z: Tensor,
    push: Tensor,
    upstream: Tensor,
    temperature: float,
    tile: int,
    ranks: Ranks | None,
    kernel: "_Kernel | None",
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
        if kernel:
            kernel.add_weights(i, j, weights, spare)
        _add_products(gradient, weights, scores.z, i, j)
    return whole


class _Kernel:
    """k_ij tile by tile: sums over it on the way forward, weights b_i + b_j times it on the way back."""

    def __init__(self, targets: KernelTargets, z: Tensor, tile: int, b: Tensor | None = None):
        self.period, self.narrow = targets.period, 0.5 / targets.bandwidth**2
        self.widest = 1e4 * targets.bandwidth  # where k is 0 already, and a square still a number
        values = targets.values if targets.fine else targets.centred(z.dtype)
        self.rows, self.columns = _blocks(values.unsqueeze(1), tile), _blocks(values, tile)
        self.room = z.new_empty(min(tile, len(z)) ** 2)
        self.sums = z.new_zeros(3, len(z))  # Σ k, Σ k·s and Σ k·log k, with log k = −Δ²/2h²
        if b is not None:
            self.b_rows, self.b_columns = _blocks(b.unsqueeze(1), tile), _blocks(b, tile)

    def observe(self, i: int, j: int, scores: Tensor, spare: Tensor) -> None:
        """Sums over one tile of scores, which are −∞ where an item meets itself; `spare` is overwritten."""
        logs = self._logs(i, j, scores)
        near = torch.exp(logs, out=spare)
        if i == j:
            near.fill_diagonal_(0.0)
        self._add(0, i, j, near)
        self._add(2, i, j, logs.mul_(near))
        products = torch.mul(near, scores, out=logs)
        if i == j:
            products.fill_diagonal_(0.0)  # 0 times −∞
        self._add(1, i, j, products)

    def add_weights(self, i: int, j: int, weights: Tensor, spare: Tensor) -> None:
        """weights += k_ij (b_i + b_j)."""
        near = self._logs(i, j, weights).exp_()
        if i == j:
            near.fill_diagonal_(0.0)
        weights.addcmul_(near, torch.add(self.b_rows[i], self.b_columns[j], out=spare))

    def pull_and_floor(self, ranks: Ranks | None) -> tuple[Tensor, Tensor, Tensor]:
        """Of all rows, and the sums Σ_j k_ij that they were divided by."""
        near, pulled, logs = ranks.sum(self.sums) if ranks else self.sums
        near = near.clamp(min=torch.finfo(near.dtype).tiny)
        return pulled / near, near.log() - logs / near, near

    def _logs(self, i: int, j: int, like: Tensor) -> Tensor:
        """−Δ²/2h²."""
        gap = torch.sub(self.rows[i], self.columns[j], out=self.room[: like.numel()].view_as(like))
        if self.period is not None:
            gap = torch.minimum(gap.abs_(), self.period - gap, out=gap)
        return gap.clamp_(-self.widest, self.widest).square_().mul_(-self.narrow)

    def _add(self, which: int, i: int, j: int, tile: Tensor) -> None:
        sums = self.sums[which]
        start_i, start_j = i * len(self.rows[0]), j * len(self.rows[0])
        sums[start_i : start_i + tile.shape[0]].add_(tile.sum(dim=1))
        if i != j:
            sums[start_j : start_j + tile.shape[1]].add_(tile.sum(dim=0))


def _add_products(gradient: list[Tensor], weights: Tensor, z: list[Tensor], i: int, j: int) -> None:
    gradient[i].addmm_(weights, z[j])
    if i != j:
        gradient[j].addmm_(weights.mT, z[i])

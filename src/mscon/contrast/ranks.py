"""One batch over several processes: gather what each of them holds, and lead gradients back to their owners."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

import torch
import torch.distributed as dist
from jaxtyping import Float, Int, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """The processes that share a batch, as torch.distributed numbers them.

    - `rank`, `size`: this process, and how many there are.
    """

    rank: int
    size: int

    @classmethod
    def here(cls) -> "Ranks | None":
        """The processes of torch.distributed's default group; None when there is no group, or only one process."""
        if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
            return None
        return cls(rank=dist.get_rank(), size=dist.get_world_size())

    def shares(self, count: int, device: torch.device) -> "Shares":
        """How many rows each process holds, this one `count`; a collective call, as all below."""
        counts = torch.zeros(self.size, dtype=torch.int64, device=device)
        counts[self.rank] = count
        return Shares(self, tuple(as_integers(self.sum(counts))))

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, without gradient."""
        values = values.detach().clone()
        dist.all_reduce(values)
        return values

    def sum_of_shares(self, values: Tensor) -> Tensor:
        """The sum over all processes, the same bits on each; its gradient is that of this process's own summand."""
        total: Tensor = _SumOfShares.apply(self, values)  # pyright: ignore[reportUnknownMemberType, reportAssignmentType]
        return total


@dataclass(frozen=True)
class Shares:
    """A batch's rows, process after process: process r holds `counts[r]` of them; counts may differ, and be 0."""

    ranks: Ranks
    counts: tuple[int, ...]

    @property
    def own(self) -> slice:
        """Where this process's rows lie in the whole batch."""
        return _slices(self.counts)[self.ranks.rank]

    def gather(self, parts: Sequence[Shaped[Tensor, "n ..."]]) -> list[Tensor]:
        """The whole batch of each tensor, from this process's rows of it; no gradient. One collective per dtype."""
        whole: dict[int, Tensor] = {}
        for dtype in {each.dtype: None for each in parts}:  # in the same order on every process
            places = [k for k, each in enumerate(parts) if each.dtype == dtype]
            flat = [parts[k].flatten(1) if parts[k].ndim > 1 else parts[k].unsqueeze(1) for k in places]
            gathered = self._gathered(torch.cat(flat, dim=1))
            for k, columns in zip(places, _slices([each.shape[1] for each in flat]), strict=True):
                whole[k] = gathered[:, columns].reshape(-1, *parts[k].shape[1:]).contiguous()
        return [whole[k] for k in range(len(parts))]

    def gather_projections(self, parts: Sequence[Float[Tensor, "n _"]]) -> list[Float[Tensor, "_ _"]]:
        """The same for floats that carry gradients.

        Every process is taken to compute its own summand of one total. The gradient that comes back to a process's
        rows is the sum over all processes, times their number: what `DistributedDataParallel` then averages over the
        processes is the gradient that one process would have had.
        """
        whole: tuple[Tensor, ...] = _Gather.apply(self, *parts)  # pyright: ignore[reportUnknownMemberType, reportAssignmentType]
        return list(whole)

    def sum_to_owners(self, whole: Float[Tensor, "all d"]) -> Float[Tensor, "n d"]:
        """This process's rows of the sum over all processes; no gradient."""
        longest = max(self.counts)
        padded = whole.new_zeros(self.ranks.size, longest, whole.shape[1])
        for rank, rows in enumerate(_slices(self.counts)):
            padded[rank, : self.counts[rank]] = whole[rows]
        part = whole.new_empty(longest, whole.shape[1])
        dist.reduce_scatter_tensor(part, padded.flatten(0, 1))
        return part[: self.counts[self.ranks.rank]]

    def _gathered(self, part: Tensor) -> Tensor:
        longest = max(self.counts)
        padded = part.new_zeros(longest, part.shape[1])
        padded[: len(part)] = part
        whole = part.new_empty(self.ranks.size, longest, part.shape[1])
        dist.all_gather_into_tensor(whole.flatten(0, 1), padded)
        return torch.cat([whole[rank, :count] for rank, count in enumerate(self.counts)])


class _SumOfShares(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ranks: Ranks, values: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ranks.sum(values)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[None, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return None, upstream


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shares: Shares, *parts: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.shares = shares
        return tuple(shares.gather(parts))

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():  # the collective below would cut the graph without a word
            raise RuntimeError("a batch over several processes is differentiable once: take one process")
        shares: Shares = ctx.shares
        # One collective for all; where float32 and float64 meet, in float64.
        mine = shares.sum_to_owners(torch.cat(upstream, dim=1)) * shares.ranks.size
        columns = _slices([each.shape[1] for each in upstream])
        return None, *(mine[:, column].to(each.dtype) for column, each in zip(columns, upstream, strict=True))


def as_integers(values: Int[Tensor, " n"]) -> list[int]:
    """The numbers in a tensor; its device is waited for once."""
    return cast("list[int]", values.tolist())  # pyright: ignore[reportUnknownMemberType]


def _slices(counts: Sequence[int]) -> list[slice]:
    """Where each of several parts lies when they stand one after the other."""
    ends = list(accumulate(counts))
    return [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]

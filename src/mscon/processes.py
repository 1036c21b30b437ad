"""Several processes that train together, as torchrun starts them: what one of them finds, all have to know."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mscon.errors import ToldElsewhere, UserError, first_line
from mscon.lightning import Fabric

Result = TypeVar("Result")


def highest(fabric: Fabric, number: int) -> int:
    """The highest of all processes' numbers; a collective call, as all below."""
    found = fabric.all_reduce(torch.tensor(number, device=fabric.device), reduce_op="max")
    return int(cast(Tensor, found))


def any_process(fabric: Fabric, answer: bool) -> bool:
    """Whether any process answers yes."""
    return bool(highest(fabric, int(answer)))


def each_process(fabric: Fabric, work: Callable[[], Result]) -> Result:
    """What `work` returns on this process; the first process does it before the others.

    **Raises:** a `UserError` of one process on all of them, so that none waits for one that is gone; on those that
    another one speaks for, as `ToldElsewhere`.
    """
    result, mistake = None, None
    with fabric.rank_zero_first():
        try:
            result = work()
        except UserError as error:
            mistake = error
    mistakes: list[UserError | None] = [mistake] * fabric.world_size
    if fabric.world_size > 1:
        dist.all_gather_object(mistakes, mistake)
    for rank, each in enumerate(mistakes):
        if each:
            raise each if rank == fabric.global_rank else ToldElsewhere(str(each))
    return cast(Result, result)


@contextmanager
def lost_connection_told(fabric: Fabric) -> Iterator[None]:
    """**Raises** `UserError` for a lost connection, in place of an error from the depths of the network."""
    try:
        yield
    except RuntimeError as error:  # also torch's own DistError
        lost = isinstance(error, dist.DistError) or "/gloo/" in str(error)
        if fabric.world_size == 1 or not lost:
            raise
        reason = first_line(error).split("] ", 1)[-1].split(". ")[0]
        raise UserError(
            f"the connection to another process was lost ({reason}): it has ended, was killed, or its machine is gone."
            " A message above or below says which. Start all of them again with --resume (torchrun --max-restarts does)"
        ) from error


def share_buffers(fabric: Fabric, model: nn.Module) -> None:
    """Give the first process's buffers, such as running statistics, to all."""
    if fabric.world_size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)

"""Real processes for tests of what several of them do together."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn


def in_processes(work: Callable[..., Any], size: int, folder: Path, *arguments: Any) -> list[Any]:
    """What `work(rank, *arguments)` returns in each of `size` gloo processes, by rank; both must pickle."""
    store = folder / f"store-{size}"
    spawn(_run, args=(work, size, store, arguments), nprocs=size)
    return [torch.load(_answer(store, rank)) for rank in range(size)]


def _run(rank: int, work: Callable[..., Any], size: int, store: Path, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    soon = timedelta(seconds=60)  # a deadlock ends
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size, timeout=soon)
    try:
        torch.save(work(rank, *arguments), _answer(store, rank))
    finally:
        dist.destroy_process_group()


def _answer(store: Path, rank: int) -> Path:
    return store.with_name(f"{store.name}-answer-{rank}")

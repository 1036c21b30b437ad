"""The processes that torchrun has started, connected, also when it has started them again."""

import atexit
import os
from datetime import timedelta

import torch.distributed as dist

from mscon.errors import UserError

FRESH_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
"""Set to 1, torchrun opens a new store whenever it starts processes again."""


def connect(backend: str, *, seconds: float) -> None:
    """Connect all processes; a collective operation ends with an error after so many seconds.

    After a restart torchrun's store still holds the addresses of the processes that are gone, which the new ones would
    wait for (torch 2.15). On one machine the count of restarts tells the new from the old; on several it differs
    from machine to machine, and a new store is asked for.

    **Raises:** `UserError` where that was not done.
    """
    several, restarts = int(os.environ.get("GROUP_WORLD_SIZE", "1")) > 1, os.environ.get("TORCHELASTIC_MAX_RESTARTS")
    if several and restarts not in (None, "0") and os.environ.get(FRESH_STORE) != "1":
        raise UserError(
            f"--max-restarts={restarts} on several machines needs {FRESH_STORE}=1 in torchrun's environment on each, or"
            " restarted processes would look for those that are gone"
        )
    rank, size, limit = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), timedelta(seconds=seconds)
    hosts = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    dist.init_process_group(
        backend, store=store("processes", limit, hosts=hosts), rank=rank, world_size=size, timeout=limit
    )
    atexit.register(_disconnect)


def store(name: str, limit: timedelta, *, hosts: bool = False) -> dist.Store:  # pyright: ignore[reportPrivateImportUsage]
    """The one that the processes meet through, over a connection of its own: others may hold theirs for long."""
    several = int(os.environ.get("GROUP_WORLD_SIZE", "1")) > 1
    restarts = "" if several else os.environ.get("TORCHELASTIC_RESTART_COUNT", "")
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return dist.PrefixStore(f"mscon-{name}-{restarts}", dist.TCPStore(address, port, is_master=hosts, timeout=limit))  # pyright: ignore[reportPrivateImportUsage]


def _disconnect() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()

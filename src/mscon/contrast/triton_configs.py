"""How the Triton kernels are cut up: a few ways to, and the choice of the fastest that fits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch

HOPPER_SHARED = 227 * 1024
"""Shared memory that one program can have on compute capability 9.0, in bytes."""

OTHER_REGISTERS = 32
"""Addresses, vectors and counters of one thread, about: with it, what fits has next to no local memory in its loop."""

TUNING_ROWS = 131072
"""Rows of each head that a configuration is timed on, against all columns. Of fewer, some configurations would leave
most multiprocessors idle at the end: 64 rows and three programs on each of 132 make 25,344 at a time.
"""


@dataclass(frozen=True)
class Config:
    """Rows and columns of a tile of scores, warps, column blocks in flight, and the most registers of a thread."""

    rows: int
    columns: int
    warps: int
    stages: int
    registers: int = 255

    def fits(self, width: int, limbs: int, *, accumulator: int, tiles: int, shared_limit: int) -> bool:
        """Whether a program's own rows and the blocks in flight fit into shared memory; and into the registers an
        accumulator of so many columns, so many tiles of the size of the scores, and `OTHER_REGISTERS`.
        """
        shared = 2 * width * limbs * (self.rows + self.stages * self.columns) + 16 * self.stages * self.columns
        held = self.rows * (accumulator + tiles * self.columns) // (32 * self.warps)
        return shared <= shared_limit and held + OTHER_REGISTERS <= self.registers

    @property
    def arguments(self) -> dict[str, int]:
        """As a kernel takes them."""
        return {
            "ROWS": self.rows,
            "COLUMNS": self.columns,
            "STAGES": self.stages,
            "num_warps": self.warps,
            "num_stages": self.stages,
            "maxnreg": self.registers,
        }


# The first that fits is what runs where nothing may be timed.
PUSH_CONFIGS = (
    Config(128, 64, 8, 3, 128),
    Config(256, 64, 8, 3, 128),
    Config(128, 128, 8, 2, 128),
    Config(128, 64, 4, 2, 152),
    Config(128, 64, 8, 2),
    Config(64, 64, 4, 2),
    Config(64, 32, 4, 2),
)
GRADIENT_CONFIGS = (
    Config(64, 64, 4, 3, 168),
    Config(128, 32, 8, 4, 128),
    Config(64, 32, 4, 4, 128),
    Config(64, 128, 4, 2),
    Config(128, 64, 8, 3),
    Config(64, 32, 4, 2),
    Config(64, 64, 4, 2),
    Config(128, 64, 8, 2),
)

_fastest: dict[tuple[object, ...], Config] = {}


def fitting(
    configs: tuple[Config, ...], *, width: int, limbs: int, kernel: bool, shared_limit: int = HOPPER_SHARED
) -> list[Config]:
    """Those that fit, with a tile of scores per limb and one for kernel targets; the gradient holds one more, and an
    accumulator as wide as z.
    """
    accumulator, tiles = (width, 1 + limbs) if configs is GRADIENT_CONFIGS else (0, limbs)
    needs = {"accumulator": accumulator, "tiles": tiles + kernel, "shared_limit": shared_limit}
    return [config for config in configs if config.fits(width, limbs, **needs)]


def fastest(
    choices: list[Config], launch: Callable[[Config], None], key: tuple[object, ...], failure: type[Exception]
) -> Config:
    """The one of the choices whose launch takes the shortest time, measured once per process for every key.

    Where results must be the same bits in every run (torch's deterministic algorithms), the first without timing.
    `failure` is raised for a choice that the device cannot launch after all.
    """
    if len(choices) == 1 or torch.are_deterministic_algorithms_enabled():
        return choices[0]
    if key not in _fastest:
        _fastest[key] = min(choices, key=lambda config: _milliseconds(lambda: launch(config), failure))
    return _fastest[key]


def shared_bytes(device: torch.device) -> int:
    """Shared memory that one program can have on this CUDA device."""
    return int(cast(Any, torch.cuda).get_device_properties(device).shared_memory_per_block_optin)


def _milliseconds(work: Callable[[], None], failure: type[Exception]) -> float:
    """The shortest of three runs, after one that compiles."""
    try:
        work()
    except failure:
        return float("inf")
    times: list[float] = []
    for _ in range(3):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop))
    return min(times)

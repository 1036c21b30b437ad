"""Processes that train together tell one another how far they are; where one hangs, the others name it and end."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Thread
from time import monotonic, sleep
from typing import NamedTuple

import torch.distributed as dist

from mscon.connect import store
from mscon.errors import UserError
from mscon.lightning import Fabric
from mscon.words import listed

VARIABLE = "MSCON_TIMEOUT"
USUAL = 1800.0
"""Seconds: half an hour, for steps of any size and audits that one process makes while the others wait."""

PULSE = 5.0
"""Seconds between two signs of life, at most; a quarter of the timeout where that is shorter."""

REACH = timedelta(seconds=30)
"""Of a store: what does not answer for so long is gone."""

STALLED = 1
"""Exit status of processes that have waited in vain."""


def timeout() -> float:
    """Seconds after which a step is given up, as the environment has them. **Raises** `UserError` for no number."""
    given = os.environ.get(VARIABLE, "")
    try:
        seconds = float(given or USUAL)
        if not 0 < seconds < 1e9:
            raise ValueError
    except ValueError:
        raise UserError(f"{VARIABLE} is {given!r}: give it a number of seconds above 0, such as {USUAL:g}") from None
    return seconds


@contextmanager
def heartbeats(fabric: Fabric) -> Iterator[Callable[[int], None]]:
    """Within it, a process says what step it begins by calling what is yielded. Where nothing is said for as long as
    `timeout`, those that still answer name those that do not, or are behind, and all end with `STALLED`. Before the
    first step, while images are decoded, only one that does not answer ends them.

    A collective operation knows only that somebody is missing, NCCL's not even that in time to say so: this goes by the
    store through which torchrun's processes have met, and by a thread in each.
    """
    if fabric.world_size == 1:
        yield lambda step: None
        return
    heart = _Heart(fabric.global_rank, fabric.world_size, timeout(), store("heartbeat", REACH))
    thread = Thread(target=heart.beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield heart.begin
    finally:
        heart.ended.set()
        thread.join()


class _Sign(NamedTuple):
    """Of life, from one process: how often something has begun there, its step, and how many signs it has given."""

    turn: int
    step: int
    beats: int


@dataclass(eq=False)
class _Heart:
    rank: int
    size: int
    seconds: float
    store: dist.Store  # pyright: ignore[reportPrivateImportUsage]
    step: int = 0
    turn: int = 0
    """How often something began, of which a validation has several at one step; 0 while getting ready."""
    begun: float = field(default_factory=monotonic)
    beats: int = 0
    ended: Event = field(default_factory=Event)

    @property
    def pulse(self) -> float:
        return min(PULSE, self.seconds / 4)

    def begin(self, step: int) -> None:
        self.step, self.turn, self.begun = step, self.turn + 1, monotonic()

    def beat(self) -> None:
        while not self.ended.wait(self.pulse):
            try:
                self._tell()
                if monotonic() - self.begun > self.seconds:
                    self._give_up()
            except dist.DistError as error:  # the store went with the process or the machine that held it
                if monotonic() - self.begun > self.seconds:
                    self._end(f"the store that the processes met through does not answer ({error})", speaks=True)

    def _tell(self) -> None:
        self.beats += 1
        self.store.set(str(self.rank), f"{self.turn} {self.step} {self.beats}")

    def _heard(self) -> list[_Sign]:
        """What every process has said last."""
        there = [self.store.check([str(rank)]) for rank in range(self.size)]  # one that never spoke has no entry
        told = [self.store.get(str(rank)).decode() if there[rank] else "0 0 0" for rank in range(self.size)]
        return [_Sign(*map(int, each.split())) for each in told]

    def _give_up(self) -> None:
        before = self._heard()
        for _ in range(3):
            sleep(self.pulse)
            self._tell()
        now = self._heard()
        if max(each.turn for each in now) > max(each.turn for each in before):
            return  # what had begun has ended after all
        silent = [rank for rank in range(self.size) if now[rank].beats == before[rank].beats]
        answering = [rank for rank in range(self.size) if rank not in silent]
        furthest = max(now[rank].turn for rank in answering)
        behind = [rank for rank in answering if now[rank].turn < furthest]
        if silent:
            cause = f"{_processes(silent)} not answer: stopped, out of memory, or cut off with the machine or network"
        elif now[self.rank].turn == 0:
            self.begun = monotonic()  # which takes as long as it takes
            return
        elif behind:
            last = min((now[rank] for rank in behind), key=lambda sign: sign.turn)
            where = f"at step {last.step:,}" if last.turn else "getting ready"
            cause = f"{_processes(behind)} not come along, still {where}"
        else:
            cause = "all answer, so the step takes longer than that, or what joins them has lost a message"
        self._end(cause, speaks=self.rank == min(set(answering) - set(behind)))

    def _end(self, cause: str, *, speaks: bool) -> None:
        waited = f"step {self.step:,} has not ended for" if self.turn else "the first step has not begun for"
        if speaks:
            print(
                f"error: {waited} {self.seconds:g} seconds: {cause}. Restart all processes"
                f" with --resume (torchrun --max-restarts does); where steps do take so long, set {VARIABLE} higher",
                file=sys.stderr,
                flush=True,
            )
        else:
            sleep(self.pulse)  # torchrun ends all as soon as one has ended: the one that speaks goes first
        os._exit(STALLED)  # the main thread is in a call that nothing ends


def _processes(ranks: list[int]) -> str:
    """ "process 1 does" or "processes 1 and 2 do"."""
    names = [str(rank) for rank in ranks]
    return f"process {names[0]} does" if len(names) == 1 else f"processes {listed(names, 'and')} do"

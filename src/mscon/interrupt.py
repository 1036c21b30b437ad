"""A stop that was asked for, by Ctrl-C or by the system, taken between two steps."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Ctrl-C; what systems and clusters send before they kill; what SLURM sends ahead of the end where --signal asks it,
which Windows does not know.
"""


class InterruptedRun(Exception):  # noqa: N818 - nothing went wrong
    """The training was asked to stop and wrote a checkpoint first; its text is the run's folder.

    - `number`: of the signal that asked.
    """

    def __init__(self, folder: Path | str, number: int):
        super().__init__(str(folder))
        self.number = number


class InterruptedRunsError(InterruptedRun):
    """The same, in the midst of several trainings, which the same command goes on with."""


@contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """Within it, a signal of `STOPS` only makes the yielded function answer its number, which is 0 until one comes; a
    SIGINT after it stops at once. Outside the main thread signals are left as they are, and the answer is 0.
    """
    asked: list[int] = []

    def ask(number: int, _: object) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = {number: signal.signal(number, ask) for number in STOPS}
    except ValueError:  # not in the main thread
        yield lambda: 0
        return
    try:
        yield lambda: asked[0] if asked else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

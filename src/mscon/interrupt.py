"""A stop that was asked for, by Ctrl-C or by the system, taken between two steps."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class InterruptedRun(Exception):  # noqa: N818 - nothing went wrong
    """The training was asked to stop and wrote a checkpoint first; its text is the run's folder."""


class InterruptedRunsError(Exception):
    """The same, in the midst of several trainings, which the same command goes on with."""


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Within it, SIGINT and SIGTERM only make the yielded function answer True; a second SIGINT stops at once."""
    asked: list[int] = []

    def ask(number: int, _: object) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, where signals are somebody else's business
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

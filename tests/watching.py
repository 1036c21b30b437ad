"""A display for tests that stop a training at a certain step, or ask what it was told."""

import os
import signal
from typing import Any

from mscon.run import Run


class Watching:
    """A display that sends this process a signal once a step was logged, and keeps what was told at the start."""

    def __init__(self, step: int | None = None, number: int = signal.SIGINT):
        self.step, self.number = step, number
        self.notes: tuple[str, ...] = ()

    def decoding(self, done: int, total: int) -> None: ...

    def started(self, run: Run, data: Any, position: object, steps: int) -> None:
        self.notes = data.notes

    def logged(self, record: dict) -> None:
        if self.step is not None and record["kind"] == "train" and record["step"] >= self.step:
            self.step = None
            os.kill(os.getpid(), self.number)

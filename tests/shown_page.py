"""A page of `mscon explore`, shown by a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mscon.run import Run


@dataclass
class Shown:
    """The page's address and, at the end, the lines that were printed last and the exit status."""

    address: str
    last: list[str] = field(default_factory=list)
    code: int | None = None


@contextmanager
def shown(run: Run, *words: str) -> Iterator[Shown]:
    """The page of a run until the end, which Ctrl-C brings about."""
    command = [sys.executable, "-m", "mscon", "explore", str(run.folder), "--port", "0", *words]
    outputs: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **outputs, env=os.environ | {"COLUMNS": "500"}) as process:
        assert process.stdout is not None
        page = Shown(next(line.split()[-1] for line in iter(process.stdout.readline, "") if "http://" in line))
        try:
            yield page
        finally:
            process.send_signal(signal.SIGINT)
            page.last = process.stdout.read().splitlines()
            page.code = process.wait(timeout=60)

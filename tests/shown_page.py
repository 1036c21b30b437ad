"""A page of `mscon explore`, shown by a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mscon.run import Run


@contextmanager
def shown(run: Run, *words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The page's address, and the process that shows it until the end."""
    command = [sys.executable, "-m", "mscon", "explore", str(run.folder), "--port", "0", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "500"})
    assert process.stdout is not None
    try:
        lines = iter(process.stdout.readline, "")
        yield next(line.split()[-1] for line in lines if "http://" in line), process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)

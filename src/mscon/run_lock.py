"""One training at a time in a run's folder."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mscon.errors import UserError

LOCK = ".lock"
"""The file that is locked; it stays, and holds the number and the machine of the process that last locked it."""


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """While no other process trains in this folder, which is made if it is not there, and removed if nothing came of
    it. The lock goes with the process that holds it, however it ends.

    **Raises:** `UserError`, at once, when another process holds it or the folder cannot be written.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        (folder / LOCK).write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
    except Timeout:
        raise UserError(
            f"{folder}: another training is at work in it{_holder(folder)}. Wait for its end, or stop it and go on with"
            " --resume, or choose another folder with --out"
        ) from None
    except OSError as error:
        lock.release()
        raise UserError(f"{folder}: cannot be written: {error.strerror}. Choose another folder with --out") from None
    try:
        yield
    finally:
        if made and [each.name for each in folder.iterdir()] == [LOCK]:
            with suppress(OSError):  # somebody put something there just now
                (folder / LOCK).unlink()
                for each in made:
                    each.rmdir()
        lock.release()


def _holder(folder: Path) -> str:
    try:
        return f" ({found})" if (found := (folder / LOCK).read_text(encoding="utf-8")) else ""
    except (OSError, ValueError):
        return ""

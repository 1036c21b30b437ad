"""Work cut into shards that any number of processes share: each is done once, and what is done stays done."""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from mscon.errors import UserError
from mscon.files import make_folder

PATIENCE, LONG = 0.5, 60.0
"""Seconds between two looks at shards that other processes have in hand, and after which somebody is told of it."""


@dataclass(frozen=True)
class Shards:
    """A folder with a file for each shard that is done, and a lock file for each that is in hand.

    A lock goes with the process that holds it, however it ends, so a shard whose process was killed is free again.

    - `folder`: made when first needed; its name tells one work from another.
    - `count`: how many shards there are.
    """

    folder: Path
    count: int

    @classmethod
    def beside(cls, out: Path, key: str, count: int) -> "Shards":
        """The shards of a file, for work that a key of hexadecimal digits tells apart. Shards of other work on the same
        file are removed, unless a process has one in hand.
        """
        other = re.compile(re.escape(f".{out.name}.") + r"[0-9a-f]+\.shards")
        folder = out.with_name(f".{out.name}.{key}.shards")
        for path in out.parent.glob(".*.shards") if out.parent.is_dir() else ():
            if other.fullmatch(path.name) and path != folder and not any(map(_held, path.glob("*.lock"))):
                shutil.rmtree(path, ignore_errors=True)
        return cls(folder, count)

    def path(self, shard: int, suffix: str = ".parquet") -> Path:
        """A shard's file: there when the shard is done."""
        return self.folder / f"{shard:06}{suffix}"

    @property
    def paths(self) -> list[Path]:
        """All shards' files, in order."""
        return [self.path(shard) for shard in range(self.count)]

    @property
    def done(self) -> int:
        """How many are done."""
        return sum(path.exists() for path in self.paths)

    def undone(self, waits: Callable[[int], None] | None = None) -> Iterator[int]:
        """Each shard that is not done, and meanwhile in hand: to be done before the next is asked for.

        Ends when all are done, by whatever process; while only others have some in hand, it waits for these, and tells
        `waits` once of how many, when that takes long: one of them may be stopped. **Raises** `UserError` when the disk
        refuses.
        """
        make_folder(self.folder)
        since = time.monotonic()
        left = [shard for shard in range(self.count) if not self.path(shard).exists()]
        while left:
            taken = False
            for shard in left:
                if not self.folder.exists():  # another process has joined them; a lock would make it again
                    return
                with _lock(self.path(shard, ".lock")) as held:
                    if held and not self.path(shard).exists():
                        taken = True
                        yield shard
                        since = time.monotonic()
            left = [shard for shard in left if not self.path(shard).exists()]
            if left and not taken:
                time.sleep(PATIENCE)
                if waits and time.monotonic() - since > LONG:
                    waits(len(left))
                    waits = None

    @contextmanager
    def closing(self) -> Iterator[bool]:
        """True for one of the processes, to make one thing of all shards, which are removed afterwards; False for the
        others, once it is made.
        """
        lock = self.folder.with_name(f"{self.folder.name}.lock")
        with FileLock(lock):
            yield self.done == self.count
            shutil.rmtree(self.folder, ignore_errors=True)
        if os.name == "posix":  # elsewhere a lock that another process waits for cannot be removed
            lock.unlink(missing_ok=True)


@contextmanager
def _lock(path: Path) -> Iterator[bool]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}. Make room or choose another folder") from None
    try:
        yield True
    finally:
        lock.release()


def _held(path: Path) -> bool:
    with _lock(path) as free:
        return not free

"""How much the caches of decoded images may take, and which of them go when there is no more room."""

import errno
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from io import IOBase
from pathlib import Path

from mscon.errors import UserError

try:
    import fcntl
except ImportError:  # Windows, which removes no file that is open
    fcntl = None

NAME = re.compile("[0-9a-f]{32}")
"""What a cache is called: its `fingerprint`. A folder may hold other things, too, and they stay."""
DRAFT = re.compile(r"\.[0-9a-f]{32}")
"""And what one that is being built."""
NEW_SECONDS, ABANDONED_SECONDS = 60, 7 * 24 * 3600
"""A draft that was written to so lately may not be marked as in use yet; one that was not for so long is dead, though
some file systems know no marks.
"""
PIXELS = "pixels.bin"
"""The file of a cache that holds the images."""
SIZE = "MSCON_CACHE_GB"
"""The environment variable that says how much they may take, in gigabytes (10⁹ bytes)."""
SHARE = 0.5
"""Of the disk that is free or taken by caches, what they may take where nothing else is said."""


def make_room(folder: Path, needed: int) -> None:
    """Remove drafts that nobody builds any more, and caches, the longest unused first and none that is open, until with
    `needed` bytes more they take no more than they may.

    **Raises:** `UserError` where that is not to be had, `OSError` where the disk could not hold it either.
    """
    drafts = [each for each in folder.iterdir() if DRAFT.fullmatch(each.name) and not _abandoned(each)]
    building, written = (sum(_size(each, of) for each in drafts) for of in (_whole, _written))
    sizes = {home: _size(home) for home in folder.iterdir() if NAME.fullmatch(home.name)}
    most = max(0, allowed(folder, sum(sizes.values()) + written) - building)
    if needed > shutil.disk_usage(folder).free - (building - written) + sum(sizes.values()):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if needed > most:
        beside = f" beside {building:,} that are being built" if building else ""
        raise UserError(
            f"The decoded images need {needed:,} bytes, and all caches in {folder} may take {most:,} together{beside}:"
            f" raise that by {SIZE}={-(-(needed + building) // 10**9)}, in gigabytes, or do without the cache:"
            " image.cache = false"
        )
    for home in sorted(sizes, key=_last_used):
        if sum(sizes.values()) + needed <= most:
            return
        if _removed(home):
            del sizes[home]
    if (taken := sum(sizes.values())) + needed > most:
        raise UserError(
            f"The decoded images need {needed:,} bytes, and of the {most:,} that all caches in {folder} may take"
            f" together, {taken:,} are in use: wait, raise that by {SIZE}, or do without the cache: image.cache = false"
        )


def allowed(folder: Path, taken: int) -> int:
    """How many bytes the caches in a folder may take. **Raises** `UserError` for a setting that is no number."""
    given = os.environ.get(SIZE)
    if given is None:
        return int(SHARE * (shutil.disk_usage(folder).free + taken))
    try:
        return int(float(given) * 1e9)
    except (ValueError, OverflowError):
        raise UserError(f"{SIZE}={given!r} is no number of gigabytes") from None


def in_use(file: IOBase) -> bool:
    """Mark an open file of a cache as in use, for as long as it, or a memory map of it, is open. False where it is
    being removed.
    """
    # A lock belongs to what was opened, and a memory map keeps that open.
    return _locked(file, shared=True)


def used_now(home: Path) -> None:
    """Remember that a cache was used."""
    with suppress(OSError):  # somebody else's
        os.utime(home)


def _removed(home: Path) -> bool:
    """Whether a cache could be removed, nobody having it open."""
    try:
        with (home / PIXELS).open("rb") as file:
            if not _locked(file, shared=False):
                return False
            shutil.rmtree(home)
    except FileNotFoundError:
        shutil.rmtree(home, ignore_errors=True)
    except OSError:
        return False
    return not home.exists()


def _abandoned(draft: Path) -> bool:
    """Whether nobody was building a draft any more, and it is gone now."""
    with suppress(OSError):  # another build may end, and its draft go, between any two of these steps
        age = time.time() - max(each.stat().st_mtime for each in (draft, *draft.iterdir()))
        if age > ABANDONED_SECONDS:
            shutil.rmtree(draft, ignore_errors=True)
        elif age > NEW_SECONDS:
            return _removed(draft)
    return not draft.exists()


def _locked(file: IOBase, *, shared: bool) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # A file system without locks: what is open may be used, and is not removed.
        return shared
    return True


def _whole(about: os.stat_result) -> int:
    return about.st_size


def _written(about: os.stat_result) -> int:
    """Of a file that has its size from the beginning, what the disk holds by now."""
    return min(about.st_size, 512 * getattr(about, "st_blocks", about.st_size))


def _size(home: Path, of: Callable[[os.stat_result], int] = _whole) -> int:
    with suppress(OSError):
        return sum(of(each.stat()) for each in home.iterdir())
    return 0


def _last_used(home: Path) -> float:
    with suppress(OSError):
        return home.stat().st_mtime
    return 0.0

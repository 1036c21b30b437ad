"""The C library's habits with freed memory, which on a CPU cost a step a sixth of its time; and the end of memory."""

import ctypes
import platform
from collections.abc import Callable, Generator
from contextlib import contextmanager

MIB = 2**20
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
"""What can be set, as glibc's malloc.h numbers it."""


_kept = False


@contextmanager
def freed_memory_kept() -> Generator[None]:
    """Within it, glibc keeps memory that is freed for what is allocated next; afterwards it gives all of it back.

    On its own glibc returns every freed block beyond 32 MiB, and the end of the heap, to the system, which clears each
    page before it hands it out again: tens of thousands of them in every step, for the same tensors as in the step
    before (`benchmarks/training.py`). Kept memory makes the peak some percents higher, as large blocks no longer fit
    into one another's gaps exactly. Where another C library is at work, nothing happens.

    The settings are the whole process's, so one within another changes nothing. On leaving the outermost they are those
    that glibc's own adaptation comes to.
    """
    global _kept
    mallopt = _mallopt()
    if mallopt is None or _kept:
        yield
        return
    _kept = True
    mallopt(MMAP_MAX, 0)  # no block has pages of its own, which go when it does
    mallopt(TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        _kept = False
        mallopt(MMAP_MAX, 65536)
        mallopt(MMAP_THRESHOLD, 32 * MIB)
        mallopt(TRIM_THRESHOLD, 64 * MIB)
        ctypes.CDLL(None).malloc_trim(0)


def _mallopt() -> Callable[[int, int], int] | None:
    return ctypes.CDLL(None).mallopt if platform.libc_ver()[0] == "glibc" else None


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out, in whatever words: Python's, numpy's, torch's, C++'s."""
    named = type(error).__name__ == "OutOfMemoryError"  # torch's for devices: this module does without torch
    said = ("can't allocate memory", "not enough memory", "bad_alloc", "bad allocation", "CUDA out of memory")
    return isinstance(error, MemoryError) or named or any(each in str(error) for each in said)

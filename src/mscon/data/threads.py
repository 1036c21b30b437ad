"""Work on many rows in threads, its results in order."""

import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_threads(work: Callable[[int], T], count: int) -> Generator[T, None, None]:
    """work(0), work(1), … work(count − 1), a few of them ahead of the one that is asked for, however many there are.

    Threads, because Pillow works outside Python's lock, and because processes cost a start and a copy of every image.
    """
    workers = thread_count()
    ahead: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for number in range(count):
            ahead.append(pool.submit(work, number))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def thread_count() -> int:
    """Four more threads than there are cores, as some of them wait for a disk or a network; at most 32."""
    return min(32, (os.cpu_count() or 1) + 4)

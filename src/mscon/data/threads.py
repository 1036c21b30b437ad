"""Work on many rows in threads, its results in order."""

import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_threads(work: Callable[[int], T], count: int, workers: int | None = None) -> Generator[T, None, None]:
    """work(0), work(1), … work(count − 1), a few of them ahead of the one that is asked for, however many there are.

    Threads, because Pillow works outside Python's lock, and because processes cost a start and a copy of every image.

    **Arguments:** `workers`: how many; left out, four more than there are cores, at most 32.
    """
    workers = workers_or_usual(workers)
    ahead: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for number in range(count):
            ahead.append(pool.submit(work, number))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def workers_or_usual(workers: int | None = None) -> int:
    """So many threads, or, left out, four more than there are cores, at most 32."""
    return workers or min(32, (os.cpu_count() or 1) + 4)

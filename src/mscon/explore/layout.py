"""Items laid out in the plane by UMAP. It is imported by a process of its own, which must start soon: numpy alone."""

import io
import os
import signal
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

NEIGHBOURS = 15
"""That UMAP keeps an item near to: its own default."""

STEPS = 200
"""Of UMAP's: its default for large catalogs. More move few points."""

FEW = 8
"""Items, up to which there are too few neighbours for UMAP: they are laid on a circle."""


def layout(
    vectors: Float32[np.ndarray, "n d"], progress: Callable[[int, int], None] = lambda done, steps: None
) -> Float32[np.ndarray, "n 2"]:
    """Places in [0, 1] × [0, 1] by UMAP on cosines, the same for the same vectors. Up to `FEW` lie on a circle.

    **Arguments:** `vectors`: of unit length. `progress`: called with steps done and steps in all.
    """
    if len(vectors) <= FEW:
        turns = 2 * np.pi * np.arange(len(vectors)) / max(1, len(vectors))
        return (0.5 + 0.4 * np.stack([np.cos(turns), np.sin(turns)], axis=1)).astype(np.float32)
    from umap import UMAP

    near, gaps = _nearest(vectors, min(NEIGHBOURS, len(vectors) - 1))
    drawn = UMAP(
        n_neighbors=near.shape[1],
        n_epochs=STEPS,
        metric="cosine",
        # Exact, and without the minute in which UMAP's own search is compiled; which it takes for small catalogs only
        # when it believes them large.
        precomputed_knn=(near, gaps, None),
        force_approximation_algorithm=True,
        init="pca",  # the spectral one fails on items that fall apart into groups
        random_state=0,
        n_jobs=1,  # as a fixed seed has it
        verbose=True,  # which is how its bar, read by `progress`, is switched on
        tqdm_kwds={"file": _Steps(progress), "bar_format": "{n_fmt}/{total_fmt}", "mininterval": 0.3},
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="precomputed_knn", category=UserWarning)  # no new items will come
        places = np.asarray(drawn.fit_transform(vectors), dtype=np.float32)
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - low) / np.where(high > low, high - low, np.float32(1))


def draw(tell: Connection) -> None:
    """What the process does: is told vectors, tells steps (done, in all), then the places, or in words what failed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the page's business, which ends this process
    if hasattr(os, "nice"):
        os.nice(5)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            tell.send(layout(tell.recv(), lambda done, steps: tell.send((done, steps))))
        except Exception as error:  # whatever it is, it is told to the page
            tell.send(f"{type(error).__name__}: {error}")


def _nearest(
    vectors: Float32[np.ndarray, "n d"], count: int
) -> tuple[Int64[np.ndarray, "n k"], Float32[np.ndarray, "n k"]]:
    """Of each item the nearest, itself first, and how far they are: 1 − cosine."""
    gaps = np.clip(1 - vectors @ vectors.T, 0, None)
    np.fill_diagonal(gaps, -1)  # itself before its doubles
    near = np.argpartition(gaps, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(gaps, near, axis=1), axis=1, kind="stable")
    near = np.take_along_axis(near, order, axis=1)
    return near, np.clip(np.take_along_axis(gaps, near, axis=1), 0, None)


class _Steps(io.StringIO):
    """A file into which UMAP draws its bar, such as 20/200."""

    def __init__(self, progress: Callable[[int, int], None]) -> None:
        super().__init__()
        self.progress = progress

    def write(self, text: str) -> int:
        """Reads the bar."""
        done, _, steps = text.strip().partition("/")
        if done.isdigit() and steps.isdigit():
            self.progress(int(done), int(steps))
        return len(text)

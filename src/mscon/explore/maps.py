"""Maps: items laid out in the plane by UMAP, so that what is alike under one similarity lies together.

A layout is drawn once, by a process of its own, and kept in the run's folder for as long as its vectors are the same.
"""

import hashlib
import io
import multiprocessing
import os
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock
from time import monotonic
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float32, Int64

from mscon.errors import UserError
from mscon.files import write_whole
from mscon.search import Collection

SAMPLE = 5_000
"""Items of a map, at most: as many as are told apart on a screen, in about half a minute."""

NEIGHBOURS = 15
"""That UMAP keeps an item near to: its own default."""

FEW = 8
"""Items, up to which there are too few neighbours for UMAP: they are laid on a circle."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Where items lie: `rows` of the collection and their places, x and y in [0, 1]; `total`: items that there are."""

    rows: Int64[np.ndarray, " n"]
    places: Float32[np.ndarray, "n 2"]
    total: int


@dataclass(frozen=True)
class Working:
    """A layout that is not there yet: steps done, of how many (0 before that is known), and seconds since it began."""

    done: int
    steps: int
    seconds: float


@dataclass(eq=False)
class _Drawing:
    process: BaseProcess
    heard: Connection
    sample: Int64[np.ndarray, " n"]
    path: Path
    key: str
    started: float
    done: int = 0
    steps: int = 0


@dataclass(frozen=True, eq=False)
class Maps:
    """The layouts of a collection, one per similarity and one of the shared embedding.

    - `folder`: where they are kept, `maps/` in a run's folder.
    - `ids`: of all items.
    """

    collection: Collection
    folder: Path
    ids: list[str]
    _there: dict[str, Layout] = field(default_factory=dict)
    _drawn: dict[str, _Drawing] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def get(self, name: str) -> Layout | Working:
        """The layout of a similarity, or of `shared`, or how far it is; asked for the first time, it is begun.

        **Raises:** `UserError` for a layout that could not be drawn; asked for again, it is begun again.
        """
        with self._lock:
            if name in self._there:
                return self._there[name]
            if name not in self._drawn:
                sample = self._sample()
                vectors = self.collection.blocks_of(sample.tolist())[name]
                told = hashlib.blake2b(f"{self.collection.source}\n{name}".encode(), digest_size=8).hexdigest()
                path, key = self.folder / f"{told}.npz", _key(vectors)
                places = _read(path, key)
                if places is not None:
                    return self._keep(name, sample, places)
                self._drawn[name] = _begin(vectors, sample, path, key)
            return self._look(name)

    def close(self) -> None:
        """End what is being drawn."""
        with self._lock:
            for each in self._drawn.values():
                each.process.kill()

    def _look(self, name: str) -> Layout | Working:
        drawing, places, failed = self._drawn[name], None, ""
        try:
            while places is None and drawing.heard.poll():
                match drawing.heard.recv():
                    case np.ndarray() as places:
                        pass
                    case str() as failed:
                        raise EOFError
                    case (done, steps):
                        drawing.done, drawing.steps = done, steps
        except EOFError:
            del self._drawn[name]
            raise UserError(f"The map could not be drawn{': ' if failed else ''}{failed}. Choose it again") from None
        if places is None:
            return Working(drawing.done, drawing.steps, monotonic() - drawing.started)
        del self._drawn[name]
        drawing.process.join()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(drawing.path, drawing.key, places)
        except (OSError, UserError):
            pass  # a run's folder that cannot be written to can be looked at all the same
        return self._keep(name, drawing.sample, places)

    def _keep(self, name: str, sample: np.ndarray, places: np.ndarray) -> Layout:
        self._there[name] = Layout(sample, places, len(self.ids))
        return self._there[name]

    def _sample(self) -> Int64[np.ndarray, " n"]:
        """The same items under every similarity, so that they can be found again on another map."""
        places = np.random.default_rng(0).permutation(len(self.ids))[:SAMPLE]
        rows = self.collection.rows_of([self.ids[place] for place in np.sort(places)])
        return np.array(sorted(set(rows.values())), dtype=np.int64)


def layout(
    vectors: Float32[np.ndarray, "n d"], progress: Callable[[int, int], None] = lambda done, steps: None
) -> Float32[np.ndarray, "n 2"]:
    """Places in [0, 1] × [0, 1] by UMAP on cosines, the same for the same vectors. Up to `FEW` lie on a circle."""
    if len(vectors) <= FEW:
        turns = 2 * np.pi * np.arange(len(vectors)) / max(1, len(vectors))
        return (0.5 + 0.4 * np.stack([np.cos(turns), np.sin(turns)], axis=1)).astype(np.float32)
    from umap import UMAP

    drawn = UMAP(
        n_neighbors=min(NEIGHBOURS, len(vectors) - 1),
        metric="cosine",
        init="pca",  # the spectral one fails on items that fall apart into groups
        random_state=0,
        n_jobs=1,  # as a fixed seed has it
        verbose=True,  # which is how its bar, read by `progress`, is switched on
        tqdm_kwds={"file": _Steps(progress), "bar_format": "{n_fmt}/{total_fmt}", "mininterval": 0.3},
    )
    places = np.asarray(drawn.fit_transform(vectors), dtype=np.float32)
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - low) / np.where(high > low, high - low, 1)


class _Steps(io.StringIO):
    """A file into which UMAP draws its bar, such as 20/200."""

    def __init__(self, progress: Callable[[int, int], None]) -> None:
        super().__init__()
        self.progress = progress

    def write(self, text: str) -> int:
        done, _, steps = text.strip().partition("/")
        if done.isdigit() and steps.isdigit():
            self.progress(int(done), int(steps))
        return len(text)


def _begin(vectors: np.ndarray, sample: np.ndarray, path: Path, key: str) -> _Drawing:
    """UMAP compiles and computes for a while, and would hold the page up in the same process."""
    context = multiprocessing.get_context("spawn")
    heard, tell = context.Pipe(duplex=False)
    process = context.Process(target=_draw, args=(vectors, tell), daemon=True)
    process.start()
    tell.close()
    return _Drawing(process, heard, sample, path, key, monotonic())


def _draw(vectors: np.ndarray, tell: Connection) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the page's business, which ends this process
    if hasattr(os, "nice"):
        os.nice(5)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            tell.send(layout(vectors, lambda done, steps: tell.send((done, steps))))
        except Exception as error:  # whatever it is, it is told to the page
            tell.send(f"{type(error).__name__}: {error}")


def _key(vectors: np.ndarray) -> str:
    told = hashlib.blake2b(f"{vectors.shape} {NEIGHBOURS}".encode(), digest_size=16)
    told.update(np.ascontiguousarray(vectors).tobytes())
    return told.hexdigest()


def _read(path: Path, key: str) -> Float32[np.ndarray, "n 2"] | None:
    """The places that were kept for the same vectors, if they were."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            return kept["places"].astype(np.float32) if str(kept["key"]) == key else None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def _write(path: Path, key: str, places: np.ndarray) -> None:
    def save(aside: Path) -> None:
        with aside.open("wb") as file:  # given a name, numpy would add .npz to it
            np.savez_compressed(file, key=np.array(key), places=places)

    write_whole(path, save)

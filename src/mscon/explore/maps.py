"""Maps: where items lie in the plane, one map per similarity. Each is drawn once, by a process of its own, and kept in
the run's folder for as long as its vectors are the same.
"""

import hashlib
import multiprocessing
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock, Thread
from time import monotonic
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float32, Int64

from mscon.errors import UserError, first_line
from mscon.explore.layout import NEIGHBOURS, STEPS, draw
from mscon.files import write_whole
from mscon.search import Collection

SAMPLE = 5_000
"""Items of a map, at most: as many as are told apart on a screen."""


@dataclass(frozen=True, eq=False)
class Map:
    """Where items lie: `rows` of the collection and their `places`, x and y in [0, 1]."""

    rows: Int64[np.ndarray, " n"]
    places: Float32[np.ndarray, "n 2"]


@dataclass(eq=False)
class Working:
    """A map that is being drawn: steps `done` of `steps`, which is 0 before they begin.

    - `process`: that draws it. `failed`: what went wrong.
    """

    started: float
    done: int = 0
    steps: int = 0
    process: BaseProcess | None = None
    failed: str | None = None

    @property
    def seconds(self) -> float:
        """Since it began."""
        return monotonic() - self.started


@dataclass(frozen=True, eq=False)
class Maps:
    """The maps of a collection, one per similarity and one of the shared embedding.

    - `folder`: where they are kept, such as `maps/` in a run's folder.
    - `ids`: of all items.
    """

    collection: Collection
    folder: Path
    ids: list[str]
    _there: dict[str, Map | Working] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def get(self, name: str) -> Map | Working:
        """The map of a similarity, or of `shared`, or how far it is; asked for the first time, it is begun.

        **Raises:** `UserError` for a map that could not be drawn; asked for again, it is begun again.
        """
        with self._lock:
            found = self._there.get(name)
            if isinstance(found, Working) and found.failed is not None:
                del self._there[name]
                raise UserError(f"The map could not be drawn ({found.failed}). Choose it again to try once more")
            if found is None:
                found = self._there[name] = self._read(name)
            return found

    def close(self) -> None:
        """End what is being drawn."""
        for each in list(self._there.values()):
            if isinstance(each, Working) and each.process is not None:
                each.process.kill()

    def _read(self, name: str) -> Map | Working:
        """The map as it was kept for the same vectors, or a drawing that has begun."""
        rows = self._sample()
        vectors = self.collection.blocks_of(rows.tolist())[name]
        told = hashlib.blake2b(f"{self.collection.source}\n{name}".encode(), digest_size=8).hexdigest()
        path, key = self.folder / f"{told}.npz", _key(vectors)
        places = _kept(path, key)
        if places is not None:
            return Map(rows, places)
        working = Working(monotonic())
        Thread(target=self._draw, args=(name, rows, vectors, working, path, key), daemon=True).start()
        return working

    def _draw(self, name: str, rows: np.ndarray, vectors: np.ndarray, working: Working, path: Path, key: str) -> None:
        """In a process: UMAP compiles and computes for a while, and would hold the page up."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = working.process = context.Process(target=draw, args=(theirs,), daemon=True)
        try:
            process.start()
        except OSError as error:
            working.failed = f"its process could not be started: {first_line(error)}"
            return
        theirs.close()
        try:
            ours.send(vectors)
            while isinstance(told := ours.recv(), tuple):
                working.done, working.steps = told
        except (EOFError, OSError):
            told = "its process ended"
        process.join()
        if isinstance(told, str):
            working.failed = told
            return
        with suppress(OSError, UserError):  # a run in a folder that cannot be written to can be looked at all the same
            self.folder.mkdir(parents=True, exist_ok=True)
            _keep(path, key, told)
        with self._lock:
            self._there[name] = Map(rows, told)

    def _sample(self) -> Int64[np.ndarray, " n"]:
        """The same items under every similarity, so that they can be found again on another map."""
        places = np.random.default_rng(0).permutation(len(self.ids))[:SAMPLE]
        rows = self.collection.rows_of([self.ids[place] for place in places])
        return np.array(sorted(set(rows.values())), dtype=np.int64)


def _key(vectors: np.ndarray) -> str:
    told = hashlib.blake2b(f"{vectors.shape} {NEIGHBOURS} {STEPS}".encode(), digest_size=16)
    told.update(np.ascontiguousarray(vectors).tobytes())
    return told.hexdigest()


def _kept(path: Path, key: str) -> Float32[np.ndarray, "n 2"] | None:
    """The places that were kept for the same vectors, if they were."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            return kept["places"].astype(np.float32) if str(kept["key"]) == key else None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def _keep(path: Path, key: str, places: np.ndarray) -> None:
    def save(aside: Path) -> None:
        with aside.open("wb") as file:  # given a name, numpy would add .npz to it
            np.savez_compressed(file, key=np.array(key), places=places)

    write_whole(path, save)

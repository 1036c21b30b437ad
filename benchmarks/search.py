"""Search under any mix of similarities: an index of mscon beside other ways to find the ten best of many items.

    python benchmarks/search.py --folder runs/search     # 100,000 and 1,000,000 items: half an hour on two cores

The items are synthetic: 4 similarities of 64 numbers each, of 12, 40, 200 and 2,000 classes of very unequal size.
Within a class an item lies where its own features put it, the same 24 features for all similarities, each of which
sees them through a map of its own; a fifth of the items are near-copies of others. Queries are 100 items drawn in the
same way that are in no index. No pictures and no columns are stored. What is in the CSV is not measured again.

method:
   index            `Index.search`: what `mscon index` builds, with the approximate indexes that it chooses to use
   index half       the same with vectors of float16
   index exact      the same table, every row looked at
   numpy            `Space.search`: all vectors in memory, exact
   pq               LanceDB, one IVF-PQ over all similarities side by side, as many partitions looked through as the
                    default has it, candidates refined as in ours
   usearch          HNSW over all similarities side by side, float16, its defaults; N searches with expansion N
   faiss            IVF of 4 √rows cells over all similarities side by side, 8-bit numbers, in memory; N looks through N
                    cells

Columns:

rows, method, weights   one similarity alone, even, uneven, one negative: as in `mscon.search.index.kinds`
recall                  of the 10 best items, the share found, mean over queries
ms                      of one search, median, one after the other
build_s, build_mb       time to build, from vectors on the disk, and memory at its highest beside what Python takes
disk_mb, search_mb      files, and memory at its highest while searching
"""

import argparse
import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import faiss
import numpy as np
import polars as pl
from measuring import PeakMemory, in_fresh_process, machine, write_csv
from usearch.index import Index as Hnsw

from mscon.data.catalog import Catalog
from mscon.search import Query, Space
from mscon.search.index import Index, approximate
from mscon.search.index.approximate import tidy
from mscon.search.index.kinds import EVEN, NEGATIVE, UNEVEN, samples
from mscon.search.index.layout import HEADS, ITEMS, About, arrow
from mscon.search.index.place import Place
from mscon.search.index.table import REFINED, connect

CLASSES = {"shape": 12, "colour": 40, "maker": 200, "model": 2000}
WIDTH, FEATURES = 64, 24
QUERIES, K, CHUNK = 100, 10, 20_000
KINDS = ("one alone", EVEN, UNEVEN, NEGATIVE)

WIDER = 512
"""Candidates that usearch keeps in the second way to search its graph; by itself it keeps 64."""

PROBED = 64
"""Cells that faiss looks through."""

UP_TO = {"index half": 100_000, "pq": 100_000, "usearch": 100_000, f"usearch {WIDER}": 100_000}
"""Methods that are measured up to so many rows: a graph of a million takes more than twenty minutes to build here."""

FEWER = {"numpy": 20, "index exact": 5}
"""Of those that look at every row so many searches of each kind are timed: they find what there is."""

MEMORY_GB = 10
"""Beyond it allocations are refused."""

Find = Callable[[np.ndarray, dict[str, float]], list[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--methods", nargs="+", default=list(FINDERS), choices=list(FINDERS))
    parser.add_argument("--folder", type=Path, default=Path("runs/search"), help="vectors and indexes: 5 GB")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        build, case = given.case
        print(json.dumps((built if build else searched)(*case)))
        return
    lines = list(csv.DictReader(given.out.open())) if given.out.exists() else []
    for rows in given.rows:
        folder = given.folder / str(rows)
        for method in given.methods:
            done = any((line["rows"], line["method"]) == (str(rows), method) for line in lines)
            if done or rows > UP_TO.get(method, rows):
                continue
            if not (folder / "best.npy").exists():
                draw(folder, rows)
            case = (str(folder), rows, method)
            size = dict.fromkeys(("build_s", "build_mb", "disk_mb"), "")
            if method in BUILDERS:
                size = in_fresh_process(__file__, (True, case), limit_gb=MEMORY_GB)
            for line in in_fresh_process(__file__, (False, case), limit_gb=MEMORY_GB)["lines"]:
                lines.append({"rows": rows, "method": method} | line | size | machine())
                print(lines[-1], flush=True)
            write_csv(given.out, lines)


def draw(folder: Path, rows: int) -> None:
    """Vectors, queries, the weights of each search, and its ten best items, as files."""
    folder.mkdir(parents=True, exist_ok=True)
    draws = World(np.random.default_rng(0))
    with (folder / "vectors.f32").open("wb") as file:
        for first in range(0, rows, CHUNK):
            draws.items(min(CHUNK, rows - first)).tofile(file)
    queries, chance = draws.items(QUERIES), np.random.default_rng(1)
    every = samples(list(CLASSES))
    alone = [every[f"{name} alone"] for name in CLASSES]
    mixes = [
        [(alone[number % len(alone)] if kind == KINDS[0] else every[kind])(chance) for number in range(QUERIES)]
        for kind in KINDS
    ]
    asked = np.stack([mixed(queries[each], mix) for row in mixes for each, mix in enumerate(row)])
    best = np.zeros((len(asked), 0), dtype=np.int64)
    scores = np.zeros((len(asked), 0), dtype=np.float32)
    for first in range(0, rows, CHUNK):
        here = asked @ chunk(folder, first, rows).T
        top = np.argpartition(-here, K, axis=1)[:, :K]
        best = np.concatenate([best, first + top], axis=1)
        scores = np.concatenate([scores, np.take_along_axis(here, top, axis=1)], axis=1)
        kept = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        best, scores = np.take_along_axis(best, kept, axis=1), np.take_along_axis(scores, kept, axis=1)
    np.save(folder / "queries.npy", queries)
    (folder / "mixes.json").write_text(json.dumps(mixes))
    np.save(folder / "best.npy", best.reshape(len(KINDS), QUERIES, K))


class World:
    """Draws items: classes of unequal size, features within them."""

    def __init__(self, chance: np.random.Generator) -> None:
        self.chance = chance
        self.centres = {name: chance.normal(size=(count, WIDTH)) for name, count in CLASSES.items()}
        self.shares = {name: 1 / np.arange(1, count + 1) for name, count in CLASSES.items()}
        spread = 1 / np.sqrt(1 + np.arange(FEATURES))  # few directions hold most of what differs
        self.maps = {name: spread[:, None] * chance.normal(size=(FEATURES, WIDTH)) for name in CLASSES}

    def items(self, count: int) -> np.ndarray:
        """Vectors of unit length under each similarity, side by side."""
        chance = self.chance
        source = np.arange(count)
        copies = chance.random(count) < 0.2
        source[copies] = chance.integers(count, size=copies.sum())
        features = chance.normal(size=(count, FEATURES))[source]
        parts: list[np.ndarray] = []
        for name, centres in self.centres.items():
            share = self.shares[name] / self.shares[name].sum()
            classes = chance.choice(len(centres), count, p=share)[source]
            z = centres[classes] + 0.6 * np.tanh(features @ self.maps[name]) + 0.1 * chance.normal(size=(count, WIDTH))
            parts.append(z / np.linalg.norm(z, axis=1, keepdims=True))
        return np.concatenate(parts, axis=1).astype(np.float32)


def chunk(folder: Path, first: int, rows: int) -> np.ndarray:
    """Some vectors, read and not mapped: pages of a mapped file would count as memory of the method."""
    width = WIDTH * len(CLASSES)
    count = min(CHUNK, rows - first)
    return np.fromfile(folder / "vectors.f32", np.float32, count * width, offset=4 * first * width).reshape(-1, width)


def built(folder: str, rows: int, method: str) -> dict[str, Any]:
    """Build what a method searches: seconds, and sizes."""
    memory, start = PeakMemory(), perf_counter()
    place = BUILDERS[method](Path(folder), rows)
    taken = perf_counter() - start
    files = [each for each in (place, *place.rglob("*")) if each.is_file()]
    disk = sum(each.stat().st_size for each in files) / 1e6
    return {"build_s": f"{taken:.1f}", "build_mb": f"{memory.extra_mb():.0f}", "disk_mb": f"{disk:.0f}"}


def searched(folder: str, rows: int, method: str) -> dict[str, Any]:
    """Search by a method what was built: a line for each kind of weights."""
    place, memory = Path(folder), PeakMemory()
    queries, best = np.load(place / "queries.npy"), np.load(place / "best.npy")
    mixes = json.loads((place / "mixes.json").read_text())
    find = FINDERS[method](place, rows)
    find(queries[0], mixes[0][0])  # the first opens files
    lines: list[dict[str, str]] = []
    for number, kind in enumerate(KINDS):
        hits, times = [], []
        for each in range(FEWER.get(method, QUERIES)):
            begun = perf_counter()
            found = find(queries[each], mixes[number][each])
            times.append(perf_counter() - begun)
            hits.append(len(set(found) & set(best[number, each].tolist())) / K)
        lines.append({"weights": kind, "recall": f"{np.mean(hits):.3f}", "ms": f"{1000 * median(times):.3g}"})
    return {"lines": [line | {"search_mb": f"{memory.extra_mb():.0f}"} for line in lines]}


def build_index(folder: Path, rows: int, *, half: bool = False) -> Path:
    to = folder / ("half.lance" if half else "items.lance")
    about = About("", dict.fromkeys(CLASSES, WIDTH), 0, half=half, apart=True, labels=[])
    table = write_table(to, about, folder, rows)
    index = Index(str(to), table, about)
    tidy(index, new=True)
    chosen, measured = approximate(index)
    print(*measured, sep="\n")
    Place(str(to), connect(str(to)), None).write_about(replace(about, approximate=chosen))
    return to


def build_pq(folder: Path, rows: int) -> Path:
    from lancedb.index import IvfPq  # here: a process that starts others must not have loaded it

    to = folder / "pq.lance"
    about = About("", dict.fromkeys(CLASSES, WIDTH), 0, half=False, apart=False, labels=[])
    write_table(to, about, folder, rows).create_index(HEADS, config=IvfPq(distance_type="dot"))
    return to


def write_table(to: Path, about: About, folder: Path, rows: int) -> Any:
    shutil.rmtree(to, ignore_errors=True)
    place, table = Place(str(to), connect(str(to)), None), None
    for first in range(0, rows, CHUNK):
        vectors = chunk(folder, first, rows)
        ids = [str(each) for each in range(first, first + len(vectors))]
        written = arrow(about, ids, blocks_of(vectors), pl.DataFrame(), [b""] * len(ids), [""] * len(ids))
        table = place.add(table, written, about, changed=False)
    return table


def build_usearch(folder: Path, rows: int) -> Path:
    to, graph = folder / "usearch.index", hnsw()
    for first in range(0, rows, CHUNK):
        vectors = chunk(folder, first, rows)
        graph.add(np.arange(first, first + len(vectors)), vectors, threads=2)
    graph.save(str(to))
    return to


def hnsw() -> Hnsw:
    return Hnsw(ndim=WIDTH * len(CLASSES), metric="ip", dtype="f16")


def find_index(folder: Path, rows: int, *, name: str = "items.lance", exact: bool = False) -> Find:
    index = Index.open(str(folder / name))
    if exact:
        index = replace(index, about=replace(index.about, approximate=None))

    def find(query: np.ndarray, mix: dict[str, float]) -> list[int]:
        hits = index.search(Query(blocks_of(query), (), ()), mix, k=K)
        return [int(each["id"]) for each in index.values_of(hits.rows.tolist(), [])]

    return find


def find_pq(folder: Path, rows: int) -> Find:
    table = connect(str(folder / "pq.lance")).open_table(ITEMS)

    def find(query: np.ndarray, mix: dict[str, float]) -> list[int]:
        asking = table.search(mixed(query, mix), vector_column_name=HEADS).distance_type("dot")
        found = asking.refine_factor(REFINED).limit(K).select(["id", "_distance"]).to_arrow()
        return [int(each) for each in found["id"].to_pylist()]

    return find


def find_usearch(folder: Path, rows: int, *, expansion: int | None = None) -> Find:
    graph = hnsw()
    graph.load(str(folder / "usearch.index"))
    if expansion:
        graph.expansion_search = expansion
    return lambda query, mix: graph.search(mixed(query, mix), K).keys.tolist()


def build_faiss(folder: Path, rows: int) -> Path:
    to = folder / "faiss.index"
    cells = 4 * round(rows**0.5)
    index = faiss.index_factory(WIDTH * len(CLASSES), f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
    training = [chunk(folder, first, rows) for first in range(0, min(rows, 40 * cells), CHUNK)]
    index.train(np.concatenate(training))
    for first in range(0, rows, CHUNK):
        index.add(chunk(folder, first, rows))
    faiss.write_index(index, str(to))
    return to


def find_faiss(folder: Path, rows: int) -> Find:
    index = faiss.read_index(str(folder / "faiss.index"))
    index.nprobe = PROBED
    return lambda query, mix: index.search(mixed(query, mix)[None], K)[1][0].tolist()


def find_numpy(folder: Path, rows: int) -> Find:
    blocks = {name: np.empty((rows, WIDTH), np.float32) for name in CLASSES}
    for first in range(0, rows, CHUNK):
        for name, part in blocks_of(chunk(folder, first, rows)).items():
            blocks[name][first : first + len(part)] = part
    ids = [str(each) for each in range(rows)]
    space = Space(ids, Catalog(pl.DataFrame({"image": ids}), "image", "", "synthetic"), blocks)
    return lambda query, mix: space.search(Query(blocks_of(query), (), ()), mix, k=K).rows.tolist()


BUILDERS: dict[str, Callable[[Path, int], Path]] = {
    "index": build_index,
    "index half": partial(build_index, half=True),
    "pq": build_pq,
    "usearch": build_usearch,
    f"faiss {PROBED}": build_faiss,
}
"""What searches need; the other methods search what one of these has built, or nothing but the vectors."""

FINDERS: dict[str, Callable[[Path, int], Find]] = {
    "numpy": find_numpy,
    "index": find_index,
    "index exact": partial(find_index, exact=True),
    "index half": partial(find_index, name="half.lance"),
    "pq": find_pq,
    "usearch": find_usearch,
    f"usearch {WIDER}": partial(find_usearch, expansion=WIDER),
    f"faiss {PROBED}": find_faiss,
}


def blocks_of(vectors: np.ndarray) -> dict[str, np.ndarray]:
    parts = np.split(vectors, len(CLASSES), axis=-1)
    return {name: np.ascontiguousarray(part) for name, part in zip(CLASSES, parts, strict=True)}


def mixed(query: np.ndarray, mix: dict[str, float]) -> np.ndarray:
    return np.concatenate([np.float32(mix.get(name, 0)) * part for name, part in blocks_of(query).items()])


if __name__ == "__main__":
    main()

"""Catalogs of millions of rows: what a look, the start of a training, its steps and embedding cost, and in how much
memory. `python benchmarks/large.py --folder /a/large/disk` makes the catalogs there, takes every measure in a process
of its own, and removes them.
"""

import argparse
import io
import json
import resource
import shutil
import sys
import tempfile
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import in_fresh_process, machine, write_csv
from PIL import Image

HERE = Path(__file__).parent
FILES, GROUP = 50, 1_000
DISTINCT = 4_096
"""Images that are drawn; every row has one of them, and some bytes behind its end that no other row has."""
HELD_OUT = 500
"""One row in so many validates, and one tests: a validation should not take longer than the training."""
PART = "images/part-00[01].parquet"
"""Two of the images' files, of which decoded images are kept."""
CASES = (
    ("start", "images", False),
    ("train", "images", False),
    ("train", PART, False),
    ("train", PART, True),
    ("embed", PART, False),
    ("inspect", "images", True),
    ("inspect", "labels", True),
)
"""What is done, with which catalog, and whether its decoded images are kept."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the catalogs are made, half a gigabyte, and caches and runs")
    parser.add_argument("--labels", type=int, default=10_000_000, help="rows of the catalog that is looked at")
    parser.add_argument("--images", type=int, default=1_000_000, help="rows of the catalog that is trained on")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--catalogs", type=Path, help="made before by another call, and left there")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps(measure(**json.loads(given.case))))
        return
    folder = Path(tempfile.mkdtemp(prefix="mscon-large-", dir=given.folder))
    try:
        catalogs = given.catalogs or folder
        if given.catalogs is None:
            make(catalogs / "labels", given.labels, group=100_000, distinct=256, alike=True)
            make(catalogs / "images", given.images, group=GROUP)
        rows: list[dict[str, Any]] = []
        for work, source, cache in CASES:
            case = {"work": work, "source": str(catalogs / source), "cache": cache, "steps": given.steps}
            environment = {"MSCON_CACHE": str(folder / "cache")}
            done = in_fresh_process(__file__, case | {"folder": str(folder)}, environment=environment)
            rows.append({"work": work, "cached": cache, **done, **machine()})
            print(rows[-1], file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder)
    write_csv(HERE / "large.csv", rows)


def make(folder: Path, rows: int, *, group: int, distinct: int = DISTINCT, alike: bool = False) -> Path:
    """A folder of Parquet files: small images, ids, labels of 100 and 12 classes, a number, and a split.

    **Arguments:** `alike`: many rows have the very same image, which a file then holds once.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    drawn = [_jpeg(rng, number, distinct) for number in range(distinct)]
    per_file = -(-rows // FILES)
    for part, first in enumerate(range(0, rows, per_file)):
        numbers = np.arange(first, min(rows, first + per_file))
        which = rng.integers(0, distinct, len(numbers))
        # A marker behind the end of a JPEG changes the file and not the image.
        images = [drawn[w] + (b"" if alike else number.tobytes()) for w, number in zip(which, numbers, strict=True)]
        table = {
            "image": pa.array(images, pa.binary()),
            "id": pa.array([f"item-{number}" for number in numbers.tolist()]),
            "category": pa.array([f"category {w * 100 // distinct}" for w in which.tolist()]),
            "colour": pa.array([f"colour {w % 12}" for w in which.tolist()]),
            "price": pa.array(np.round(rng.lognormal(3.0, 1.0, len(numbers)), 2)),
            "split": pa.array([_part(number % HELD_OUT) for number in numbers.tolist()]),
        }
        path = folder / f"part-{part:03}.parquet"
        once = [name for name in table if name != "image" or alike]
        pq.write_table(pa.table(table), path, row_group_size=group, use_dictionary=once)
    return folder


def _part(rest: int) -> str:
    return {0: "val", 1: "test"}.get(rest, "train")


def _jpeg(rng: np.random.Generator, number: int, distinct: int) -> bytes:
    """A disc whose colour and size go with the labels, on noise."""
    side = 32
    pixels = rng.integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    y, x = np.mgrid[:side, :side] - side / 2
    inside = np.hypot(x, y) < 5 + 10 * number / distinct
    pixels[inside] = np.array([(number % 12) * 20, (number % 3) * 100, 255 - (number % 4) * 60], dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=70)
    return file.getvalue()


def measure(work: str, source: str, *, cache: bool, steps: int, folder: str) -> dict[str, Any]:
    """Seconds of one thing by the clock and of the processor, which on a busy machine tell different things, and the
    most memory that the process held, in MB (10⁶ bytes), with what the package itself takes.
    """
    from mscon.recipe import Recipe

    recipe = Recipe.of(
        {
            "catalog": {"source": source},
            "similarities": {"category": {}, "colour": {}, "price": {"kind": "continuous"}},
            "image": {"size": 32, "cache": cache},
            "model": {"backbone": "test_resnet", "stages": [{"stage": -1, "grid": 1}], "head_dim": 32},
            "training": {"steps": steps, "device": "cpu"},
        }
    )
    started, at_work = perf_counter(), process_time()
    items, done = WORK[work](recipe, Path(folder))
    seconds = {"seconds": round(perf_counter() - started, 1), "cpu_seconds": round(process_time() - at_work, 1)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"rows": items, "images": done, **seconds, "peak_mb": round(peak)}


def _inspect(recipe: Any, folder: Path) -> tuple[int, int]:
    from mscon.inspection import inspect
    from mscon.prepare import prepare

    found = inspect(recipe, prepare(recipe, look=True))
    return found.rows, 0


def _start(recipe: Any, folder: Path) -> tuple[int, int]:
    """Until the first batch of images is there."""
    from mscon.prepare import prepare, training_batches

    data = prepare(recipe)
    first = islice((each.numpy() for each in training_batches(recipe, data).epoch(0)), 1)
    (found,) = data.pixels.array.fetched(first)
    return len(data.catalog), len(found.images)


def _train(recipe: Any, folder: Path) -> tuple[int, int]:
    from mscon.train import train

    run = train(recipe, folder / f"run-{recipe.image.cache}-{len(list(folder.glob('run-*')))}")
    return len(run.items() or ()), recipe.training.steps * recipe.training.batch_size


def _embed(recipe: Any, folder: Path) -> tuple[int, int]:
    from mscon.data.catalog import Catalog
    from mscon.embed_catalog import embed_catalog
    from mscon.run import Run

    run = Run.open(sorted(folder.glob("run-False-*"))[0])
    done = embed_catalog(run, Catalog.read(recipe.catalog.source), folder / "vectors.parquet", half=True)
    return done.rows, done.rows


WORK = {"inspect": _inspect, "start": _start, "train": _train, "embed": _embed}


if __name__ == "__main__":
    main()

"""Embeddings of a catalog: the shared one and one vector per similarity, shard by shard, into one file."""

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mscon.data.cache import Pixels, Skipped, decoded, fingerprint, kept_pixels
from mscon.data.catalog import Catalog
from mscon.embed import embed_pixels
from mscon.errors import UserError
from mscon.files import digest, make_folder, remove_drafts, write_whole
from mscon.model import MSConModel
from mscon.parsing import parse_json
from mscon.run import Run
from mscon.shards import Shards

ROWS = 4096
"""Of a shard: half a minute of work, of which a crash loses no more."""

MADE_BY = "mscon"
"""Of a file's metadata: of a shard, the rows left out; of the whole, these and which work it is the result of."""


@dataclass(frozen=True)
class Embedded:
    """What was written: `rows` in all, the `columns`, and the rows left out because their image could not be read."""

    path: Path
    rows: int
    columns: tuple[str, ...]
    skipped: tuple[Skipped, ...]

    @property
    def skipped_path(self) -> Path:
        """Where the rows left out are listed, if there are any."""
        return _listing(self.path)


def embed_catalog(
    run: Run,
    catalog: Catalog,
    out: Path,
    *,
    id: str | None = None,
    half: bool = False,
    rows: int = ROWS,
    progress: Callable[[int, int], None] | None = None,
    waits: Callable[[int], None] | None = None,
) -> Embedded:
    """Embed any catalog with a run's model and write one Parquet file, whole or not at all.

    The work goes by shards of rows beside the file. Any number of processes may call this at once, on one machine or on
    several that share the folder: each shard is done by one of them, and all return when the file is there. What was
    stopped goes on where it was; a file that is there already from the same model, images and options is left alone.

    **Arguments:**

    - `run`: a trained run.
    - `catalog`: of any images; it needs no labels.
    - `out`: the file to write: columns `id`, `embedding` and `z_<similarity>` (unit length), arrays of float32, a row
      for each readable image in the catalog's order; with an uncertainty head also `uncertainty_<similarity>`, see
      `MSConModel.item_uncertainty`. Rows whose image cannot be read are listed in `<name>.skipped.csv` beside it.
    - `id`: the column that names an item, found by name when left out.
    - `half`: float16 in place of float32.
    - `rows`: of a shard.
    - `progress`: called with rows done and rows in all.
    - `waits`: called with the number of shards that other processes have in hand, where they keep this one waiting for
      a minute.

    **Raises:** `UserError` for a catalog that cannot be used or none of whose images can be read, a run without a
    model, or a file that cannot be written.
    """
    if out.suffix != ".parquet":
        raise UserError(f"{out}: embeddings are written as Parquet; name a file that ends in .parquet")
    make_folder(out.parent)
    model = run.model()
    if torch.cuda.is_available():
        model = model.to(f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}")
    if len(catalog) == 0:
        raise UserError(f"{catalog.source} has no rows: there is nothing to embed")
    ids, settings = catalog.ids(id), run.recipe.image
    images = fingerprint(catalog, settings.size, settings.fit)
    work = [digest(run.model_path), images, ids, half, rows]
    key = hashlib.blake2b(json.dumps(work).encode(), digest_size=8).hexdigest()
    if done := _made(out, key):
        return done
    kept = kept_pixels(catalog, images, size=settings.size, id=id)
    shards = Shards.beside(out, key, -(-len(catalog) // rows))
    for shard in shards.undone(waits):
        numbers = np.arange(shard * rows, min(len(catalog), (shard + 1) * rows))
        pixels, skipped = _kept(kept, numbers) if kept else _decoded(run, catalog, numbers)
        before = shards.done * rows

        def step(done: int, total: int, before: int = before, more: int = len(numbers)) -> None:
            if progress:
                progress(min(len(catalog), before + done * more // total), len(catalog))

        h = embed_pixels(model, pixels, progress=step)
        there = [ids[row] for row in np.setdiff1d(numbers, list(skipped))]
        left_out = [asdict(Skipped(row, ids[row], reason)) for row, reason in skipped.items()]
        table = _table(model, there, h, half=half)
        about = {MADE_BY: json.dumps(left_out)}
        write_whole(shards.path(shard), partial(table.write_parquet, metadata=about))
    with shards.closing() as mine:
        if mine:
            _join(out, key, shards, catalog)
    if done := _made(out, key):
        return done
    raise UserError(f"{out} was removed or replaced as soon as it was written: is another command writing it?")


def _kept(kept: Pixels, numbers: np.ndarray) -> tuple[UInt8[np.ndarray, "n s s 3"], dict[int, str]]:
    """The images of some rows, which follow one another, and the rows without one: from the cache."""
    first, end = np.searchsorted(kept.rows, [numbers[0], numbers[-1] + 1])
    skipped = {each.row: each.reason for each in kept.skipped if numbers[0] <= each.row <= numbers[-1]}
    return kept.array[first:end], skipped


def _decoded(run: Run, catalog: Catalog, numbers: np.ndarray) -> tuple[UInt8[np.ndarray, "n s s 3"], dict[int, str]]:
    """The same from the images themselves: none of a large archive's is kept."""
    settings = run.recipe.image
    images: list[np.ndarray] = []
    skipped: dict[int, str] = {}
    with warnings.catch_warnings():  # Pillow warns of odd metadata
        warnings.simplefilter("ignore")
        found = decoded(catalog.take(numbers), settings.size, settings.fit)
        for row, image in zip(numbers.tolist(), found, strict=True):
            if isinstance(image, str):
                skipped[row] = image
            else:
                images.append(image)
    return np.stack(images) if images else np.empty((0, settings.size, settings.size, 3), np.uint8), skipped


def _table(model: MSConModel, ids: list[str], h: Float[Tensor, "n d"], *, half: bool) -> pl.DataFrame:
    vectors = {"embedding": h} | {f"z_{name}": model.project_embedding(h, name) for name in model.similarities}
    vectors |= {f"uncertainty_{name}": each for name, each in model.item_uncertainty(h).items()}
    columns = {name: each.half() if half else each for name, each in vectors.items()}
    return pl.DataFrame(
        {"id": pl.Series(ids, dtype=pl.String)} | {name: each.cpu().numpy() for name, each in columns.items()}
    )


def _join(out: Path, key: str, shards: Shards, catalog: Catalog) -> None:
    lists = [_left_out(path) for path in shards.paths]
    skipped = [Skipped(**each) for left_out in lists for each in left_out]
    if len(skipped) == len(catalog):
        first = skipped[0]
        raise UserError(f"{catalog.source}: no image can be read. Row {first.row} ({first.id}): {first.reason}")
    about = {MADE_BY: json.dumps({"key": key, "skipped": [asdict(each) for each in skipped]})}
    remove_drafts(out)  # of those that join, one at a time does
    joined = pl.scan_parquet(shards.paths, glob=False, hive_partitioning=False)
    write_whole(out, lambda aside: joined.sink_parquet(aside, metadata=about))
    if skipped:
        write_whole(_listing(out), lambda aside: pl.DataFrame([asdict(each) for each in skipped]).write_csv(aside))
    else:
        _listing(out).unlink(missing_ok=True)


def _left_out(path: Path) -> list[Any]:
    """What a shard says of images that could not be read. **Raises** `UserError` for one that a disk has damaged, which
    is removed, to be made anew.
    """
    try:
        return parse_json(pl.read_parquet_metadata(path)[MADE_BY])
    except (pl.exceptions.PolarsError, OSError, KeyError, ValueError) as error:
        path.unlink(missing_ok=True)
        raise UserError(f"{path} was damaged, and is removed ({error}). Give the command again: it goes on") from None


def _listing(out: Path) -> Path:
    return out.with_name(f"{out.stem}.skipped.csv")


def _made(out: Path, key: str) -> Embedded | None:
    """What is there from the same work, if it is."""
    try:
        about = parse_json(pl.read_parquet_metadata(out).get(MADE_BY, "{}"))
        if about.get("key") != key:
            return None
        found = pl.scan_parquet(out, glob=False, hive_partitioning=False)
        rows = found.select(pl.len()).collect().item()
    except (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    skipped = tuple(Skipped(**each) for each in about["skipped"])
    return Embedded(out, rows, tuple(found.collect_schema().names()), skipped)

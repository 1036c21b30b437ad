"""What a catalog has to say, written into an index: new items added, changed ones replaced, the others left alone."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from PIL import Image

from mscon.data.cache import Skipped, image_key
from mscon.data.catalog import Catalog
from mscon.data.decode import DecodeError, decode
from mscon.data.labels import as_learned
from mscon.data.threads import in_threads
from mscon.errors import UserError, first_line
from mscon.files import digest
from mscon.model import MSConModel
from mscon.run import Run
from mscon.search.blocks import blocks_of_images
from mscon.search.index.approximate import FROM, Recall, approximate, outgrown, tidy
from mscon.search.index.columns import check_types, item_ids, storable_labels
from mscon.search.index.layout import About, arrow
from mscon.search.index.place import Place, alone
from mscon.search.index.table import Index, among

ROWS = 2048
"""Written at a time, at most: what a crash loses no more of."""

PIXELS = 150_000_000
"""Of images decoded at a time, at most: half a gigabyte."""

SIDE = 128
"""Of a picture in the table, in pixels."""


@dataclass(frozen=True)
class Updated:
    """What became of a catalog's items.

    - `added`, `changed`, `same`: how many; `rows`: of the table now.
    - `skipped`: those whose image cannot be read; what the table has of them stays.
    - `left_out`: columns that the table has no place for, being made without them.
    - `recall`: what was measured of an approximate index, where one was built.
    """

    rows: int
    added: int
    changed: int
    same: int
    skipped: tuple[Skipped, ...]
    left_out: tuple[str, ...]
    recall: tuple[Recall, ...]


def index_catalog(
    run: Run,
    catalog: Catalog,
    to: str,
    *,
    id: str | None = None,
    half: bool = False,
    heads_only: bool = False,
    replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Updated:
    """Write a catalog's items into the index at a folder or address, which is made if it is not there.

    An item whose id, image and columns are as they were is left alone, without a look at its image; another of that id
    is replaced; of those that the catalog does not name nothing is changed. Rows are written some thousands at a time,
    each time whole or not at all: what was stopped goes on where it was.

    **Arguments:**

    - `run`: a trained run.
    - `catalog`: of any images; it needs no labels. Its columns are kept, but for other binary ones.
    - `id`: the column that names an item, found by name when left out.
    - `half`: keep vectors as float16, in a new index.
    - `heads_only`: keep no shared embedding, in a new index.
    - `replace`: make a new index, whatever is there; searches read the old one until the new one is whole.
    - `progress`: called with rows done and rows in all; `say`: told what else is done.

    **Raises:** `UserError` for a catalog that cannot be used, an id that is there twice or told in another way than
    those of the index, an index of another model, one that another command is writing into, and a place that cannot be
    written.
    """
    if len(catalog) == 0:
        raise UserError(f"{catalog.source} has no rows: there is nothing to index")
    catalog = replaced(catalog, table=as_learned(catalog.table, run.labels))
    with alone(to):
        place, model = Place.find(to, run, replace=replace), run.model()
        if place.there and (half > place.there.about.half or (heads_only and place.there.about.shared)):
            raise UserError(
                f"{to} is there already: --half and --heads-only are for a new index; make it anew with --replace"
            )
        items = _items(
            run,
            catalog,
            place,
            id,
            About(
                model=digest(run.model_path),
                heads=dict(model.architecture.head_dims),
                shared=0 if heads_only else model.architecture.embedding_dim,
                half=half,
                apart=len(catalog) >= FROM and len(model.similarities) > 1,
                labels=[],
                items=place.items,
            ),
        )
        try:
            return _write(items, model, place, progress, say)
        except (ValueError, RuntimeError, OSError, pa.ArrowException) as error:
            kept = "what was there before is as it was" if place.old else "what was written before is there"
            raise UserError(
                f"{to}: could not be written ({first_line(error)}); {kept}: mend it and give the same command again"
            ) from error


def delete_items(to: str, ids: Sequence[str], run: Run | None = None) -> int:
    """Take items out of an index, of that `run`, by their ids. **Returns** how many there are left.

    **Raises:** `UserError` for ids that are not there, and then takes none out.
    """
    Index.open(to, run)  # where there is none, nothing is made
    with alone(to):
        index = Index.open(to, run)
        known = index.rows_of(ids)
        if missing := [each for each in ids if each not in known]:
            raise UserError(
                f"{to} has no item {missing[0]!r}" + (f", nor {len(missing) - 1} more of these" if missing[1:] else "")
            )
        index.table.delete(among(ids))
        return len(index)


@dataclass(frozen=True, eq=False)
class _Items:
    """A catalog's items as they are to be in a table, but for their vectors.

    - `labels`, `stamps`: of each row, see `_stamps`; `left_out`: columns that the table has no place for.
    """

    run: Run
    catalog: Catalog
    about: About
    ids: list[str]
    labels: pl.DataFrame
    stamps: list[str]
    left_out: tuple[str, ...]


def _items(run: Run, catalog: Catalog, place: Place, id: str | None, new: About) -> _Items:
    """Of an index that is there by its `about`, else by a `new` one."""
    ids, ids_from = item_ids(catalog, id)
    there = place.there.about if place.there else None
    labels, named, left_out = storable_labels(catalog, id, list(new.heads), there)
    if place.there:
        check_types(labels, place.there.table.schema, catalog.source, place.to)
        if ids_from != place.there.about.ids_from:
            raise UserError(
                f"{catalog.source} names its items by {_told(ids_from)}, but {place.to} by"
                f" {_told(place.there.about.ids_from)}: items would be taken for others. Name the column of their ids"
                " with --id, in both, or make the index anew with --replace"
            )
    about = there or replaced(new, labels=labels.columns, named=named, ids_from=ids_from)
    return _Items(run, catalog, about, ids, labels, _stamps(catalog, labels, about), left_out)


def _told(ids_from: str) -> str:
    return f"their places in {ids_from}" if ids_from else "a column of ids"


def _write(
    items: _Items,
    model: MSConModel,
    place: Place,
    progress: Callable[[int, int], None] | None,
    say: Callable[[str], None],
) -> Updated:
    catalog, ids, about = items.catalog, items.ids, items.about
    table = place.there.table if place.there else None
    known = _known(table)
    if torch.cuda.is_available():
        model = model.cuda()
    todo = np.array([known.get(each) != stamp for each, stamp in zip(ids, items.stamps, strict=True)])
    skipped: list[Skipped] = []
    added = changed = 0
    step = min(ROWS, max(1, PIXELS // items.run.recipe.image.size**2))
    for first in range(0, len(catalog), step):
        numbers = first + np.flatnonzero(todo[first : first + step])
        images, pictures, broken = _read(items.run, catalog, numbers)
        skipped += [Skipped(row, ids[row], reason) for row, reason in broken.items()]
        numbers = np.array([row for row in numbers.tolist() if row not in broken], dtype=np.int64)
        if len(numbers):
            here, stamps = [ids[row] for row in numbers], [items.stamps[row] for row in numbers]
            labels = items.labels[numbers] if items.labels.width else items.labels
            rows = arrow(about, here, blocks_of_images(model, images), labels, pictures, stamps)
            old = sum(each in known for each in here)
            table = place.add(table, rows, about, changed=old > 0)
            added, changed = added + len(here) - old, changed + old
        if progress:
            progress(min(len(catalog), first + step), len(catalog))
    if table is None:
        row = skipped[0]
        raise UserError(f"{catalog.source}: no image can be read. Row {row.row} ({row.id}): {row.reason}")
    index, recall = Index(place.to, table, about), ()
    if added + changed:
        tidy(index, new=place.there is None, say=say)
    if outgrown(index):
        found, recall = approximate(index, say=say)
        index = replaced(index, about=replaced(about, approximate=found))
    if place.old or recall:
        place.write_about(index.about)
        place.drop_old()
    return Updated(
        len(index), added, changed, len(ids) - int(todo.sum()), tuple(skipped), items.left_out, tuple(recall)
    )


def _stamps(catalog: Catalog, labels: pl.DataFrame, about: About) -> list[str]:
    """Of each item what changes when its image, its columns or the model do."""
    rows = labels.iter_rows(named=True) if labels.width else iter([{}] * len(catalog))
    stamps: list[str] = []
    for number, row in enumerate(rows):
        values = {name: value for name, value in row.items() if value is not None}
        told = f"{about.model} {json.dumps(values, default=str, sort_keys=True)}".encode()
        stamps.append(hashlib.blake2b(told + image_key(catalog, number), digest_size=8).hexdigest())
    return stamps


def _known(table: Any | None) -> dict[str, str]:
    """id → stamp of every item of the table."""
    if table is None:
        return {}
    found = table.search().select(["id", "stamp"]).to_arrow()
    return dict(zip(found["id"].to_pylist(), found["stamp"].to_pylist(), strict=True))


def _read(run: Run, catalog: Catalog, numbers: np.ndarray) -> tuple[np.ndarray, list[bytes], dict[int, str]]:
    """Of some rows: images for the model, pictures for the eye, and why a row has neither."""
    settings = run.recipe.image

    def both(place: int) -> tuple[np.ndarray, bytes] | str:
        try:
            data = catalog.image_bytes(int(numbers[place]))
            return decode(data, size=settings.size, fit=settings.fit), _jpeg(decode(data, size=SIDE))
        except DecodeError as error:
            return str(error)

    images: list[np.ndarray] = []
    pictures: list[bytes] = []
    broken: dict[int, str] = {}
    for row, found in zip(numbers.tolist(), in_threads(both, len(numbers)), strict=True):
        if isinstance(found, str):
            broken[row] = found
        else:
            images.append(found[0])
            pictures.append(found[1])
    empty = np.empty((0, settings.size, settings.size, 3), np.uint8)
    return np.stack(images) if images else empty, pictures, broken


def _jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return file.getvalue()

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
from PIL import Image

from mscon.data.cache import Skipped, image_key
from mscon.data.catalog import Catalog
from mscon.data.decode import DecodeError, decode
from mscon.data.threads import in_threads
from mscon.errors import UserError
from mscon.files import digest
from mscon.run import Run
from mscon.search.blocks import blocks_of_images, check_names
from mscon.search.index.approximate import FROM, GROWN, Recall, approximate
from mscon.search.index.layout import ABOUT, ITEMS, About, arrow, label_names
from mscon.search.index.table import Index, among, connect, first_line

ROWS = 2048
"""Written at a time: what a crash loses no more of."""

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
    - `replace`: make a new index, whatever is there.
    - `progress`: called with rows done and rows in all; `say`: told what else is done.

    **Raises:** `UserError` for a catalog that cannot be used, an id that is there twice, an index of another model, and
    a place that cannot be written.
    """
    check_names(run)
    ids = _ids(catalog, id)
    database, model = connect(to), run.model()
    there = None if replace else _open(to, run)
    if there and (half > there.about.half or (heads_only and there.about.shared)):
        raise UserError(
            f"{to} is there already: --half and --heads-only are for a new index; make it anew with --replace"
        )
    kept, names = _labels(catalog, id, model.similarities, there.about if there else None)
    if there is None:
        about = About(
            model=digest(run.model_path),
            heads=dict(model.architecture.head_dims),
            shared=0 if heads_only else model.architecture.embedding_dim,
            half=half,
            apart=len(catalog) >= FROM and len(model.similarities) > 1,
            labels=kept.columns,
        )
        table = None
    else:
        about, table = there.about, there.table
    stamps = _stamps(catalog, kept, about)
    known = _known(table)
    todo = np.array([known.get(each) != stamp for each, stamp in zip(ids, stamps, strict=True)])
    skipped: list[Skipped] = []
    added = changed = 0
    try:
        for first in range(0, len(catalog), ROWS):
            numbers = first + np.flatnonzero(todo[first : first + ROWS])
            images, pictures, broken = _read(run, catalog, numbers)
            skipped += [Skipped(row, ids[row], reason) for row, reason in broken.items()]
            numbers = np.array([row for row in numbers.tolist() if row not in broken], dtype=np.int64)
            if len(numbers):
                rows = arrow(
                    about,
                    [ids[row] for row in numbers],
                    blocks_of_images(model, images),
                    kept[numbers],
                    pictures,
                    [stamps[row] for row in numbers],
                )
                old = [ids[row] for row in numbers if ids[row] in known]
                table = _write(database, table, rows, about, old)
                added, changed = added + len(numbers) - len(old), changed + len(old)
            if progress:
                progress(min(len(catalog), first + ROWS), len(catalog))
        if table is None:
            row = skipped[0]
            raise UserError(f"{catalog.source}: no image can be read. Row {row.row} ({row.id}): {row.reason}")
        index, recall = _finished(Index(to, table, about), database, new=added + changed > 0, say=say)
    except (ValueError, RuntimeError, OSError, pa.ArrowException) as error:
        raise UserError(
            f"{to}: could not be written ({first_line(error)}); what was written before is there:"
            " mend it and give the same command again"
        ) from error
    return Updated(len(index), added, changed, len(ids) - int(todo.sum()), tuple(skipped), names, recall)


def delete_items(to: str, ids: Sequence[str], run: Run | None = None) -> int:
    """Take items out of an index, of that `run`, by their ids. **Returns** how many there are left.

    **Raises:** `UserError` for ids that are not there, and then takes none out.
    """
    index = Index.open(to, run)
    known = index.rows_of(ids)
    if missing := [each for each in ids if each not in known]:
        raise UserError(
            f"{to} has no item {missing[0]!r}" + (f", nor {len(missing) - 1} more of these" if missing[1:] else "")
        )
    index.table.delete(among(ids))
    return len(index)


def write_about(database: Any, about: About) -> None:
    """Write down what an index is of, in place of what was."""
    database.create_table(ABOUT, pa.table({"json": [about.to_json()]}), mode="overwrite")


def _open(to: str, run: Run) -> Index | None:
    """The index that is there; None where there is none, or not yet a row of it."""
    there = connect(to).list_tables().tables
    return Index.open(to, run) if {ABOUT, ITEMS} <= set(there) else None


def _ids(catalog: Catalog, column: str | None) -> list[str]:
    ids = catalog.ids(column)
    rows: dict[str, int] = {}
    for row, each in enumerate(ids):
        if rows.setdefault(each, row) != row:
            raise UserError(
                f"{catalog.source}: rows {rows[each]} and {row} have the same id, {each!r}: an index tells items by"
                " their ids. Name another column with --id"
            )
    return ids


def _labels(
    catalog: Catalog, id: str | None, similarities: Sequence[str], about: About | None
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The catalog's columns, but the images and the ids, by the names that they have in the table; and those that a
    table which is there has no place for.
    """
    columns = [name for name in catalog.table.columns if name not in (catalog.image, id or "id")]
    plain = [name for name in columns if catalog.table[name].dtype not in (pl.Binary, pl.Object)]
    table = catalog.table.select(_storable(catalog.table[name]) for name in plain)
    table = table.rename(label_names(plain, similarities))
    if about is None:
        return table, ()
    return table.select(n for n in table.columns if n in about.labels), tuple(
        n for n in table.columns if n not in about.labels
    )


def _storable(values: pl.Series) -> pl.Series:
    """As text what a table has no type for."""
    odd = (pl.Categorical, pl.Enum, pl.Time, pl.Duration, pl.Null)
    return values.cast(pl.String) if isinstance(values.dtype, odd) else values


def _stamps(catalog: Catalog, labels: pl.DataFrame, about: About) -> list[str]:
    """Of each item what changes when its image, its columns or the model do."""
    rows = labels.iter_rows() if labels.width else iter([()] * len(catalog))
    stamps: list[str] = []
    for number, row in enumerate(rows):
        told = f"{about.model} {json.dumps(row, default=str)}".encode()
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


def _write(database: Any, table: Any | None, rows: pa.Table, about: About, old: list[str]) -> Any:
    """Rows into the table, in one commit; the first make it, once what it is of is written down."""
    if table is None:
        write_about(database, about)
        return database.create_table(ITEMS, rows, mode="overwrite")
    rows = _fitted(rows, table.schema)
    if old:
        table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)
    else:
        table.add(rows)
    return table


def _fitted(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """With the columns and types of a table that is there; null where the rows have no such column."""
    columns = {
        each.name: rows[each.name].cast(each.type) if each.name in rows.column_names else pa.nulls(len(rows), each.type)
        for each in schema
    }
    return pa.table(columns, schema=schema)


def _finished(
    index: Index, database: Any, *, new: bool, say: Callable[[str], None]
) -> tuple[Index, tuple[Recall, ...]]:
    """Small files joined, and approximate indexes brought up to date, built or built anew."""
    if new:
        say("tidying up the table")
        index.table.optimize()
    chosen, rows = index.about.approximate, len(index)
    if rows < FROM or (chosen and rows < GROWN * chosen.rows):
        return index, ()
    found, measured = approximate(index, say=say)
    about = replaced(index.about, approximate=found)
    write_about(database, about)
    return Index(index.source, index.table, about), tuple(measured)

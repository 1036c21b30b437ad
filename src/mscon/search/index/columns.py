"""A catalog's columns as a table can hold them: names, types, and the table's own where it is there already."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from mscon.data.catalog import Catalog
from mscon.errors import UserError
from mscon.search.index.layout import About, label_names


def item_ids(catalog: Catalog, column: str | None) -> tuple[list[str], str]:
    """The items' ids, and what they are told apart within: see `About.ids_from`.

    **Raises:** `UserError` for an id that is there twice, and an empty cell in a column of ids.
    """
    named = column or next(iter(catalog.usual_ids), None)
    rows: dict[str, int] = {}
    for row, each in enumerate(catalog.named_by(column)):
        if each is None and named:
            raise UserError(
                f"{catalog.source}: row {row} has no id in column {named!r}, and an index tells items by their ids:"
                " fill it in, or name another column with --id"
            )
        name = str(row) if each is None else each
        if rows.setdefault(name, row) != row:
            raise UserError(
                f"{catalog.source}: rows {rows[name]} and {row} have the same id, {name!r}: an index tells items by"
                " their ids. Name another column with --id"
            )
    by_path = catalog.stored is None and catalog.table[catalog.image].dtype == pl.String
    return list(rows), "" if named else _absolute(catalog.root if by_path else catalog.source)


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).resolve())


def storable_labels(
    catalog: Catalog, id: str | None, similarities: Sequence[str], about: About | None
) -> tuple[pl.DataFrame, dict[str, str], tuple[str, ...]]:
    """The catalog's columns, but the images, the ids and binary ones, by the names that they have in the table;
    `About.named`; and those that a table which is there, `about`, has no place for.
    """
    columns = [name for name in catalog.table.columns if name not in (catalog.image, id or "id")]
    plain = [name for name in columns if catalog.table[name].dtype not in (pl.Binary, pl.Object)]
    table = catalog.table.select(_storable(catalog.table[name]) for name in plain)
    names = label_names(plain, similarities, about.named if about else None)
    if about is None:
        return table.rename(names), {column: name for column, name in names.items() if name != column}, ()
    left_out = tuple(column for column in plain if about.column(column) != names[column])
    kept = table.select(table[column] for column in plain if column not in left_out)
    return kept.rename(names, strict=False), about.named, left_out


def check_types(labels: pl.DataFrame, schema: pa.Schema, source: str, to: str) -> None:
    """**Raises** `UserError` for a column whose values the table's own cannot hold."""
    for name in labels.columns:
        wanted = schema.field(name).type
        try:
            labels[name].to_arrow().cast(wanted)
        except pa.ArrowException as error:
            raise UserError(
                f"{source}: column {name!r} holds {labels[name].dtype}, which {to} cannot hold as {wanted} ({error}):"
                " mend the column, or make the index anew with --replace"
            ) from None


def fitted(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """With the columns and types of a table that is there; null where the rows have no such column."""
    columns = {
        each.name: rows[each.name].cast(each.type) if each.name in rows.column_names else pa.nulls(len(rows), each.type)
        for each in schema
    }
    return pa.table(columns, schema=schema)


def _storable(values: pl.Series) -> pl.Series:
    kept = _kept_as(values.dtype)
    return values if kept == values.dtype else values.cast(kept)


def _kept_as(dtype: Any) -> Any:
    """Its like that a table has: text for what it has no type for, microseconds, which Python has, for nanoseconds."""
    if isinstance(dtype, pl.List | pl.Array):
        return pl.List(_kept_as(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({each.name: _kept_as(each.dtype) for each in dtype.fields})
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
        return pl.Datetime("us", dtype.time_zone)
    odd = (pl.Categorical, pl.Enum, pl.Time, pl.Duration, pl.Null, pl.Int128)
    return pl.String() if dtype.base_type() in odd else dtype

"""Which items may be found: the values that a label has, to be chosen from, and a condition in SQL."""

from collections.abc import Mapping, Sequence

import polars as pl

from mscon.search import Collection, Space
from mscon.search.index import Index

MOST = 30
"""Values of a column, above which it is no list to choose from."""

MISSING = "(missing)"

Value = str | int | float | bool


def choices(
    collection: Collection, columns: Sequence[str], kinds: Mapping[str, str] | None = None
) -> dict[str, list[Value]]:
    """The values of those of the columns that have few, in order; `MISSING` last where some have none.

    **Arguments:** `kinds`: as what a run has learned them, see `mscon.data.labels.learned_kinds`; then classes may be
    numbers with a fraction, and whole numbers none. Of other columns words, whole numbers, and yes and no can be chosen
    from.
    """
    found: dict[str, list[Value]] = {}
    for name in columns:
        values = _column(collection, name, (kinds or {}).get(name))
        if values is None or "`" in name:  # which would end a name in SQL
            continue
        few = values.drop_nulls().unique().head(MOST + 1).sort()
        if 2 <= len(few) <= MOST:
            found[name] = [*few.to_list(), *([MISSING] if values.null_count() else [])]
    return found


def condition(chosen: Mapping[str, Sequence[Value]], typed: str | None) -> str | None:
    """Of every column one of the values chosen, none chosen being any, and what somebody typed; None for all items."""
    parts = [_one_of(name, values) for name, values in chosen.items() if values]
    if typed and typed.strip():
        parts.append(f"({typed.strip()})")
    if len(parts) == 1 and typed and typed.strip():
        return typed.strip()  # as it was typed, for messages that quote it
    return " AND ".join(parts) or None


def _column(collection: Collection, name: str, kind: str | None) -> pl.Series | None:
    """Of what can be chosen from; else nothing."""
    if isinstance(collection, Space):
        table = collection.catalog.table
        values = table[name] if name in table.columns else None
    elif isinstance(collection, Index) and collection.about.column(name) == name:
        values = pl.Series(name, collection.table.search().select([name]).to_arrow()[name].to_pylist())
    else:
        values = None
    if values is None or kind == "continuous":
        return None
    if values.dtype.is_float() and kind == "categorical":
        values = values.fill_nan(None)
        return values.cast(pl.Int64) if (values.is_finite() & (values == values.round())).all() else values
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    return values if values.dtype in (pl.String, pl.Boolean) or values.dtype.is_integer() else None


def _one_of(name: str, values: Sequence[Value]) -> str:
    words = ", ".join(_literal(each) for each in values if each != MISSING)
    parts = [f"`{name}` IN ({words})"] if words else []
    if MISSING in values:
        parts.append(f"`{name}` IS NULL")
    return f"({' OR '.join(parts)})"


def _literal(value: Value) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower()  # true, false, 12

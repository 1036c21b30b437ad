"""Groups of items that belong together, and splits in which none of them straddles."""

from collections.abc import Sequence

import polars as pl

from mscon.data.catalog import Catalog
from mscon.data.splits import PARTS, read_split


def joined(*columns: pl.Series) -> pl.Series:
    """The group of each row, numbered from 0: rows are in one that share a value of any column, directly or by way of
    others. An empty cell joins nothing.
    """
    parent = list(range(len(columns[0])))

    def first(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    for column in columns:
        seen: dict[object, int] = {}
        for row, value in enumerate(column):
            if value is not None:
                one, other = sorted((first(seen.setdefault(value, row)), first(row)))
                parent[other] = one
    return pl.Series("group_id", [first(row) for row in range(len(parent))]).rank("dense").cast(pl.Int64) - 1


def grouped_split(
    table: pl.DataFrame, groups: pl.Series, *, stratify: Sequence[str], fractions: tuple[float, float, float]
) -> pl.Series | None:
    """The part of each row so that no group straddles, dealt by `mscon.data.splits.read_split` with seed 0.

    **Returns:** `train`, `val` or `test`; None where there are fewer groups than parts.
    """
    if groups.n_unique() < len(PARTS):
        return None
    dealt = table.drop("split", strict=False).with_columns(groups.alias("group_id"))
    catalog = Catalog(table=dealt, image="image", root="/", source="the set")
    return read_split(catalog, group="group_id", stratify=stratify, fractions=fractions).names


def with_grouped_split(table: pl.DataFrame, parts: pl.Series | None) -> tuple[pl.DataFrame, list[str]]:
    """The table with the column `split_by_group`, or without it and with a note where there are too few groups."""
    if parts is None:
        return table, ["there is no split_by_group: with fewer than three groups there is nothing to divide"]
    return table.with_columns(parts.alias("split_by_group")), []

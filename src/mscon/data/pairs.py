"""Pairs of items that people or logs found alike: from a table of ids to row numbers of the catalog."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from mscon.data.catalog import Catalog
from mscon.data.cells import as_text
from mscon.data.sources import Source, read_source
from mscon.data.splits import Split
from mscon.errors import UserError, nearest

# An unknown id is compared with so many before and after it in order: with a million, that would take a minute.
COMPARED = 1000


@dataclass(frozen=True, eq=False)
class PairTable:
    """Which items are linked, how strongly, and which were judged different; every pair once, in ascending order.

    - `edges`: the two row numbers of each linked pair, the lower first.
    - `strength`: > 0 of each, in any unit.
    - `apart`: the pairs judged different. They are not linked, as most pairs are not; a sampler can bring them into one
      batch, where they are hard negatives of each other.
    - `name`: what they were read from, for messages.
    """

    edges: Int64[np.ndarray, "e 2"]
    strength: Float64[np.ndarray, " e"]
    apart: Int64[np.ndarray, "h 2"]
    name: str

    def __len__(self) -> int:
        """The number of linked pairs."""
        return len(self.edges)

    def at(self, rows: Int64[np.ndarray, " n"]) -> "PairTable":
        """The pairs among these rows alone, each row renumbered by its place here: for a catalog of which some images
        could not be read, or whose rows are wanted in another order.
        """
        places = self._table(rows, np.arange(len(rows)))
        edges, apart = (np.sort(places[pairs], axis=1) for pairs in (self.edges, self.apart))
        linked, different = _known_in_order(edges), _known_in_order(apart)
        return replace(self, edges=edges[linked], strength=self.strength[linked], apart=apart[different])

    def within(self, *parts: Int64[np.ndarray, " _"]) -> "PairTable":
        """The pairs whose two rows are in the same one of these parts; row numbers stay."""
        rows = np.concatenate(parts)
        part = self._table(rows, np.repeat(np.arange(len(parts)), [len(each) for each in parts]))
        linked, different = (
            (part[pairs[:, 0]] >= 0) & (part[pairs[:, 0]] == part[pairs[:, 1]]) for pairs in (self.edges, self.apart)
        )
        return replace(self, edges=self.edges[linked], strength=self.strength[linked], apart=self.apart[different])

    def _table(self, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        """`values` by row number, −1 for rows that are not named."""
        highest = max(int(each.max(initial=-1)) for each in (rows, self.edges, self.apart))
        table = np.full(highest + 1, -1)
        table[rows] = values
        return table


def _known_in_order(pairs: Int64[np.ndarray, "e 2"]) -> Int64[np.ndarray, " k"]:
    """Places of the pairs whose two rows are known, not −1, so that the pairs ascend."""
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return order[pairs[order, 0] >= 0]


def read_pairs(
    source: object,
    catalog: Catalog,
    *,
    id: str | None = None,
    first: str | None = None,
    second: str | None = None,
    strength: str | None = None,
) -> PairTable:
    """Reads a table of (item, item) or (item, item, strength), its items named by their ids in the catalog.

    A pair has no direction; where it is named several times, its strengths are added up. What then is above 0 is
    linked, what is below 0 was judged different, and what is 0 but for rounding says nothing and is left out.

    **Arguments:**

    - `source`: what `Catalog.read` takes; a CSV file needs a first line that names its columns.
    - `catalog`: whose items are named, all its rows, readable or not.
    - `id`: the catalog's column of ids, see `Catalog.ids`.
    - `strength`: the column of strengths. Left out, it is the one called `strength`, else the third one of three;
      without any, every row counts 1.
    - `first`, `second`: the columns of ids; when left out the first two of the others.

    **Raises:**

    - `UserError`: the table cannot be read or lacks a column; a cell is empty; an id is unknown, or several items have
      it; an item is paired with itself; a strength is 0 or no finite number; no pair is linked.
    """
    read = read_source(source)
    columns = _columns(read, first, second, strength)
    rows = catalog.named_by(id).alias("id").to_frame().with_row_index("row").drop_nulls()
    _check_header(read, columns[:2], rows["id"])
    one, other = (_items(read, name, rows, catalog.source) for name in columns[:2])
    if (same := np.flatnonzero(one == other)).size:
        value = read.table[columns[0]][int(same[0])]
        raise UserError(
            f"{read.name}, row {same[0]} (from 0): {value!r} is paired with itself. A pair is of two items: take"
            " the row out."
        )
    weights = np.ones(len(one)) if len(columns) == 2 else _strengths(read, columns[2])
    table = _added_up(one, other, weights, items=len(catalog), name=read.name)
    if len(table) == 0:
        raise UserError(f"{read.name}: no pair is left whose strengths add up to more than 0: nothing is alike.")
    return table


def training_pairs(table: PairTable, split: Split) -> PairTable:
    """What a training may know: the pairs within the training split, and those within the validation split to validate.

    A pair across splits belongs to neither: it would tell of held-out items.

    **Raises:** `UserError`: none lies within the training split.
    """
    known = table.within(split.train, split.val)
    if len(known.within(split.train)) == 0:
        raise UserError(
            f"{table.name}: of its {len(table)} pairs none lies within the {len(split.train)} training items, so "
            "there is nothing to learn from them. Pairs across splits do not count: give the catalog a split, or a "
            "group column, that keeps linked items together."
        )
    return known


def _columns(read: Source, first: str | None, second: str | None, strength: str | None) -> list[str]:
    names = read.table.columns
    if len(names) < 2:
        raise UserError(f"{read.name} has one column, {names[0]!r}: a table of pairs has two of ids, item and item.")
    for name in (first, second, strength):
        if name is not None and name not in names:
            raise UserError(
                f"{read.name} has no column {name!r}.{nearest(name, names)} Its columns: {', '.join(names)}."
            )
    if strength is None and "strength" in names and "strength" not in (first, second):
        strength = "strength"
    others = [name for name in names if name not in (first, second, strength)]
    ends = [others.pop(0) if end is None and others else end for end in (first, second)]
    if None in ends or len({*ends, strength}) < 3:
        raise UserError(
            f"{read.name}: two columns of items are needed, apart from the strength. Its columns: {', '.join(names)}."
            " Name those of the items (first, second)."
        )
    if strength is None and len(others) > 1:
        raise UserError(
            f"{read.name} has {len(names)} columns, {', '.join(names)}: which is the strength of a pair can't be told."
            " Name it (strength), or keep the two of items alone."
        )
    columns = [*ends, strength or (others[0] if others else None)]
    return [name for name in columns if name is not None]


def _check_header(read: Source, ends: list[str], ids: pl.Series) -> None:
    if ids.is_in(ends).sum() >= 2:
        raise UserError(
            f"{read.name}: its columns are called {ends[0]!r} and {ends[1]!r}, which are items. The first line should "
            "name the columns: put one such as first,second before it."
        )


def _items(read: Source, name: str, rows: pl.DataFrame, catalog: str) -> Int64[np.ndarray, " e"]:
    """The row number in the catalog of each id of a column."""
    text = as_text(read.table[name])
    where = f"{read.name}, column {name!r}, row"
    if text.null_count():
        raise UserError(f"{where} {text.is_null().arg_max()} (from 0): the cell is empty. A pair needs both its items.")
    known = rows.group_by("id").agg(pl.col("row").min(), items=pl.len())
    found = text.alias("id").to_frame().join(known, on="id", how="left", maintain_order="left")
    if unknown := found["row"].null_count():
        row = found["row"].is_null().arg_max() or 0
        others = f" Rows of this column that name unknown items: {unknown}." if unknown > 1 else ""
        raise UserError(
            f"{where} {row} (from 0): no item of {catalog} has the id {text[row]!r}."
            f"{_nearest(text[row], rows['id'].to_list())}{others} Take such rows out, or name the"
            " catalog's column of ids."
        )
    if (found["items"] > 1).any():
        row = (found["items"] > 1).arg_max() or 0
        raise UserError(
            f"{where} {row} (from 0): {found['items'][row]} items of {catalog} have the id {text[row]!r}. Name a"
            " column of the catalog in which every id occurs once."
        )
    return found["row"].cast(pl.Int64).to_numpy(writable=True)


def _nearest(value: str, ids: Sequence[str]) -> str:
    """The id most like `value`, looked for among those that begin or end like it."""
    near: list[str] = []
    for step in (1, -1):
        ordered = sorted(each[::step] for each in ids)
        place = bisect_left(ordered, value[::step])
        near += [each[::step] for each in ordered[max(0, place - COMPARED) : place + COMPARED]]
    return nearest(value, near)


def _strengths(read: Source, name: str) -> Float64[np.ndarray, " e"]:
    values = read.table[name]
    where = f"{read.name}, column {name!r}"
    if not (values.dtype.is_numeric() or values.dtype in (pl.String, pl.Null)):
        raise UserError(f"{where} holds {values.dtype}: the strength of a pair is a number. Name it (strength).")
    plain = values.str.strip_chars() if values.dtype == pl.String else values
    numbers = plain.cast(pl.Float64, strict=False)
    good = (numbers.is_finite() & (numbers != 0)).fill_null(False)
    if not good.all():
        row = good.arg_min() or 0
        raise UserError(
            f"{where}, row {row} (from 0): a strength of {values[row]!r} says nothing. It is a finite number, above 0 "
            "where the two items are alike (1 if nothing else is known) and below 0 where they were judged different."
        )
    return numbers.to_numpy(writable=True)


def _added_up(one: np.ndarray, other: np.ndarray, weights: np.ndarray, *, items: int, name: str) -> PairTable:
    """Each pair once, the lower row first."""
    keys, pair = np.unique(np.minimum(one, other) * items + np.maximum(one, other), return_inverse=True)
    total = np.bincount(pair, weights=weights, minlength=len(keys))
    # 0.1 + 0.2 − 0.3 is not quite 0.
    noise = 1e-12 * np.bincount(pair, weights=np.abs(weights), minlength=len(keys))
    pairs = np.stack(np.divmod(keys, items), axis=1)
    linked = total > noise
    return PairTable(edges=pairs[linked], strength=total[linked], apart=pairs[total < -noise], name=name)

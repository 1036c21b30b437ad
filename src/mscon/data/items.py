"""The items of a run and the part that each is in: kept with it, and found again in a catalog that has changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int64
from polars.exceptions import PanicException, PolarsError

from mscon.data.catalog import Catalog
from mscon.data.digests import content_digests, place_digests, text_digests
from mscon.data.splits import PARTS, Split
from mscon.errors import UserError
from mscon.files import write_whole

COLUMNS = {"id": pl.String, "image": pl.UInt64, "split": pl.String}


@dataclass(frozen=True, eq=False)
class Found:
    """A run's items in a catalog.

    - `rows`: the catalog's row of each item that is there, in the run's order; `places`: its place among the run's.
    - `split`: positions in `rows`.
    - `gone`: part → how many of its items are not there; `new`: rows that are none of the run's items.
    - `by_id`: items that are told by their id alone, because their image cell is another.
    """

    rows: Int64[np.ndarray, " n"]
    places: Int64[np.ndarray, " n"]
    split: Split
    gone: dict[str, int]
    new: int
    by_id: int


@dataclass(frozen=True, eq=False)
class Items:
    """Every item of a catalog in its order, by what it is known again, and its part.

    - `table`: `id`, the text of its id or an empty one; `image`, a digest of what the image cell holds: the bytes, or
      the path, without the folder that relative paths start from; `split`: train, val or test.

    Where images in Parquet files are not to be read (`unread`), such an item is known by its id, and `image` tells
    nothing; without a column of ids `image` is a digest of its file's place and its row there.
    """

    table: pl.DataFrame

    @classmethod
    def of(cls, catalog: Catalog, split: Split, *, id: str | None = None, unread: bool = False) -> "Items":
        """The items of a catalog; `id` names its column of ids, found by name when left out."""
        return cls(known_by(catalog, id, unread=unread).with_columns(split.names))

    @classmethod
    def read(cls, path: Path) -> "Items":
        """What `write` wrote. **Raises** `UserError` for a file that is nothing of the kind."""
        try:
            table = pl.read_parquet(path, columns=list(COLUMNS), glob=False, hive_partitioning=False)
        except (OSError, PolarsError, PanicException) as error:
            raise UserError(f"{path}: not the split of a run: {error}") from None
        if dict(table.schema) != COLUMNS or not table["split"].is_in(PARTS).all():
            raise UserError(f"{path}: not the split of a run: it should hold an id, an image and a split of each item")
        return cls(table)

    def write(self, path: Path) -> None:
        """Write them as Parquet, whole or not at all. **Raises** `UserError` when the disk refuses."""
        write_whole(path, self.table.write_parquet)

    def __len__(self) -> int:
        """How many items."""
        return self.table.height

    def find(self, catalog: Catalog, *, id: str | None = None, unread: bool = False) -> Found:
        """The items among a catalog's rows, whatever their order and whatever has been added.

        An item is the row with its id and image cell; else one with the same image cell; else the one with its id,
        where that is the only one and its image none of the run's. Of several alike the first is the first.

        **Raises:** `UserError` when none of them is there.
        """
        known = known_by(catalog, id, unread=unread)
        rows = np.full(len(self), -1, dtype=np.int64)
        free = np.ones(len(catalog), dtype=bool)
        by_id = 0
        for keys in (["id", "image"], ["image"], ["id"]):
            if not (rows < 0).any() or not free.any():
                break
            ours, theirs = (each.with_row_index("row") for each in (self.table, known))
            if keys == ["id"]:
                ours, theirs = (each.filter(pl.col("id").is_unique(), pl.col("id") != "") for each in (ours, theirs))
                theirs = theirs.filter(~pl.col("image").is_in(self.table["image"].implode()))
            places, found = _paired(ours.filter(rows[ours["row"]] < 0), theirs.filter(free[theirs["row"]]), keys)
            rows[places], free[found] = found, False
            by_id = len(found) if keys == ["id"] else 0
        there = rows >= 0
        if not there.any():
            raise UserError(
                f"{catalog.source}: none of the run's {len(self):,} items is in it: ids and image cells are all others."
                " Give the items the ids or the image cells that they had, or start a new run"
            )
        parts = self.table["split"].to_numpy()
        split = Split(*(np.flatnonzero(parts[there] == name) for name in PARTS))
        gone = {name: int((parts[~there] == name).sum()) for name in PARTS}
        return Found(rows[there], np.flatnonzero(there), split, gone, int(free.sum()), by_id)

    def same(self, other: "Items") -> bool:
        """Whether these are the same items in the same order and parts."""
        return self.table.equals(other.table)


def known_by(catalog: Catalog, id: str | None = None, *, unread: bool = False) -> pl.DataFrame:
    """What each row of a catalog is known again by: `id` and `image`, as in `Items`."""
    ids = _ids(catalog, id).alias("id")
    if catalog.stored is None or not unread:
        return pl.DataFrame({"id": ids.fill_null(""), "image": content_digests(catalog)})
    digests = np.where(ids.is_null(), place_digests(catalog.stored, catalog.root), text_digests(ids))
    return pl.DataFrame({"id": ids.fill_null(""), "image": digests})


def _paired(
    ours: pl.DataFrame, theirs: pl.DataFrame, keys: Sequence[str]
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Row numbers of both that have the same keys, the first with the first, the second with the second."""
    numbered = [
        each.select("row", *keys).with_columns(nth=pl.int_range(pl.len()).over(keys)) for each in (ours, theirs)
    ]
    joined = numbered[0].join(numbered[1], on=[*keys, "nth"])
    return joined["row"].cast(pl.Int64).to_numpy(), joined["row_right"].cast(pl.Int64).to_numpy()


def _ids(catalog: Catalog, column: str | None) -> pl.Series:
    """What names each item, apart from its image; null where nothing does."""
    usual = (each for each in catalog.usual_ids if each != catalog.image)
    name = next(usual, None) if column is None else column
    if name is None:
        return pl.Series("id", [None], dtype=pl.String).new_from_index(0, len(catalog))
    return catalog.named_by(name)

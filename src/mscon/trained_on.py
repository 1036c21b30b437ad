"""What a training sees of its catalog, item by item, kept with the run: to be told apart when the training goes on."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import UInt64
from polars.exceptions import PanicException, PolarsError

from mscon.data.labels import LabelColumn
from mscon.data.pairs import PairTable, training_pairs
from mscon.errors import UserError
from mscon.files import write_whole
from mscon.prepare import Prepared
from mscon.recipe import Recipe

FILE = "trained_on.parquet"
PIXELS = "pixels"
NAMED = 3
"""Items that a change is shown by."""


def write_trained_on(folder: Path, recipe: Recipe, data: Prepared) -> None:
    """Keep what a training begins with. **Raises** `UserError` when the disk refuses."""
    write_whole(folder / FILE, trained_on(recipe, data).write_parquet)


def check_trained_on(folder: Path, recipe: Recipe, data: Prepared) -> None:
    """Whether a training would go on with what it began with; a run that was begun before this was kept does.

    **Raises:** `UserError` that says what is another: items, images, labels or pairs.
    """
    path = folder / FILE
    if not path.exists():
        return
    try:
        before = pl.read_parquet(path, glob=False, hive_partitioning=False)
        changes = list(_changes(before, trained_on(recipe, data), data))
    except LookupError:
        raise UserError(
            f"{path}: tells of an item or a class that the run does not have: it or labels.json is another run's. To go"
            " on with the catalog as it is now, remove this file"
        ) from None
    except (OSError, PolarsError, PanicException) as error:
        raise UserError(
            f"{path}: cannot be read: {error}. To go on with the catalog as it is now, remove this file"
        ) from None
    if changes:
        raise UserError(
            f"{data.catalog.source} is not what {folder} began its training with:"
            + "".join(f"\n  {each}" for each in changes)
            + f"\nMake it as it was and give the command again, or train a new run from {folder / 'recipe.toml'}. To go"
            f" on with what is there now, remove {path}."
        )


def trained_on(recipe: Recipe, data: Prepared) -> pl.DataFrame:
    """A row for each readable item of train and val, in the run's order.

    **Returns:** `item`, its place among the run's items; `pixels`, 64 bits of its decoded image, but for a training
    without a cache, which does not look at every image before it begins; and under their own names, after a colon, the
    value of each label that is trained on and 64 bits of its pairs.
    """
    rows = np.sort(np.concatenate([data.split.train, data.split.val]))
    columns = {f":{name}": data.values[name][rows] for name in recipe.labelled}
    columns |= {
        f":{name}": _of_pairs(training_pairs(each, data.split), data)[rows] for name, each in data.pairs.items()
    }
    if data.pixels.digests is not None:
        columns = {PIXELS: data.pixels.digests[rows], **columns}
    return pl.DataFrame({"item": data.places[rows], **columns})


def _of_pairs(pairs: PairTable, data: Prepared) -> UInt64[np.ndarray, " n"]:
    """A number for each row that changes when a pair of it does."""
    rows = np.concatenate([pairs.edges, pairs.apart])
    both = data.places[rows].astype(np.uint64)
    strength = np.concatenate([pairs.strength, np.full(len(pairs.apart), -1.0)])
    # Odd factors: whatever is multiplied by one can be told from others, modulo 2⁶⁴.
    mixed = both[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ both[:, 1] * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed = (mixed ^ (mixed >> np.uint64(31)) ^ strength.view(np.uint64)) * np.uint64(0x165667B19E3779F9)
    sums = np.zeros(len(data.places), np.uint64)
    np.add.at(sums, rows.ravel(), mixed.repeat(2))
    return sums


def _changes(before: pl.DataFrame, now: pl.DataFrame, data: Prepared) -> Iterator[str]:
    """What is another, in words."""
    names = _names(data)
    if gone := before.join(now, on="item", how="anti")["item"].to_list():
        yield (
            f"{len(gone):,} of the {len(before):,} items that it learns from or validates by are gone, or their images"
            f" cannot be read: {_shown([names[each] for each in gone])}"
        )
    both = before.join(now, on="item", suffix=" now")
    if came := len(now) - len(both):
        yield f"{came:,} items whose images could not be read then can be now"
    for column in before.columns[1:]:
        if column not in now.columns:
            continue
        other = both.filter(pl.col(column).ne_missing(pl.col(f"{column} now")))
        if not len(other):
            continue
        items = [names[each] for each in other["item"]]
        if column == PIXELS:
            yield f"{_count(other)} another image: {_shown(items)}"
        elif label := data.labels.get(column[1:]):
            yield f"{_count(other)} another {column[1:]}: {_shown(_told(items, other, column, label))}"
        else:
            yield f"{_count(other)} other pairs under {column[1:]}: {_shown(items)}"


def _told(items: Sequence[str], other: pl.DataFrame, column: str, label: LabelColumn) -> list[str]:
    values = zip(other[column], other[f"{column} now"], strict=True)
    return [
        f"{item} {label.exact(was)!r}, now {label.exact(now)!r}" for item, (was, now) in zip(items, values, strict=True)
    ]


def _names(data: Prepared) -> Mapping[int, str]:
    """What a person knows an item by: its id, or its row when the run began."""
    assert data.items is not None  # of what is trained on there are items
    return {place: id or f"row {place}" for place, id in enumerate(data.items.table["id"])}


def _count(items: pl.DataFrame) -> str:
    return "1 item has" if len(items) == 1 else f"{len(items):,} items have"


def _shown(items: Sequence[str]) -> str:
    return "; ".join(items[:NAMED]) + (" …" if len(items) > NAMED else "")

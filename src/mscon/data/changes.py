"""What has changed in a catalog since a run first read it, in plain words: its items, their split, their labels."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import polars as pl

from mscon.data.catalog import Catalog
from mscon.data.cells import as_paths, as_tags, as_text
from mscon.data.items import Found
from mscon.data.labels import LabelColumn
from mscon.data.splits import moved_rows

LISTED = 5
"""Values of a label that are named."""

VALUES = {"categorical": "a class", "tags": "tags", "hierarchy": "a path"}


def changed_items(catalog: Catalog, found: Found, column: str | None) -> Iterator[str]:
    """What of a run's items is not as it was, and what follows from it.

    **Arguments:** `catalog`: of the items `found`; `column`: the one that the recipe takes the split from.
    """
    if found.new:
        yield (
            f"{catalog.source}: {_items_are(found.new)} new to the run and in none of its parts: neither trained on nor"
            " scored. To take them in, train a new run from its recipe.toml."
        )
    if lost := [f"{count:,} of {part}" for part, count in found.gone.items() if count]:
        yield (
            f"{catalog.source}: {_items_are(sum(found.gone.values()))} gone that the run had ({', '.join(lost)}): it is"
            " used without them. To have what was trained and scored before, put their rows back."
        )
    if found.by_id:
        yield (
            f"{catalog.source}: {_items_are(found.by_id)} known by their ids alone, for their image cells are not those"
            " that the run had. If these ids name other items by now, train a new run."
        )
    if moved := moved_rows(catalog, found.split, column):
        yield (
            f"{catalog.source}: {_items_are(moved)} in another part by the split column than in the run, and stay in"
            " the run's. To follow the column, train a new run from its recipe.toml."
        )


def changed_labels(column: LabelColumn, catalog: Catalog, values: np.ndarray) -> Iterator[str]:
    """The classes, sets of tags or paths that were not there when the column was read; none of numbers.

    **Arguments:** `values`: what `column.read` makes of the catalog, −1 where a cell is empty or its value not known.
    """
    if column.kind == "continuous":
        return
    unknown = _texts(column, catalog.take(np.flatnonzero(values < 0)))
    if not unknown:
        return
    listed = [f"{name!r} {count:,}" for name, count in unknown.most_common(LISTED)]
    named = ", ".join(listed) + (" …" if len(unknown) > LISTED else "")
    yield (
        f"{column.name}: {_items_are(unknown.total())} of {VALUES[column.kind]} that the run does not know"
        f" ({named}) and count as missing. Write them as they were, or train a new run."
    )


def _texts(column: LabelColumn, catalog: Catalog) -> Counter[str]:
    cells = [catalog.column(name) for name in column.columns or (column.name,)]
    if column.kind == "tags":
        return Counter(", ".join(tags) for tags in as_tags(cells[0], column.separator) if tags)
    if column.kind == "hierarchy":
        return Counter(nodes[-1] for nodes in as_paths(cells, column.separator) if nodes)
    each = pl.DataFrame([as_text(cell).alias(str(number)) for number, cell in enumerate(cells)])
    known = each.drop_nulls()  # of a joint similarity, a row that lacks one of its labels is missing as it was
    return Counter(known.select(pl.concat_str(pl.all(), separator=", ")).to_series().to_list())


def _items_are(count: int) -> str:
    return f"{count:,} item is" if count == 1 else f"{count:,} items are"

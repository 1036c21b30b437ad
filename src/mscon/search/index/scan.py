"""Exact search in a table: every row that passes is read once, a few thousand at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from mscon.search.collection import best
from mscon.search.condition import whole
from mscon.search.index.layout import HEADS, matrix
from mscon.settings import SHARED

TOGETHER = 16_384
"""Rows read at a time: some tens of megabytes."""


def scanned(table: Any, columns: list[str], where: str | None, *, together: int = TOGETHER) -> Iterator[Any]:
    """The table in record batches, of the rows that pass, with the number of each row as `_rowid`."""
    reading = table.search().select(columns).with_row_id(True)
    if where is not None:
        reading = reading.where(whole(where))
    yield from reading.to_batches(batch_size=together)


def scan(
    table: Any,
    heads: Float32[np.ndarray, "q z"] | None,
    shared: Float32[np.ndarray, "q s"] | None,
    k: int,
    where: str | None = None,
) -> list[tuple[Int64[np.ndarray, " k"], Float32[np.ndarray, " k"]]]:
    """Row numbers and scores of the k best rows of each of some queries, best first.

    **Arguments:** `heads`, `shared`: of each query the vector that is multiplied with those of the column, or None for
    a column that has no say and is not read.
    """
    asked = {name: queries.T for name, queries in ((HEADS, heads), (SHARED, shared)) if queries is not None}
    count = next(iter(asked.values())).shape[1]
    found = [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))] * count
    for batch in scanned(table, list(asked), where):
        parts = [matrix(batch[name]) @ queries for name, queries in asked.items()]
        scores = parts[0] if len(parts) == 1 else parts[0] + parts[1]
        numbers = batch["_rowid"].to_numpy().astype(np.int64)
        for place, (rows, score) in enumerate(found):
            here = best(np.ascontiguousarray(scores[:, place]), k)
            rows = np.concatenate([rows, numbers[here]])
            score = np.concatenate([score, scores[here, place]])
            kept = best(score, k)
            found[place] = rows[kept], score[kept]
    return found

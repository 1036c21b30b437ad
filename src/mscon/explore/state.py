"""What the page looks for, and what a mix of similarities finds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from mscon.model import MSConModel
from mscon.run import Run
from mscon.search import Collection, Hits, Query, Space, Weights, mix, query_of
from mscon.search.collection import check_count


@dataclass(frozen=True, eq=False)
class Asked:
    """A query and, of a catalog in memory, every item's cosines to it: taken once, however often the weights change.

    - `cosines`: similarity, or `shared`, → one per item; None where the collection is an index, which looks for itself.
    """

    query: Query
    cosines: dict[str, Float32[np.ndarray, " n"]] | None


def ask_item(collection: Collection, row: int) -> Asked:
    """A query that is one of the items."""
    blocks = {name: block[0] for name, block in collection.blocks_of([row]).items()}
    return _asked(collection, Query(blocks, (row,), ()))


def ask_picture(run: Run, collection: Collection, data: bytes, *, model: MSConModel | None = None) -> Asked:
    """A query that is a picture's file; `model`: the run's, where it is loaded already. **Raises** `UserError` for
    bytes that are none.
    """
    return _asked(collection, query_of(run, collection, [data], model=model))


def find(collection: Collection, asked: Asked, weights: Weights, *, k: int, where: str | None = None) -> Hits:
    """`collection.search`, from the cosines that are known. **Raises** `UserError` as it does."""
    if asked.cosines is None or not isinstance(collection, Space):
        return collection.search(asked.query, weights, k=k, where=where)
    check_count(k)
    return collection.ranked(asked.query, asked.cosines, mix(weights, collection.similarities), k=k, where=where)


def suggested(ids: Sequence[str], text: str, *, count: int) -> list[str]:
    """Ids to suggest to somebody who types: those that begin with the text, then those that hold it. Capitals do not
    count.
    """
    wanted = text.strip().lower()
    found: dict[str, None] = {}
    for matches in (str.startswith, str.__contains__):
        for each in ids:
            if len(found) == count:
                return list(found)
            if matches(each.lower(), wanted):
                found[each] = None
    return list(found)


def _asked(collection: Collection, query: Query) -> Asked:
    return Asked(query, collection.cosines(query) if isinstance(collection, Space) else None)

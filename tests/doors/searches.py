"""The doors of searches: conditions and weights, and what an index says of itself."""

import json
from typing import Any

import numpy as np
from hypothesis import strategies as st

from doors.house import House
from mutation import changed_bytes, changed_json, texts

_CONDITIONS = (
    *("character = 'a'", "ink > 0.5", "style IS NULL", "weight IN ('bold', 'regular')", "NOT (ink BETWEEN 0 AND 1)"),
    *(
        "SELECT 1",
        "1; DROP TABLE items",
        "character = 'a'; --",
        "EXISTS (SELECT 1)",
        "ink > (SELECT max(ink) FROM self)",
    ),
    *("read_csv('/etc/passwd')", "character LIKE '%'", "character RLIKE '(a+)+$'", "regexp_like(character, '(a|a)*b')"),
    *("true", "1", "NULL", "*", "ink / 0 > 1", "CAST(character AS INT) = 1", "character = 1", "upper(character) = 'A'"),
    *("repeat(character, 1000000000) = 'a'", "array_has(style, 'a')", "ink = 'x' OR 1 = 1", '"', "`", "''", "(" * 300),
)


def queries(_: House) -> st.SearchStrategy[tuple[str, list[str]]]:
    words = st.lists(
        st.sampled_from(["character=1", "style=-0.5", "shared=1", "a=nan", "=1", "x", "character=1e999"]) | texts,
        max_size=3,
    )
    wheres = (
        st.sampled_from(_CONDITIONS)
        | texts
        | st.sampled_from(_CONDITIONS).flatmap(
            lambda text: changed_bytes(text.encode()).map(lambda data: data.decode("utf-8", "replace"))
        )
    )
    return st.tuples(wheres, words)


def search(collection: Any, given: tuple[str, list[str]]) -> None:
    from mscon.search import Query
    from mscon.search.mix import read_weights

    row = next(iter(collection.rows_of(collection.ids[:1]).values()))
    query = Query({name: block[0] for name, block in collection.blocks_of([row]).items()}, (), ())
    hits = collection.search(query, read_weights(given[1]), k=3, where=given[0])
    assert len(hits.rows) <= 3
    assert np.isfinite(hits.scores).all()


def abouts(house: House) -> st.SearchStrategy[str]:
    return changed_json(json.loads(house.index.about.to_json()))


def enter_about(house: House, text: str) -> None:
    import pyarrow as pa

    from mscon.search.index import Index
    from mscon.search.index.layout import ABOUT
    from mscon.search.index.table import connect

    where = house.index.source
    kept = house.index.about.to_json()
    connect(where).create_table(ABOUT, pa.table({"json": [text]}), mode="overwrite")
    try:
        search(Index.open(where), ("true", []))
    finally:
        connect(where).create_table(ABOUT, pa.table({"json": [kept]}), mode="overwrite")

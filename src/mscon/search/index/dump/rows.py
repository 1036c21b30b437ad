"""What every dump reads: an index's rows, some at a time, and its vectors as they are named there."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32

from mscon.hub import escaped
from mscon.search.index.layout import HEADS, matrix, vector_name
from mscon.search.index.scan import scanned
from mscon.search.index.table import Index
from mscon.settings import SHARED
from mscon.templates import templates
from mscon.words import plain

MIX = "mix"
"""The name of all projections side by side."""

TOGETHER = 1024
"""Rows in memory at a time."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Some items.

    - `ids`; `vectors`: name → of each item; `labels`: of each item by column.
    """

    ids: list[str]
    vectors: dict[str, Float32[np.ndarray, "n d"]]
    labels: list[dict[str, Any]]


def widths(index: Index) -> dict[str, int]:
    """The vectors of an item, by name: `z_NAME` of each similarity, as in `mscon embed`; `mix`; `shared`."""
    shared = {SHARED: index.about.shared} if index.about.shared else {}
    return {vector_name(name): width for name, width in index.about.heads.items()} | {MIX: index.about.width} | shared


def in_turn(index: Index, progress: Callable[[int, int], None] | None = None) -> Iterator[Rows]:
    """All items, some at a time. `progress` is called with items done and items in all."""
    about, done, count = index.about, 0, len(index)
    shared = [SHARED] if about.shared else []
    for batch in scanned(index.table, ["id", *about.labels, HEADS, *shared], None, together=TOGETHER):
        heads = matrix(batch[HEADS])
        vectors = {vector_name(name): heads[:, place] for name, place in about.places.items()} | {MIX: heads}
        vectors |= {name: matrix(batch[name]) for name in shared}
        yield Rows(batch["id"].to_pylist(), vectors, batch.select(about.labels).to_pylist())
        done += batch.num_rows
        if progress:
            progress(done, count)


def as_texts(vectors: Float32[np.ndarray, "n d"]) -> list[str]:
    """Each vector as JSON has it, `[0.1,0.2]`, in as few digits as tell a float32 from every other."""
    lines = pl.DataFrame({"v": np.ascontiguousarray(vectors)}).write_ndjson().splitlines()
    return [line.removeprefix('{"v":').removesuffix("}") for line in lines]


def code(text: str) -> str:
    """As code in a table of Markdown, in one line, whatever backquotes and bars it has."""
    line = " ".join(plain(text).split()).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence}{line}{fence}" if len(fence) == 1 else f"{fence} {line} {fence}"


def readme(name: str, index: Index, **more: object) -> str:
    """What a dump's folder says of itself."""
    environment = templates("search/index/dump", html=False)
    environment.filters |= {"code": code, "words": escaped}
    weights = {each: 1.0 if place == 0 else 0.2 for place, each in enumerate(index.about.heads)}
    return environment.get_template(f"{name}.md.jinja").render(
        about=index.about,
        count=len(index),
        widths=widths(index),
        weights=weights,
        first=vector_name(next(iter(index.about.heads))),
        **more,
    )

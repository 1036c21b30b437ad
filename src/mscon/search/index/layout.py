"""What the table of an index holds, and what is written down about it."""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float32
from pydantic import Field, TypeAdapter, ValidationError

from mscon.errors import UserError
from mscon.parsing import explained, parse_json
from mscon.settings import SHARED

ITEMS, ABOUT = "items", "about"
"""The tables of an index: a row per item; and one row, a JSON text."""

ANEW = "items_anew"
"""The other name of the first, under which an index that replaces one is written until it is whole."""

FORMAT = 1
"""Of that text; raise it when an older one can no longer be read."""

HEADS = "z"
"""The column of all projections side by side."""

OWN = ("id", "picture", "stamp", SHARED, HEADS)
"""Columns that an index has for itself; a catalog's column of that name gets an underscore after it."""


RESERVED = ("_rowid", "_rowaddr", "_rowoffset", "_distance", "_score", "_relevance_score", "*")
"""What LanceDB has columns of for itself, or takes for all of them; a catalog's gets an underscore likewise."""


@dataclass(frozen=True)
class Approximate:
    """Approximate indexes as they were measured: of a kind of weights, how many partitions are looked through.

    - `rows`: of the table when they were built; `partitions`: of each index.
    - `probes`: kind of weights → partitions to look through; of kinds that are not there the search is exact.
    """

    rows: int
    partitions: Annotated[int, Field(ge=1)]
    probes: dict[str, Annotated[int, Field(ge=0)]]


@dataclass(frozen=True)
class About:
    """What an index is of.

    - `model`: the digest of the model whose vectors these are.
    - `heads`: similarity → width of its projection, in the order in which they stand in `z`.
    - `shared`: width of the shared embedding, 0 where it is left out.
    - `half`: float16 in place of float32.
    - `apart`: whether each similarity has a column of its own, too, for an index of its own.
    - `labels`: the catalog's columns, by the names that they have here. `named`: those that have another there → the
      one here.
    - `ids_from`: empty where a column of the catalog names the items; else what their names are told apart within: the
      folder that images' paths start from, or the catalog whose rows are counted.
    - `items`: the name of the table.
    """

    model: str
    heads: Annotated[dict[str, Annotated[int, Field(ge=1)]], Field(min_length=1)]
    shared: Annotated[int, Field(ge=0)]
    half: bool
    apart: bool
    labels: list[str]
    ids_from: str = ""
    items: str = ITEMS
    approximate: Approximate | None = None
    named: dict[str, str] = field(default_factory=dict)
    format: int = field(default=FORMAT)

    def to_json(self) -> str:
        """As the table `about` has it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, source: str) -> "About":
        """What `to_json` wrote. **Raises** `UserError` for anything else."""
        try:
            if parse_json(text)["format"] != FORMAT:
                raise UserError(f"{source}: an index of another version of mscon: make it anew with --replace")
            return _ABOUT.validate_json(text, strict=True)
        except (ValueError, KeyError, TypeError) as error:
            told = explained(error) if isinstance(error, ValidationError) else error
            raise UserError(f"{source}: not an index of mscon: {told}") from None

    def check(self, schema: pa.Schema) -> None:
        """**Raises** `ValueError` for a table that is not as this says."""
        wanted = {HEADS: self.width} | ({SHARED: self.shared} if self.shared else {})
        wanted |= {self.own[name]: width for name, width in self.heads.items()} if self.apart else {}
        for name, width in wanted.items():
            there = schema.field(name).type if name in schema.names else None
            if getattr(there, "list_size", None) != width:
                raise ValueError(f"its column {name!r} should hold vectors of {width} numbers, and holds {there}")
        if absent := sorted({"id", "picture", *self.labels, *self.named.values()} - set(schema.names)):
            raise ValueError(f"it has no column {absent[0]!r}")

    @property
    def places(self) -> dict[str, slice]:
        """Where each similarity stands in `z`."""
        ends = np.cumsum(list(self.heads.values())).tolist()
        return {name: slice(end - width, end) for (name, width), end in zip(self.heads.items(), ends, strict=True)}

    @property
    def own(self) -> dict[str, str]:
        """Similarity → the column of it alone, which is there where they stand `apart`."""
        return own_columns(list(self.heads))

    def column(self, label: str) -> str | None:
        """What a column of the catalog is called here; None where it is not."""
        if label in self.named:
            return self.named[label]
        return label if label in self.labels and label not in self.named.values() else None

    @property
    def width(self) -> int:
        """Of `z`."""
        return sum(self.heads.values())


_ABOUT: TypeAdapter[About] = TypeAdapter(About)


def vector_name(similarity: str) -> str:
    """Of its projections, in files for others as in those of `mscon embed`."""
    return f"{HEADS}_{similarity}"


def own_columns(similarities: Sequence[str]) -> dict[str, str]:
    """Similarity → the column of it alone, `z_NAME`."""
    names = _names({name: vector_name(name) for name in similarities}, set())
    return {name: names[name] for name in similarities}


def label_names(
    columns: Sequence[str], similarities: Sequence[str], known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """A catalog's columns → their names in the table: their own, where it can have them.

    **Arguments:** `known`: as `About.named` of a table that is there.
    """
    known = known or {}
    taken = {*OWN, *RESERVED, *own_columns(similarities).values(), *known.values()}
    new = _names({column: column for column in columns if column not in known}, taken)
    return {column: known.get(column) or new[column] for column in columns}


def _names(wanted: Mapping[str, str], taken: Set[str]) -> dict[str, str]:
    """Names that LanceDB can have, in which a point would part a struct from its field: each one's own, and none that
    is taken. What can be called as it is comes first.
    """
    given: dict[str, str] = {}
    storable = {key: name.replace(".", "_").replace("`", "'") or "_" for key, name in wanted.items()}
    for key in sorted(wanted, key=lambda key: storable[key] != wanted[key] or storable[key] in taken):
        name = storable[key]
        while name in taken or name in given.values():
            name += "_"
        given[key] = name
    return given


def arrow(
    about: About,
    ids: list[str],
    blocks: dict[str, Float32[np.ndarray, "n d"]],
    labels: pl.DataFrame,
    pictures: list[bytes],
    stamps: list[str],
) -> pa.Table:
    """Rows of the table."""
    columns: dict[str, Any] = {"id": pa.array(ids, pa.string())}
    columns |= {name: labels[name].to_arrow() for name in labels.columns}
    columns |= {"picture": pa.array(pictures, pa.binary()), "stamp": pa.array(stamps, pa.string())}
    columns[HEADS] = _vectors(np.concatenate([blocks[name] for name in about.heads], axis=1), about.half)
    if about.shared:
        columns[SHARED] = _vectors(blocks[SHARED], about.half)
    if about.apart:
        columns |= {about.own[name]: _vectors(blocks[name], about.half) for name in about.heads}
    return pa.table(columns)


def matrix(vectors: pa.ChunkedArray | pa.Array) -> Float32[np.ndarray, "n d"]:
    """A column of vectors as an array."""
    whole = vectors.combine_chunks() if isinstance(vectors, pa.ChunkedArray) else vectors
    width = whole.type.list_size
    return whole.flatten().to_numpy(zero_copy_only=False).reshape(-1, width).astype(np.float32)


def _vectors(rows: Float32[np.ndarray, "n d"], half: bool) -> pa.FixedSizeListArray:
    flat = np.ascontiguousarray(rows, dtype=np.float16 if half else np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), rows.shape[1])

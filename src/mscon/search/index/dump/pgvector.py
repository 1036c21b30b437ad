"""For PostgreSQL with pgvector: a table, its rows as COPY reads them, and its indexes."""

import json
import re
from collections.abc import Callable, Iterable, Set
from pathlib import Path
from typing import Any

import pyarrow as pa

from mscon.errors import UserError
from mscon.files import whole_folder
from mscon.search.index.dump.qdrant import plain
from mscon.search.index.dump.rows import Rows, as_texts, in_turn, readme, widths
from mscon.search.index.table import Index

TABLE = "items"

INDEXED, HALF_INDEXED, WIDEST = 2_000, 4_000, 16_000
"""Numbers of a vector, up to which pgvector indexes `vector` and `halfvec`, and has columns of either at all."""

NAME_BYTES = 63
"""Of a name in PostgreSQL; it cuts longer ones off."""

RESERVED = {"ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"}
"""Columns that every table has."""

ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\b": r"\b", "\f": r"\f", "\v": r"\v"})
"""In COPY's text."""

JSON_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""A NUL as JSON has it, and not a backslash before `u0000`."""


def dump_pgvector(index: Index, folder: Path, *, progress: Callable[[int, int], None] | None = None) -> None:
    r"""Write an index as a folder that `psql` loads, whole or not at all.

        README.md  schema.sql  items.copy  indexes.sql

    The table has the item's `id`, its columns with types of their own, a vector for each similarity, `z_NAME`, all of
    them side by side as `mix`, and `shared`. Indexes are made once the rows are in: that is faster.

    **Arguments:** `folder`: must be empty or not there. `progress`: called with items done and items in all.

    **Raises:** `UserError` for a folder that holds something, a text with a NUL, which PostgreSQL has not, vectors
    wider than its columns, or a disk that refuses.
    """
    for name, width in widths(index).items():
        if width > WIDEST:
            raise UserError(
                f"{index.source}: {name} has {width:,} numbers, and pgvector's columns take {WIDEST:,}: use --to qdrant"
            )
    names, vectors = column_names(index), vector_names(index)
    with whole_folder(folder) as aside:
        (aside / "schema.sql").write_text(schema(index, names), encoding="utf-8")
        (aside / "indexes.sql").write_text(indexes(index), encoding="utf-8")
        with (aside / "items.copy").open("w", encoding="utf-8", newline="\n") as file:
            for rows in in_turn(index, progress):
                file.writelines(_lines(rows, index, names))
        (aside / "README.md").write_text(
            readme("pgvector", index, names=names, vectors=vectors, halved=halved(index), quoted=quoted),
            encoding="utf-8",
        )


def column_names(index: Index) -> dict[str, str]:
    """The index's columns → their names in PostgreSQL, of 63 bytes at most, each one's own."""
    return _names(index.about.labels, {"id", *vector_names(index).values(), *RESERVED})


def vector_names(index: Index) -> dict[str, str]:
    """`z_NAME`, `mix` and `shared` → their names in PostgreSQL likewise."""
    return _names(widths(index), set())


def schema(index: Index, names: dict[str, str]) -> str:
    """SQL that makes the table."""
    types = {"id": "text PRIMARY KEY"}
    types |= {name: sql_type(index.table.schema.field(column).type) for column, name in names.items()}
    kind = "halfvec" if index.about.half else "vector"
    vectors = vector_names(index)
    types |= {vectors[name]: f"{kind}({width})" for name, width in widths(index).items()}
    columns = ",\n".join(f"    {quoted(name)} {kind}" for name, kind in types.items())
    return f"CREATE EXTENSION IF NOT EXISTS vector;\n\nCREATE TABLE {TABLE} (\n{columns}\n);\n"


def indexes(index: Index) -> str:
    """SQL that makes an index for each vector; one that is too wide for `vector` is indexed as `halfvec`."""
    lines: list[str] = []
    vectors = vector_names(index)
    for name, width in widths(index).items():
        column = quoted(vectors[name])
        if width > HALF_INDEXED:
            lines.append(
                f"-- {_one_line(column)} has {width} numbers, more than an index takes: it is searched row by row"
            )
        elif name in halved(index):
            lines.append(f"CREATE INDEX ON {TABLE} USING hnsw (({column}::halfvec({width})) halfvec_ip_ops);")
        else:
            kind = "halfvec" if index.about.half else "vector"
            lines.append(f"CREATE INDEX ON {TABLE} USING hnsw ({column} {kind}_ip_ops);")
    return "\n".join([*lines, f"ANALYZE {TABLE};"]) + "\n"


def halved(index: Index) -> list[str]:
    """The vectors whose index is of their `halfvec`, by which a query must ask to make use of it."""
    return [name for name, width in widths(index).items() if INDEXED < width <= HALF_INDEXED and not index.about.half]


def sql_type(kind: pa.DataType) -> str:
    """PostgreSQL's type of a column; JSON for what it has none for."""
    t = pa.types
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
        inner = sql_type(kind.value_type)
        return "jsonb" if inner == "jsonb" or inner.endswith("]") else f"{inner}[]"
    if t.is_decimal(kind):
        return f"numeric({kind.precision},{kind.scale})"
    if t.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    known: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
        (t.is_boolean, "boolean"),
        (t.is_uint64, "numeric(20)"),
        (lambda each: t.is_int64(each) or t.is_uint32(each), "bigint"),
        (lambda each: t.is_int32(each) or t.is_uint16(each), "integer"),
        (t.is_integer, "smallint"),
        (lambda each: t.is_float16(each) or t.is_float32(each), "real"),
        (t.is_floating, "double precision"),
        (t.is_date, "date"),
        (lambda each: t.is_string(each) or t.is_large_string(each) or t.is_string_view(each), "text"),
    )
    return next((name for fits, name in known if fits(kind)), "jsonb")


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def _lines(rows: Rows, index: Index, names: dict[str, str]) -> Iterable[str]:
    types = {column: sql_type(index.table.schema.field(column).type) for column in names}
    texts = [as_texts(vectors) for vectors in rows.vectors.values()]
    for row, id in enumerate(rows.ids):
        values = {"id": id} | {column: _text(rows.labels[row][column], kind) for column, kind in types.items()}
        for column, value in values.items():
            if value is not None and "\0" in value:
                raise UserError(
                    f"{index.source}: item {id!r}, column {column!r}: there is a NUL in its text, which PostgreSQL"
                    " cannot hold: mend the catalog and give mscon index again"
                )
        cells = [r"\N" if value is None else value.translate(ESCAPED) for value in values.values()]
        yield "\t".join([*cells, *(each[row] for each in texts)]) + "\n"


def _text(value: Any, kind: str) -> str | None:
    """A value as PostgreSQL reads it, None for null."""
    if value is None:
        return None
    if kind == "jsonb":
        found = json.dumps(plain(value), ensure_ascii=False)
        return JSON_NUL.sub("\0", found)
    if isinstance(value, list):
        texts = (_text(each, kind) for each in value)
        return "{" + ",".join("NULL" if each is None else _element(each) for each in texts) + "}"
    return str(value)


def _element(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _names(wanted: Iterable[str], taken: Set[str]) -> dict[str, str]:
    """Each one's own, cut where it is too long, and none that is taken."""
    names: dict[str, str] = {}
    for each in wanted:
        name, more = _cut(each, ""), 1
        while name in taken or name in names.values():
            name, more = _cut(each, "_" * more), more + 1
        names[each] = name
    return names


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cut(name: str, end: str) -> str:
    """The name with its ending, in the bytes that there are."""
    room = NAME_BYTES - len(end.encode())
    return name.encode()[:room].decode(errors="ignore") + end

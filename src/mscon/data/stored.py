"""Images that stay in their Parquet files: read by row group when one of them is asked for, the last few being held."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from jaxtyping import Int64

from mscon.data.decode import DecodeError
from mscon.errors import UserError

PIECE = 128 * 2**20
"""Bytes of images that are read at once, about: a row group that holds more is read in pieces, one after the other."""
HELD = 3
"""Pieces that are held where rows are read in their order: the one at hand, and its neighbours for threads that are
ahead or behind.
"""
BATCH = 64
"""Rows of a row group in pieces that are decoded at a time, at most."""
BUFFER = 8 * 2**20
"""Bytes of a row group in pieces that are fetched at a time."""
MARKS = ("ETag", "etag", "LastModified", "last_modified", "mtime", "created")
"""What file systems call that which changes when a file does."""


@dataclass(frozen=True, eq=False)
class ParquetPart:
    """One Parquet file: its footer, and what tells it from what it was before.

    - `stamp`: place, size and time of change, or the mark that a store gives; None where there is neither.
    """

    path: str
    metadata: pq.FileMetaData
    stamp: str | None

    @classmethod
    def read(cls, files: Any, path: str) -> "ParquetPart":
        """Of a file, its footer alone. **Raises** what pyarrow and the file system raise."""
        if isinstance(files, LocalFileSystem):
            return cls(path, pq.read_metadata(path), stamp(path))
        about = files.info(path)
        mark = next((str(about[name]) for name in MARKS if about.get(name)), None)
        with files.open(path, "rb") as file:
            return cls(path, pq.read_metadata(file), mark and f"{path}\0{about.get('size')}\0{mark}")

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return self.metadata.schema.to_arrow_schema()

    def bytes_of(self, group: int, column: str) -> int:
        """Of a column in a row group, uncompressed."""
        about = self.metadata.row_group(group)
        columns = (about.column(number) for number in range(about.num_columns))
        return sum(each.total_uncompressed_size for each in columns if each.path_in_schema.partition(".")[0] == column)

    def repeated(self, column: str) -> list[str]:
        """What of a column is kept as a dictionary in some row group, so that equal cells stand in the file once."""
        groups = [self.metadata.row_group(number) for number in range(self.metadata.num_row_groups)]
        chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
        return sorted(
            {
                each.path_in_schema
                for each in chunks
                if each.path_in_schema.partition(".")[0] == column
                and each.physical_type == "BYTE_ARRAY"
                and any("DICTIONARY" in encoding for encoding in each.encodings)
            }
        )

    def nulls_of(self, column: str) -> int:
        """Rows whose cell is empty; of a struct, whose bytes and path both may be. 0 where the file does not tell."""
        return min(self._nulls(column).values(), default=0)

    def elsewhere(self, column: str) -> bool:
        """Whether a column of structs has cells without bytes but with a path, as far as the file tells."""
        nulls = self._nulls(column)
        return nulls.get(f"{column}.path", self.metadata.num_rows) < self.metadata.num_rows and (
            nulls.get(f"{column}.bytes", 0) > 0
        )

    def _nulls(self, column: str) -> dict[str, int]:
        nulls: dict[str, int] = {}
        for group in range(self.metadata.num_row_groups):
            about = self.metadata.row_group(group)
            for each in (about.column(number) for number in range(about.num_columns)):
                if each.path_in_schema.partition(".")[0] == column:
                    known = each.statistics.null_count if each.statistics is not None else 0
                    nulls[each.path_in_schema] = nulls.get(each.path_in_schema, 0) + (known or 0)
        return nulls


@dataclass(frozen=True)
class Piece:
    """Rows of one file that are read at once: a whole row group, or some rows of a large one."""

    part: int
    group: int
    first: int
    rows: int


@dataclass(frozen=True, eq=False)
class _GoingOn:
    """Where reading a large row group can go on: after a piece, with the `rest` of a batch and the batches to come."""

    piece: Piece
    batches: Iterator[pa.RecordBatch]
    rest: pa.Array | None

    def follows(self, piece: Piece) -> bool:
        last = self.piece
        return (last.part, last.group, last.first + last.rows) == (piece.part, piece.group, piece.first)


class PieceReader:
    """Reads the pieces of one column of some Parquet files, and holds the last few. Threads may share one.

    **Arguments:** `held`: how many.
    """

    def __init__(self, files: Any, parts: Sequence[ParquetPart], column: str, *, held: int = HELD):
        self.files, self.parts, self.column, self.most = files, tuple(parts), column, held
        self.pieces = [piece for number in range(len(self.parts)) for piece in self._cut(number)]
        self.starts = np.cumsum([0, *(each.rows for each in self.pieces)])
        self._large = {each.part for each in self.pieces if each.first}  # files with row groups in pieces
        self._held: OrderedDict[int, Future[pa.ChunkedArray | DecodeError]] = OrderedDict()
        self._lock, self._reading = Lock(), Lock()
        self._file: tuple[int, Any, pq.ParquetFile] | None = None
        self._going_on: _GoingOn | None = None

    def holding(self, held: int) -> "PieceReader":
        """Another one, with as many pieces at hand."""
        return PieceReader(self.files, self.parts, self.column, held=held)

    def cells(self, piece: int) -> pa.ChunkedArray:
        """What stands in all rows of a piece. **Raises** `DecodeError` where its file cannot be read any more."""
        with self._lock:
            found = self._held.get(piece)
            mine = found is None
            if found is None:
                found = self._held[piece] = Future()
            self._held.move_to_end(piece)
            while len(self._held) > self.most:
                self._held.popitem(last=False)
        if mine:
            with self._reading:
                found.set_result(self._read(self.pieces[piece]))
        cells = found.result()
        if isinstance(cells, DecodeError):
            raise cells
        return cells

    def cell(self, place: int) -> Any:
        """What stands in one row, counted over all files: bytes, a dictionary of `bytes` and `path`, or None."""
        piece = int(np.searchsorted(self.starts, place, side="right")) - 1
        return self.cells(piece)[int(place - self.starts[piece])].as_py()

    def _cut(self, number: int) -> list[Piece]:
        part = self.parts[number]
        pieces: list[Piece] = []
        for group in range(part.metadata.num_row_groups):
            rows = part.metadata.row_group(group).num_rows
            count = min(rows, -(-part.bytes_of(group, self.column) // PIECE)) or 1
            ends = np.linspace(0, rows, count + 1).astype(int).tolist()
            pieces += [Piece(number, group, first, end - first) for first, end in pairwise(ends)]
        return [each for each in pieces if each.rows]

    def _read(self, piece: Piece) -> pa.ChunkedArray | DecodeError:
        part = self.parts[piece.part]
        try:
            if piece.rows == part.metadata.row_group(piece.group).num_rows:
                return self._opened(piece.part).read_row_group(piece.group, columns=[self.column]).column(0)
            return self._read_on(piece)
        # Arrow, file systems and networks have errors of their own kinds.
        except Exception as error:
            self._file = self._going_on = None
            return DecodeError(f"{part.path}, row group {piece.group}, can't be read: {error}")

    def _read_on(self, piece: Piece) -> pa.ChunkedArray:
        """Some rows of a large row group: from where the last ones ended, else from its beginning."""
        going_on, self._going_on = self._going_on, None
        if going_on and going_on.follows(piece):
            batches, rest, skipped = going_on.batches, going_on.rest, 0
        else:
            options: dict[str, Any] = {"batch_size": min(BATCH, piece.rows), "columns": [self.column]}
            batches = self._opened(piece.part).iter_batches(row_groups=[piece.group], **options)
            rest, skipped = None, piece.first
        kept: list[pa.Array] = []
        missing = piece.rows
        while missing:
            batch = next(batches).column(0) if rest is None else rest
            skip = min(skipped, len(batch))
            wanted = batch[skip : skip + missing]
            kept.append(wanted)
            rest = batch[skip + len(wanted) :] if skip + len(wanted) < len(batch) else None
            skipped, missing = skipped - skip, missing - len(wanted)
        self._going_on = _GoingOn(piece, batches, rest)
        return pa.chunked_array(kept)

    def _opened(self, number: int) -> pq.ParquetFile:
        """The file, kept open until another one is asked for."""
        if self._file is None or self._file[0] != number:
            if self._file:
                self._file[1].close()
                self._file = self._going_on = None
            path = self.parts[number].path
            if isinstance(self.files, LocalFileSystem) and stamp(path) != self.parts[number].stamp:
                raise OSError("it has changed since the catalog was read")
            # Arrow asks for a whole row group's column at once, unless told not to: reading ahead would fetch it twice.
            near = {} if isinstance(self.files, LocalFileSystem) else {"cache_type": "none"}
            raw = self.files.open(path, "rb", **near)
            large = number in self._large
            opened = pq.ParquetFile(
                raw,
                metadata=self.parts[number].metadata,
                buffer_size=BUFFER if large else 0,
                pre_buffer=not large,
                # An image that stands in many rows is kept once in the file, and so it is in memory.
                read_dictionary=None if large else self.parts[number].repeated(self.column),
            )
            self._file = (number, raw, opened)
        return self._file[2]


@dataclass(frozen=True, eq=False)
class Stored:
    """The images of a catalog's rows, in the Parquet files where they are.

    - `reader`: the files; `places`: each catalog row's place there, counted over the rows of all files.
    - `columns`: all columns of the files, in their order.
    """

    reader: PieceReader
    places: Int64[np.ndarray, " n"]
    columns: tuple[str, ...]

    @classmethod
    def all_rows(cls, files: Any, parts: Sequence[ParquetPart], column: str) -> "Stored":
        """Every row of the files, in order of file and row."""
        reader = PieceReader(files, parts, column)
        return cls(reader, np.arange(reader.starts[-1], dtype=np.int64), tuple(parts[0].schema.names))

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.places)

    def take(self, rows: Int64[np.ndarray, " m"]) -> "Stored":
        """Of these rows alone, in this order."""
        return replace(self, places=self.places[rows])

    def cell(self, row: int) -> Any:
        """What stands in a catalog row's cell: see `PieceReader.cell`."""
        return self.reader.cell(int(self.places[row]))

    def holding(self, held: int) -> "Stored":
        """The same with so many pieces at hand."""
        return replace(self, reader=self.reader.holding(held))

    @property
    def pieces(self) -> Int64[np.ndarray, " n"]:
        """Each row's piece."""
        return np.searchsorted(self.reader.starts, self.places, side="right") - 1

    @property
    def empty(self) -> bool:
        """Whether the files say of every row that it has no image; where they do not count them, False."""
        column, parts = self.reader.column, self.reader.parts
        return all(each.nulls_of(column) == each.metadata.num_rows for each in parts)

    @property
    def stamps(self) -> list[str] | None:
        """What changes when an image does: marks of the files. None where a file system has none, and where some of the
        images are in files of their own, whose `path` stands in place of their `bytes`.
        """
        if any(each.elsewhere(self.reader.column) for each in self.reader.parts):
            return None
        stamps = [each.stamp for each in self.reader.parts]
        return [each for each in stamps if each] if all(stamps) else None

    def file_paths(self) -> pl.Series | None:
        """Each row's `path`, where images are structs that have one beside their `bytes`. Reads it from all files."""
        kind = self.reader.parts[0].schema.field(self.reader.column).type
        if not (pa.types.is_struct(kind) and kind.get_field_index("path") >= 0):
            return None
        name = f"{self.reader.column}.path"
        found: list[Any] = []
        for part in self.reader.parts:
            with self.reader.files.open(part.path, "rb") as file:
                cells = pq.ParquetFile(file, metadata=part.metadata).read(columns=[name]).column(0)
                found += [each and each["path"] for each in cells.to_pylist()]
        return pl.Series("path", found, dtype=pl.String)[self.places]

    def check_groups(self, source: str) -> None:
        """**Raises** `UserError` for row groups too large to have several of them at hand."""
        cut = next((each for each in self.reader.pieces if each.first), None)
        if cut is None:
            return
        part = self.reader.parts[cut.part]
        size = part.bytes_of(cut.group, self.reader.column)
        rows = part.metadata.row_group(cut.group).num_rows
        fitting = max(1, int(rows * PIECE / 4 / size))
        raise UserError(
            f"{source}: {part.path} has {size / 1e6:,.0f} MB of images in one row group, and without the cache several"
            f" are in memory at once: at most {PIECE / 1e6:,.0f} MB each. Write it in smaller ones, such as"
            f" polars.scan_parquet(…).sink_parquet(…, row_group_size={fitting}), or set image.cache = true"
        )


def holds_images(kind: pa.DataType) -> bool:
    """Whether a column of this type is one of bytes, or of structs of `bytes`, with or without a `path`."""
    if pa.types.is_struct(kind):
        fields = {kind.field(number).name: kind.field(number).type for number in range(kind.num_fields)}
        return {"bytes"} <= set(fields) <= {"bytes", "path"} and holds_images(fields["bytes"])
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def stamp(path: str) -> str:
    """What changes when a file does, found without reading it. **Raises** `OSError` where it cannot be looked at."""
    about = Path(path).stat()
    return f"{path}\0{about.st_size}\0{about.st_mtime_ns}"

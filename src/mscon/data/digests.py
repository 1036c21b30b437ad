"""What tells every image cell of a catalog from others: 64 bits each, kept for Parquet files until these change."""

import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import UInt64

from mscon.data.catalog import Catalog
from mscon.data.decode import DecodeError
from mscon.data.stored import PieceReader, Stored
from mscon.errors import UserError
from mscon.files import cache_folder, write_whole

KEPT = 64
"""Lists of digests, the last used ones: at 8 bytes an image, 64 of a million images are half a gigabyte."""


def content_digests(catalog: Catalog) -> UInt64[np.ndarray, " n"]:
    """Of what each image cell holds: the bytes, or the path without the folder that relative paths start from. A
    million items share none but by a chance of 3 in 100 million.

    Bytes in Parquet files are read once, and their digests kept in the cache's folder.
    """
    root = catalog.root.rstrip("/") + "/"
    if catalog.stored is not None:
        return _of_files(catalog.stored, root)[catalog.stored.places]
    cells = catalog.column(catalog.image)
    return np.fromiter((digest_64(_content(cell, root)) for cell in cells), dtype=np.uint64, count=len(catalog))


def text_digests(texts: pl.Series) -> UInt64[np.ndarray, " n"]:
    """Of each text; of an empty one where there is none."""
    digests = (digest_64((each or "").encode()) for each in texts)
    return np.fromiter(digests, dtype=np.uint64, count=len(texts))


def place_digests(stored: Stored, root: str) -> UInt64[np.ndarray, " n"]:
    """Of each image's place: its file, without the folder that relative paths start from, and its row there. None of
    the images is read.
    """
    reader, folder = stored.reader, root.rstrip("/") + "/"
    sizes = [each.metadata.num_rows for each in reader.parts]
    parts = np.array([digest_64(each.path.removeprefix(folder).encode()) for each in reader.parts], dtype=np.uint64)
    within = np.concatenate([np.arange(size, dtype=np.uint64) for size in sizes])
    return _mixed(np.repeat(parts, sizes) + within * np.uint64(0x9E3779B97F4A7C15))[stored.places]


def _of_files(stored: Stored, root: str) -> UInt64[np.ndarray, " n"]:
    """Of all rows of the files, in their order."""
    path = _kept_at(stored, root)
    if path is not None:
        with suppress(OSError, ValueError):
            found = np.load(path, allow_pickle=False)
            if found.dtype == np.uint64 and found.shape == (stored.reader.starts[-1],):
                os.utime(path)
                return found
    digests = np.concatenate([_of_piece(stored.reader, number, root) for number in range(len(stored.reader.pieces))])
    if path is not None:
        with suppress(OSError, UserError):  # without room for it, it is made again the next time
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, lambda aside: _save(aside, digests))
            for old in sorted(path.parent.glob("*.npy"), key=lambda each: each.stat().st_mtime)[:-KEPT]:
                old.unlink(missing_ok=True)
    return digests


def _of_piece(reader: PieceReader, piece: int, root: str) -> UInt64[np.ndarray, " n"]:
    rows = reader.pieces[piece].rows
    try:
        cells = reader.cells(piece)
    except DecodeError:
        return np.full(rows, digest_64(b""), dtype=np.uint64)
    return np.fromiter((digest_64(_content(cell.as_py(), root)) for cell in cells), dtype=np.uint64, count=rows)


def _kept_at(stored: Stored, root: str) -> Path | None:
    if stored.stamps is None:
        return None
    told = "\n".join([stored.reader.column, root, *stored.stamps])
    return cache_folder() / "digests" / f"{blake2b(told.encode(), digest_size=16).hexdigest()}.npy"


def _save(path: Path, digests: UInt64[np.ndarray, " n"]) -> None:
    with path.open("wb") as file:  # by its name alone, numpy would add a suffix
        np.save(file, digests, allow_pickle=False)


def digest_64(content: bytes) -> int:
    """64 bits of a content: another has others but by a chance of 1 in 2⁶⁴."""
    return int.from_bytes(blake2b(content, digest_size=8).digest())


def _content(cell: Any, root: str) -> bytes:
    if isinstance(cell, dict):
        cell = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
    return cell.removeprefix(root).encode() if isinstance(cell, str) else cell or b""


def _mixed(numbers: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Scattered over all 64 bits, one to one (the finaliser of splitmix64, Steele, Lea and Flood 2014)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))

"""Whatever a user's table is kept in, read into one polars frame."""

import codecs
import csv
import glob
import io
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from mscon.data.stored import ParquetPart, Stored, holds_images
from mscon.data.threads import in_threads
from mscon.errors import UserError, nearest

SUFFIXES = (".csv", ".tsv", ".parquet")
CELL = 32
"""Bytes of a table's cell in memory, about: what holds it and what is made of it while it is read."""
NOT_A_NUMBER = ["nan", "NaN", "NAN", "-nan"]
"""What programs write into a CSV file where a number is missing; no class is called so."""
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
KINDS = (
    "a .csv, .tsv or .parquet file, a folder of .parquet files or with a metadata.csv, a glob, "
    "a Hugging Face dataset, a table of polars or pandas, or the word 'glyphs'"
)


@dataclass(frozen=True, eq=False)
class Source:
    """A table, the place that its relative paths start from, and the words that name it in messages.

    - `left`: columns of bytes that were left in their Parquet files, and are not in the table.
    """

    table: pl.DataFrame
    root: str
    name: str
    left: Mapping[str, Stored] = field(default_factory=dict)

    def __len__(self) -> int:
        """Its rows."""
        return next((len(each) for each in self.left.values()), self.table.height)

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in their order."""
        return next((list(each.columns) for each in self.left.values()), self.table.columns)


@dataclass(frozen=True, eq=False)
class _Read:
    """What some files hold: a table, and the columns left in them."""

    table: pl.DataFrame
    left: Mapping[str, Stored] = field(default_factory=dict)


def read_source(source: object, *, whole: bool = False) -> Source:
    """The table behind what `Catalog.read` takes.

    **Arguments:** `whole`: read columns of bytes in Parquet files, too, which are left in them otherwise.

    **Raises:**

    - `UserError`: nothing is there, it cannot be read, its files disagree in their columns, a column is called like a
      pattern, `^…$`, or it has no rows.
    """
    if isinstance(source, str) and source == "glyphs":
        from mscon.data.glyphs import glyphs_table

        read = Source(glyphs_table(), str(Path.cwd()), "glyphs")
    elif (table := as_polars(source)) is not None:
        read = Source(table, str(Path.cwd()), f"the {type(source).__module__.partition('.')[0]} table")
    elif _is_hugging_face(source):
        read = Source(_hugging_face(source), str(Path.cwd()), f"Hugging Face {type(source).__name__}")
    elif isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        if not isinstance(name, str):
            raise UserError(f"{name!r} is a path in bytes: give it as text.")
        if not name.strip():
            raise UserError(f"No catalog is named: {name!r}. A catalog is {KINDS}.")
        try:
            found, root = _read_address(name, whole)
        except OSError as error:
            raise UserError(f"{name} can't be read: {error}") from error
        read = Source(found.table, root, name, found.left)
    else:
        raise UserError(f"An object of type {type(source).__name__} is no catalog: a table is {KINDS}.")
    if len(read) == 0:
        raise UserError(f"{read.name} has no rows.")
    _check_names(read.columns, read.name)
    return read


def _check_names(columns: Sequence[str], source: str) -> None:
    """Operations of polars on a column called `^x$` look for one called x."""
    for name in columns:
        if name.startswith("^") and name.endswith("$"):
            raise UserError(f"{source}: column {name!r} is called like a pattern, from ^ to $: give it another name.")


def as_polars(source: object) -> pl.DataFrame | None:
    """A table of polars or pandas; None for anything else."""
    if isinstance(source, pl.DataFrame):
        return source
    pandas = sys.modules.get("pandas")  # without it loaded, nothing is one of its tables
    if pandas is None or not isinstance(source, pandas.DataFrame):
        return None
    table: Any = source
    return pl.from_pandas(table)


def _read_address(address: str, whole: bool) -> tuple[_Read, str]:
    files: Any
    try:
        if "::" in address and Path(address).exists():  # and not a chain of addresses
            files, path = LocalFileSystem(), str(Path(address).absolute())
        else:
            files, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise UserError(f"{address} can't be opened: {error}") from error
    files.invalidate_cache()  # listings that it remembers may be old
    if files.isfile(path):
        return _read_files(files, [path], whole), _address(files, _folder(path))
    if files.isdir(path):
        return _read_folder(files, path, address, whole), _address(files, path)
    if glob.has_magic(path) and (found := sorted(files.glob(path))):
        fixed = path[: min(path.index(mark) for mark in "*?[" if mark in path)]
        return _read_files(files, found, whole), _address(files, _folder(fixed))
    if not isinstance(files, LocalFileSystem):
        raise UserError(f"{address} does not exist or can't be reached. A catalog is {KINDS}.")
    folder = _folder(path)
    siblings = [_name(str(item)) for item in files.ls(folder, detail=False)] if files.isdir(folder) else []
    raise UserError(f"{address} does not exist.{nearest(_name(path), siblings) or f' A catalog is {KINDS}.'}")


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _folder(path: str) -> str:
    return _without_query(path).rpartition("/")[0] or "/"


def _without_query(path: str) -> str:
    """A web address without what follows its question mark: signed addresses end in long ones."""
    return path.partition("?")[0] if "://" in path else path


def _address(files: Any, path: str) -> str:
    """A path inside a file system as something that can be opened again: with its protocol, unless it is local."""
    return path if isinstance(files, LocalFileSystem) else files.unstrip_protocol(path)


def _read_folder(files: Any, path: str, address: str, whole: bool) -> _Read:
    names = {_name(str(item)): str(item) for item in files.ls(path, detail=False)}
    if {"recipe.toml", "labels.json"} <= names.keys():
        raise UserError(
            f"{address} is a run's folder, no catalog. To go on with the run: mscon train {address} --resume. To look"
            f" at its catalog, or to train anew: mscon inspect, or mscon train, {address.rstrip('/')}/recipe.toml"
        )
    if "dataset_dict.json" in names or "state.json" in names:
        return _Read(_hugging_face_folder(address))
    if "metadata.csv" in names:
        return _Read(_read_file(files, names["metadata.csv"]))
    # Writers leave marks such as _SUCCESS and ._part.parquet beside their files.
    parts = [names[name] for name in sorted(names) if name.lower().endswith(".parquet") and name[0] not in "._"]
    if not parts:
        raise UserError(
            f"The folder {address} holds no metadata.csv, no .parquet file and no saved Hugging Face dataset. "
            f"For files further down give a glob such as {address.rstrip('/')}/**/*.parquet."
        )
    return _read_files(files, parts, whole)


def _read_files(files: Any, paths: Sequence[str], whole: bool) -> _Read:
    """Tables stacked in this order; of Parquet files without their columns of bytes, unless they are asked for."""
    if not whole and all(_suffix(path) == ".parquet" for path in paths):
        parts = list(in_threads(lambda number: _footer(files, paths[number]), len(paths)))
        footers = [each for each in parts if each]
        bytes_in = {field.name for each in footers for field in each.schema if holds_images(field.type)}
        names = [name for name in footers[0].schema.names if name not in bytes_in] if footers else []
        _check_memory(footers, names)
        if bytes_in and len(footers) == len(paths):
            _check_alike(footers, bytes_in)
            tables = in_threads(lambda number: _read_file(files, paths[number], names), len(paths))
            left = {name: Stored.all_rows(files, footers, name) for name in footers[0].schema.names if name in bytes_in}
            return _Read(_stack(list(zip(paths, tables, strict=True))), left)
    return _Read(_stack([(path, _read_file(files, path)) for path in paths]))


def _footer(files: Any, path: str) -> ParquetPart | None:
    """None for a file that cannot be read from its middle, as over some web servers, or not at all: reading all of it
    tells which.
    """
    try:
        return ParquetPart.read(files, path)
    # Remote file systems raise errors of their own.
    except Exception:
        return None


def _check_alike(parts: Sequence[ParquetPart], left: set[str]) -> None:
    """**Raises** `UserError` for files that differ in their columns, or of which one has something else than bytes in
    one of those that are `left`.
    """
    first = parts[0]
    for part in parts:
        if odd := sorted(set(first.schema.names) ^ set(part.schema.names)):
            raise _differ(part.path, first.path, odd)
        for name in left:
            kind = part.schema.field(name).type
            if not (holds_images(kind) or pa.types.is_null(kind)):
                raise UserError(
                    f"The {len(parts)} parts beginning with {first.path} differ in a column's type: {name!r} holds"
                    f" {kind} in {part.path}, bytes in others"
                )


def _check_memory(parts: Sequence[ParquetPart], columns: Sequence[str]) -> None:
    """**Raises** `UserError` for more rows than can be held: equal ones take next to nothing in their file."""
    rows = sum(part.metadata.num_rows for part in parts)
    needed, there = rows * len(columns) * CELL, _memory()
    if needed > there:
        beside = "" if len(parts) == 1 else f" and {len(parts) - 1} more files"
        raise UserError(
            f"{parts[0].path}{beside}: {rows:,} rows of {len(columns)} columns, images left out, take some"
            f" {needed / 1e9:,.0f} GB of memory, and this machine has {there / 1e9:,.0f}. Take columns or rows out"
        )


def _memory() -> float:
    """Bytes that this machine has; infinite where it does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def _suffix(path: str) -> str:
    return Path(_without_query(path)).suffix.lower()


def _read_file(files: Any, path: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """One file's table; of a Parquet file these columns alone, where some are named."""
    suffix = _suffix(path)
    if suffix not in SUFFIXES:
        raise UserError(f"{path} is a {suffix or 'file without a suffix'}: a table is {KINDS}.")
    try:
        if suffix == ".parquet":
            if columns is not None:
                return _read_columns(files, path, list(columns))
            # A local path lets polars map the file; only a remote one has to pass through memory twice.
            data = path if isinstance(files, LocalFileSystem) else io.BytesIO(files.cat_file(path))
            return pl.read_parquet(data, glob=False, hive_partitioning=False)
        return _read_csv(files.cat_file(path), "\t" if suffix == ".tsv" else ",", path)
    except UserError:
        raise
    except pl.exceptions.NoDataError as error:
        raise UserError(f"{path} is empty.") from error
    # Remote file systems raise errors of their own, and a damaged file can make polars panic.
    except (Exception, pl.exceptions.PanicException) as error:
        raise UserError(
            f"{path} can't be read as {suffix[1:]}: {error}. Is it whole, and what its name says?"
        ) from error


def _read_columns(files: Any, path: str, names: list[str]) -> pl.DataFrame:
    """These columns of a Parquet file; the bytes of the others are not fetched."""
    if not names:
        return pl.DataFrame()
    if isinstance(files, LocalFileSystem):
        place = {name: number for number, name in enumerate(pq.read_schema(path).names)}
        numbers = [place[name] for name in names]  # for a column may be called like a pattern of several
        return pl.read_parquet(path, columns=numbers, glob=False, hive_partitioning=False)
    with files.open(path, "rb") as file:
        table = pl.from_arrow(pq.ParquetFile(file, pre_buffer=True).read(columns=names))
    assert isinstance(table, pl.DataFrame)
    return table


def _read_csv(data: bytes, separator: str, path: str) -> pl.DataFrame:
    """Types are guessed over all rows, and `nan` is null; but whole numbers of which one begins with 0, such as 007,
    stay text.

    **Raises:** `UserError` with the line and what to do, as far as they can be told; else what polars raises.
    """
    if data.startswith(UTF_16):
        raise UserError(f"{path} is written in UTF-16: save it as UTF-8.")
    try:
        table = pl.read_csv(data, separator=separator, infer_schema_length=None, null_values=NOT_A_NUMBER)
    except pl.exceptions.NoDataError:
        raise
    except pl.exceptions.PolarsError as error:
        _check_separator(path, data.partition(b"\n")[0].decode(errors="replace").strip("\ufeff\r"), separator)
        fault = _csv_fault(data, separator)
        raise (UserError(f"{path}, {fault}") if fault else error) from error
    if table.width == 1:
        _check_separator(path, table.columns[0], separator)
    _check_names(table.columns, path)
    text = pl.read_csv(data, separator=separator, infer_schema=False, null_values=NOT_A_NUMBER)
    whole = (text[name] for name, dtype in table.schema.items() if dtype.is_integer())
    return table.with_columns(column for column in whole if column.str.contains(r"^[+-]?0\d").any())


def _check_separator(path: str, header: str, separator: str) -> None:
    others = [each for each in ";\t|," if each in header]
    if separator not in header and others:
        raise UserError(
            f"{path} has one column, {header!r}: a {_suffix(path)} file's are parted by {separator!r}, and these seem"
            f" to be by {others[0]!r}. Save it with that."
        )


def _csv_fault(data: bytes, separator: str) -> str | None:
    """In which line what is wrong with a file that polars refuses."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        near = data[max(0, error.start - 9) : error.start + 9]
        return f"line {line}, is not UTF-8 (near {near!r}): save it as UTF-8."
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        columns = len(next(lines, []))
        for cells in lines:
            if len(cells) > columns:
                return (
                    f"line {line + 1}, has {len(cells)} cells, and the first line {columns}: put texts that hold a"
                    f" {separator!r} in double quotes."
                )
            line = lines.line_num
    except csv.Error as error:
        return f"line {line + 1}, can't be read ({error}): is a double quote left open, or one in a text not doubled?"
    return None


def _stack(parts: list[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
    first_name, first = parts[0]
    for name, part in parts:
        if odd := sorted(set(first.columns) ^ set(part.columns)):
            raise _differ(name, first_name, odd)
    try:
        return pl.concat(
            [part.select(part[name] for name in first.columns) for _, part in parts], how="vertical_relaxed"
        )
    except pl.exceptions.PolarsError as error:
        raise UserError(
            f"The {len(parts)} parts beginning with {first_name} differ in a column's type: {error}"
        ) from error


def _differ(name: str, first: str, odd: Sequence[str]) -> UserError:
    return UserError(f"{name} and {first} differ in their columns ({', '.join(odd)}): one catalog needs one set.")


def _is_hugging_face(source: object) -> bool:
    # Who hands over such an object has imported the package; nobody else should wait for it.
    datasets = sys.modules.get("datasets")
    return datasets is not None and isinstance(source, (datasets.Dataset, datasets.DatasetDict))


def _hugging_face_folder(address: str) -> pl.DataFrame:
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"{address} is a saved Hugging Face dataset: reading it needs `pip install datasets`."
        ) from error
    try:
        return _hugging_face(datasets.load_from_disk(address))
    except Exception as error:  # The package passes on what Arrow, JSON and the file system raise.
        raise UserError(f"{address} can't be read as a saved Hugging Face dataset: {error}") from error


def _hugging_face(dataset: Any) -> pl.DataFrame:
    """The stored columns, class numbers replaced by their names; a dictionary's keys become the column `split`."""
    from datasets import ClassLabel

    if isinstance(dataset, dict):
        parts = [(name, _hugging_face(part).with_columns(split=pl.lit(name))) for name, part in dataset.items()]
        return _stack(parts) if parts else pl.DataFrame()
    classes = {name: feature.names for name, feature in dataset.features.items() if isinstance(feature, ClassLabel)}
    table = dataset.to_polars()
    _check_names(table.columns, "The dataset")
    return table.with_columns(
        table[name].replace_strict(dict(enumerate(names)), default=None, return_dtype=pl.String)
        for name, names in classes.items()
    )

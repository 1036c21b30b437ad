"""The user's table: one row an item, one column its image, the others labels, groups, splits or nothing of interest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from mscon.data.cells import as_text
from mscon.data.decode import DecodeError
from mscon.data.fetch import fetch
from mscon.data.sources import Source, read_source
from mscon.data.stored import Stored
from mscon.errors import UserError, nearest

IMAGE_NAMES = (
    *("image", "img", "picture", "photo", "file_name", "filename", "file", "image_path", "img_path", "image_file"),
    *("file_path", "filepath", "path", "image_url", "img_url", "url"),
)
ID_NAMES = ("id", "image_id", "item_id")
IMAGE_FIELDS = {"bytes", "path"}
IMAGE_SUFFIX = r"(?i)\.(jpe?g|png|webp|gif)(\?.*)?$"
# So many paths of a text column are looked up to tell a column of images from one of words.
LOOKED_UP = 100


@dataclass(frozen=True, eq=False)
class Catalog:
    """A table with one image column, and where its relative paths start.

    - `table`: every column of the user's table, but those of bytes in Parquet files; nulls are as they were.
    - `image`: name of the image column. A cell is a path, an address that fsspec opens, bytes, or a struct of `bytes`
      and `path`.
    - `root`: folder or fsspec address that relative paths start from.
    - `source`: what the user gave, for messages and recipes.
    - `stored`: the images, where they are bytes in Parquet files: those stay there until they are asked for.
    """

    table: pl.DataFrame
    image: str
    root: str
    source: str
    stored: Stored | None = None

    @classmethod
    def read(cls, source: object, *, image: str | None = None, whole: bool = False) -> "Catalog":
        """Reads a table and finds its image column.

        **Arguments:**

        - `source`: one of
            - a `.csv`, `.tsv` or `.parquet` file: a path, or an address that fsspec opens (`https://`, `s3://`, …).
              Types in a CSV file are guessed over all its rows and an empty cell is null; a column of whole numbers
              of which one begins with 0, such as `007`, stays text;
            - a folder of `.parquet` files, or a glob: they must agree in their columns and are stacked in order of
              name;
            - a folder with `metadata.csv`;
            - a Hugging Face `Dataset` or `DatasetDict`, or the folder that its `save_to_disk` wrote. Class numbers
              become class names, and a dictionary's keys become the column `split`, in place of one that is there;
            - a table of polars or pandas;
            - the word `"glyphs"`: the embedded catalog (a folder of that name is `"./glyphs"`).
        - `image`: the image column. Left out, it is the one with a usual name (`image`, `file_name`, `path`, `url`,
          …) and a fitting type, else the only one that holds bytes or paths of images.
        - `whole`: hold the images of Parquet files in `table`, too.

        Relative paths start from the folder read, from the file's folder, from the folder before a glob's first
        wildcard, or, for an object, from the working folder.

        **Raises:**

        - `UserError`: nothing is there, it cannot be read, it has no rows, or no column holds images.
        """
        read = read_source(source, whole=whole)
        if image is None:
            image = _find_image(read)
        elif image not in read.columns:
            raise _no_column(image, read.columns, read.name)
        catalog = cls(read.table, image, read.root, read.name, read.left.get(image))
        _check_images(catalog)
        return catalog

    def __len__(self) -> int:
        """The number of items."""
        return self.table.height if self.stored is None else len(self.stored)

    @property
    def columns(self) -> list[str]:
        """The names of all columns, those left in files among them."""
        return self.table.columns if self.stored is None else list(self.stored.columns)

    def column(self, name: str) -> pl.Series:
        """One column as it stands in the table.

        **Raises:**

        - `UserError`: there is none of that name, and the nearest one is named; or it holds bytes in Parquet files.
        """
        if name not in self.columns:
            raise _no_column(name, self.columns, self.source)
        if name not in self.table.columns:
            raise UserError(f"Column {name!r} of {self.source} holds bytes, not one text or number per row.")
        return self.table[name]

    def ids(self, column: str | None = None) -> list[str]:
        """A name per item: from `column`, else from `id`, `image_id` or `item_id`, the first that can hold one, else
        the image's path, or the row number.

        A null gives the row number, and so do bytes. Names are not made unique.

        **Raises:**

        - `UserError`: there is no such column, or it holds lists, structs or durations.
        """
        return [str(row) if value is None else value for row, value in enumerate(self.named_by(column))]

    def named_by(self, column: str | None = None) -> pl.Series:
        """The same as a series of texts, null where the cell is empty."""
        name = (*self.usual_ids, self.image)[0] if column is None else column
        nothing = pl.Series(name, [None], dtype=pl.String).new_from_index(0, len(self))
        if name == self.image and self.stored is not None:
            paths = self.stored.file_paths()
            return nothing if paths is None else paths
        values = self.column(name)
        if name == self.image and isinstance(values.dtype, pl.Struct):
            values = values.struct.field("path") if "path" in values.struct.fields else values.struct.field("bytes")
        if values.dtype == pl.Binary:
            return nothing
        if not _may_name(values):
            raise UserError(f"Column {name!r} of {self.source} holds {values.dtype}: an id is a text or a number.")
        return as_text(values) if values.dtype.is_float() else values.cast(pl.String)

    @property
    def usual_ids(self) -> list[str]:
        """The columns that ids are looked for in where none is named, in this order."""
        return [name for name in ID_NAMES if name in self.table.columns and _may_name(self.table[name])]

    def take(self, rows: Sequence[int] | np.ndarray) -> "Catalog":
        """The catalog of these rows alone, in this order."""
        chosen = np.asarray(rows, dtype=np.int64)
        table = self.table[chosen] if self.table.width else self.table
        return replace(self, table=table, stored=None if self.stored is None else self.stored.take(chosen))

    def image_source(self, row: int) -> bytes | str | None:
        """What stands for the image of a row: its bytes, its absolute path or address, or None for an empty cell.

        **Raises:** `DecodeError` where the Parquet file that it is in cannot be read any more.
        """
        value = self.table[self.image][row] if self.stored is None else self.stored.cell(row)
        if isinstance(value, dict):
            value = value.get("path") if value.get("bytes") is None else value["bytes"]
        if isinstance(value, str):
            return _locate(self.root, value) if value.strip() else None
        return value

    def image_bytes(self, row: int) -> bytes:
        """The image file of a row, as it is stored.

        **Raises:**

        - `DecodeError`: the cell is empty, or its file or address cannot be read.
        """
        source = self.image_source(row)
        if source is None:
            raise DecodeError("the image cell is empty")
        return source if isinstance(source, bytes) else fetch(source)


def _no_column(name: str, columns: Sequence[str], source: str) -> UserError:
    return UserError(f"{source} has no column {name!r}.{nearest(name, columns)} Its columns: {', '.join(columns)}.")


def _may_name(values: pl.Series) -> bool:
    return not (values.dtype.is_nested() or values.dtype in (pl.Duration, pl.Object))


def _find_image(read: Source) -> str:
    left, table = read.left, read.table
    fitting = [name for name in read.columns if name in left or _may_hold_images(table[name])]
    for wanted in IMAGE_NAMES:
        for name in fitting:
            if name.lower() == wanted:
                return name
    found = [
        name for name in fitting if name in left or table[name].dtype != pl.String or _looks_like_paths(table[name])
    ]
    if len(found) == 1:
        return found[0]
    several = f"columns {', '.join(found)} could all hold images" if found else "no column looks like images"
    raise UserError(
        f"{read.name}: {several}. Name the one to use: --image NAME, in code image='NAME'. Its columns:"
        f" {', '.join(read.columns)}."
    )


def _may_hold_images(values: pl.Series) -> bool:
    if isinstance(values.dtype, pl.Struct):
        return bool(values.struct.fields) and set(values.struct.fields) <= IMAGE_FIELDS
    return values.dtype in (pl.String, pl.Binary)


def _looks_like_paths(values: pl.Series) -> bool:
    known = values.drop_nulls().head(LOOKED_UP)
    return len(known) > 0 and known.str.contains(IMAGE_SUFFIX).all()


def _check_images(catalog: Catalog) -> None:
    where = f"Column {catalog.image!r} of {catalog.source}"
    if catalog.stored is not None:
        if catalog.stored.empty:
            raise UserError(f"{where} is empty in every row: it should hold the images.")
        return
    values = catalog.column(catalog.image)
    if values.null_count() == len(values):
        raise UserError(f"{where} is empty in every row: it should hold the images.")
    if not _may_hold_images(values):
        raise UserError(
            f"{where} holds {values.dtype}, not images: name a column of paths, addresses or bytes, --image NAME, in"
            " code image='NAME'."
        )
    if values.dtype != pl.String:
        return
    first = None
    for value in values.drop_nulls().head(LOOKED_UP):
        place = _locate(catalog.root, value)
        if "://" in place or _exists(place):
            return
        first = first or (value, place)
    if first is not None:
        raise UserError(
            f"{where} holds no images: {first[0]!r} is no file (looked for {first[1]}), nor are the next. "
            "Is it the right column (--image NAME, in code image='NAME'), and do its relative paths start from the"
            " table's folder?"
        )


def _locate(root: str, value: str) -> str:
    if "://" in value or Path(value).is_absolute():
        return value
    return f"{root.rstrip('/')}/{value}" if "://" in root else str(Path(root) / value)


def _exists(place: str) -> bool:
    try:
        return Path(place).is_file()
    except (OSError, ValueError):  # A sentence can be too long for a file name, or hold a NUL.
        return False

"""What of a set is there: the checklist of its files, and the image of each row."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mscon.data.originals.original import About, Wanted
from mscon.errors import UserError
from mscon.words import listed

# So large a share of the rows may lack their image: archives have a few gaps of their own.
MISSING = 0.01
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Piece:
    """A file or folder that is wanted, and where it is; `path` is None where it is missing.

    `packed`: the archive that holds it is there, but not unpacked.
    """

    wanted: Wanted
    path: Path | None
    packed: bool


def checklist(about: About, root: Path) -> tuple[Piece, ...]:
    """What a set wants, in its order, and where each of it is below the root. An empty folder is missing."""
    start = Path(os.path.abspath(root))  # noqa: PTH100 - links stay as they are, which `resolve` would follow
    return tuple(
        Piece(
            each,
            path=next((start / place for place in each.places if _is_there(start, place)), None),
            packed=(start / each.archive).is_file(),
        )
        for each in about.wanted
    )


def whole(about: About, root: Path) -> tuple[Path, ...]:
    """The path of each thing that a set wants. **Raises** `UserError` that names all that is missing."""
    pieces = checklist(about, root)
    if missing := [each.wanted for each in pieces if each.path is None]:
        names = listed([each.what for each in missing], "and")
        places = ", ".join(str(root / each.places[0]) for each in missing)
        archives = listed(list(dict.fromkeys(each.archive for each in missing)), "and")
        raise UserError(
            f"{about.name} is not whole under {root}: {names} missing (looked for {places}). Get {archives} from"
            f" {about.page} and unpack there."
        )
    return tuple(each.path for each in pieces if each.path is not None)


def by_stem(folder: Path) -> dict[str, Path]:
    """Every image below a folder by its file's name as `stem_key` writes it; of several the first in order of path."""
    found: dict[str, Path] = {}
    for inside, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(IMAGE_SUFFIXES):
                found.setdefault(stem_key(Path(name).stem), Path(inside) / name)
    return found


def stem_key(stem: str) -> str:
    """An id or a file's stem so that `100627-72` and `100627.72` are one: small letters, and `-` for punctuation."""
    return re.sub(r"[\W_]+", "-", stem.lower()).strip("-")


def with_images(
    table: pl.DataFrame, images: Sequence[Path | None], about: About, folder: Path
) -> tuple[pl.DataFrame, list[str]]:
    """The rows that have an image, with its path as the first column, and a note that counts and names the others.

    **Arguments:** `images`: of each row, None where there is none; `folder`: where they were looked for.

    **Raises:** `UserError` when more than 1% of the rows lack theirs, or when there are no rows.
    """
    if table.height == 0:
        raise UserError(f"{about.name} under {folder} has no rows to make a catalog of.")
    missing = [name for name, path in zip(table["id"].to_list(), images, strict=True) if path is None]
    named = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
    if len(missing) > MISSING * table.height:
        raise UserError(
            f"{len(missing):,} of {table.height:,} rows of {about.name} have no image below {folder}: {named}. Unpack"
            f" {about.wanted[-1].archive} there, whole; up to 1% of the rows may lack theirs."
        )
    paths = [None if path is None else str(path) for path in images]
    table = table.select(pl.Series("image", paths, dtype=pl.String), pl.all()).filter(pl.col("image").is_not_null())
    left = [f"{len(missing):,} rows are left out: there is no image of {named}"] if missing else []
    return table, left


def _is_there(start: Path, place: str) -> bool:
    path = start / place
    return path.is_dir() and any(path.iterdir()) if place.endswith("/") else path.is_file()

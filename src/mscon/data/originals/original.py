"""What is known of a set before it is there, and what is made of it once it is."""

import os
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mscon.errors import UserError
from mscon.files import make_folder, write_whole


@dataclass(frozen=True)
class Wanted:
    """One file or folder that a set needs.

    - `what`: its name in the checklist.
    - `places`: where it may be below the root, the first that is there counting; a folder's place ends in `/`.
    - `archive`: the archive that holds it.
    """

    what: str
    places: tuple[str, ...]
    archive: str


@dataclass(frozen=True)
class About:
    """Where a set is got and what to do with it.

    - `name`: the command's word for it, and the stem of its catalog.
    - `title`, `page`, `licence`: as its authors have them; `archives`: what to download there; `unpack`: what goes
      where.
    - `wanted`: the files and folders needed, in the order in which the reader takes them; its images are the last.
    - `similarities`, `ood`: the label columns of the command that is suggested next.
    """

    name: str
    title: str
    page: str
    licence: str
    archives: tuple[str, ...]
    unpack: str
    wanted: tuple[Wanted, ...]
    similarities: tuple[str, ...]
    ood: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """A count that is known of the whole set, beside the one found in what is there."""

    what: str
    expected: int
    found: int

    @property
    def same(self) -> bool:
        """Whether they agree."""
        return self.expected == self.found


@dataclass(frozen=True, eq=False)
class Original:
    """A set that is there, read.

    - `table`: one row an item: `image` (absolute path), `id`, label columns, `split`, and, as far as the set has
      them, `group_id` and `split_by_group`; see the function that made it.
    - `checks`: counts beside those of the whole set. They may differ, as they do for a part of it.
    - `notes`: what was left out and what to know, a sentence each.
    """

    about: About
    table: pl.DataFrame
    checks: tuple[Check, ...]
    notes: tuple[str, ...]

    def write(self, out: Path) -> Path:
        """Write the table as a Parquet catalog, whole or not at all; its folder is made.

        Paths of images are written relative to the file's folder where all images lie below that folder, so that it
        can be moved as a whole, and absolute otherwise.

        **Returns:** `out`. **Raises** `UserError` for another suffix, or when the disk refuses.
        """
        if out.suffix != ".parquet":
            raise UserError(f"{out}: a catalog is written as Parquet; name a file that ends in .parquet")
        make_folder(out.parent)
        images = _from(out.parent, self.table["image"].to_list())
        table = self.table.with_columns(image=pl.Series(images, dtype=pl.String))
        write_whole(out, table.write_parquet)
        return out


def _from(folder: Path, images: list[str]) -> list[str]:
    start = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay as they are, which `resolve` would follow
    if all(Path(each).is_relative_to(start) for each in images):
        return [Path(each).relative_to(start).as_posix() for each in images]
    return images

"""Where an index is written: by one command at a time, and in place of another only once it is whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock, Timeout

from mscon.errors import UserError
from mscon.run import Run
from mscon.search.index.columns import fitted
from mscon.search.index.layout import ABOUT, ANEW, ITEMS, About
from mscon.search.index.table import Index, connect

LOCK = ".writing"
"""A file in an index on a disk, locked by the command that writes."""


@dataclass(frozen=True, eq=False)
class Place:
    """A folder or address, and what is there.

    - `there`: the index that is added to; None where a new one is made.
    - `items`: the name of its table; `old`: of the one that goes when the new one is whole.
    """

    to: str
    database: Any
    there: Index | None
    items: str = ITEMS
    old: str | None = None

    @classmethod
    def find(cls, to: str, run: Run, *, replace: bool) -> "Place":
        """**Raises** `UserError` for an index of another model, unless it is to be replaced, and for a database that is
        somebody else's.
        """
        database = connect(to)
        tables = {name for name in database.list_tables().tables if _is_whole(database, name)}
        if ITEMS in tables and ABOUT not in tables:
            raise UserError(f"{to}: its table {ITEMS!r} was not made by mscon: name another folder")
        if not tables & {ITEMS, ANEW}:  # there may be a word about it from a command that was killed at once
            return cls(to, database, None)
        if not replace:
            return cls(to, database, Index.open(to, run))
        used = _used(to, tables)
        return cls(to, database, None, ITEMS if used == ANEW else ANEW, used)

    def add(self, table: Any | None, rows: pa.Table, about: About, *, changed: bool) -> Any:
        """Rows into the table, in one commit; the first make it, once what it is of is written down."""
        if table is None:
            if self.old is None:
                self.write_about(about)
            return self.database.create_table(self.items, rows, mode="overwrite" if self.old else "create")
        rows = fitted(rows, table.schema)
        if changed:
            table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)
        else:
            table.add(rows)
        return table

    def write_about(self, about: About) -> None:
        """Write down what the index is of, in place of what was: from now on searches read this one."""
        self.database.create_table(ABOUT, pa.table({"json": [about.to_json()]}), mode="overwrite")

    def drop_old(self) -> None:
        """Remove what was replaced."""
        if self.old is not None:
            self.database.drop_table(self.old)


@contextmanager
def alone(to: str) -> Iterator[None]:
    """While no other command writes into an index on a disk. **Raises** `UserError` at once if one does.

    Object stores have no locks: there the user sees to it.
    """
    if "://" in to:
        yield
        return
    connect(to)  # makes the folder, or says why it cannot be
    lock = FileLock(Path(to) / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"{to}: another command is writing into it: give this one again when that has ended") from None
    except OSError as error:
        raise UserError(f"{to}: no index can be there: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def _is_whole(database: Any, name: str) -> bool:
    """Whether a table that is listed can be opened: where the disk was full, or the command killed, while a table was
    made, its folder is there without it.
    """
    try:
        database.open_table(name)
    except (ValueError, RuntimeError, OSError):
        return False
    return True


def _used(to: str, tables: set[str]) -> str:
    """The table that searches read; any, where what is written about it cannot be read."""
    try:
        used = Index.open(to).about.items
    except UserError:
        used = ITEMS
    return used if used in tables else min(tables & {ITEMS, ANEW})

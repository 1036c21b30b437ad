"""The tables of a set as text, each row with the number of its line, and what is wrong with them by file and line."""

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import polars as pl

from mscon.errors import UserError, nearest


@dataclass(frozen=True, eq=False)
class Rows:
    """A file's rows: `table` holds its columns as text, without blanks at the ends and null where empty, and `line`,
    the number of the row's line in the file, from 1.
    """

    path: Path
    table: pl.DataFrame

    def refuse(self, row: int, column: str, what: str) -> NoReturn:
        """**Raises** `UserError` that names file, line, column and value, and then says `what`."""
        line, value = self.table["line"][row], self.table[column][row]
        raise UserError(f"{self.path}, line {line}, column {column!r}: {value!r} {what}")

    def check_unique(self, column: str) -> None:
        """**Raises** `UserError` for the first cell that is empty or that an earlier row has, too."""
        seen: set[str] = set()
        for row, value in enumerate(self.table[column]):
            if value is None:
                self.refuse(row, column, "is no id: give the row one, or remove the row")
            if value in seen:
                self.refuse(row, column, "stands in an earlier row, too: remove one of the two")
            seen.add(value)

    def check_known(self, column: str, known: Collection[str]) -> None:
        """**Raises** `UserError` for the first value that is neither empty nor one of `known`."""
        odd = self.table[column].is_not_null() & ~self.table[column].is_in(list(known))
        if odd.any():
            row = odd.arg_true()[0]
            near = nearest(self.table[column][row], known)
            self.refuse(row, column, f"is none of {', '.join(known)}.{near} Mend it, or empty the cell if unknown")

    def filter(self, keep: pl.Expr | pl.Series) -> "Rows":
        """The rows for which it holds, with the numbers of their lines."""
        return Rows(self.path, self.table.filter(keep))


def read_rows(path: Path, columns: Sequence[str], *, separator: str = ",", rest: str | None = None) -> Rows:
    """Reads these columns of a table with a header, in whatever order they stand in it.

    **Arguments:**

    - `rest`: the last column's name, where its text may hold separators that are not quoted: what a row has too much
      is joined to it.

    **Raises:**

    - `UserError`: the file cannot be read; a column is missing; a row has too few cells or too many.
    """
    quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=separator, quoting=quoting)
    rows, lines = [], []
    try:
        header = [name.strip() for name in next(reader, [])]
        for name in columns:
            if name not in header:
                raise UserError(
                    f"{path}, line 1: there is no column {name!r}.{nearest(name, header)} Its columns: "
                    f"{', '.join(header)}. Is it the original file?"
                )
        start = reader.line_num + 1
        for cells in reader:
            if cells:
                lines.append(start)
                rows.append(_fitted(cells, header, path, start, separator, rest))
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}. Is the file whole?") from None
    places = {name: header.index(name) for name in columns}
    table = {name: [row[place].strip() or None for row in rows] for name, place in places.items()}
    schema = dict.fromkeys(columns, pl.String) | {"line": pl.Int64}
    return Rows(path, pl.DataFrame({**table, "line": lines}, schema=schema))


def read_numbered(path: Path) -> Rows:
    """Reads a file with a number and a text on each line: columns `number` (text, unique) and `text`.

    **Raises:** `UserError` for a line that is not so, or a number that stands there twice.
    """
    numbers, texts, lines = [], [], []
    for line, written in enumerate(read_text(path).splitlines(), start=1):
        if not written.strip():
            continue
        number, _, text = written.strip().partition(" ")
        if not number.isdecimal() or not text.strip():
            raise UserError(f"{path}, line {line}: {written!r} is not a number and a text. Is the file whole?")
        numbers.append(number)
        texts.append(text.strip())
        lines.append(line)
    schema = {"number": pl.String, "text": pl.String, "line": pl.Int64}
    rows = Rows(path, pl.DataFrame({"number": numbers, "text": texts, "line": lines}, schema=schema))
    rows.check_unique("number")
    return rows


def read_text(path: Path) -> str:
    """A file as UTF-8. **Raises** `UserError` where it cannot be read or is something else."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}. Is it the original file, whole?") from None


def _fitted(cells: list[str], header: list[str], path: Path, line: int, separator: str, rest: str | None) -> list[str]:
    if rest is not None and len(cells) > len(header) and header[-1] == rest:
        cells = [*cells[: len(header) - 1], separator.join(cells[len(header) - 1 :])]
    if len(cells) != len(header):
        missing = f", none for {header[len(cells)]!r}" if len(cells) < len(header) else ""
        raise UserError(
            f"{path}, line {line}: {len(cells)} cells for {len(header)} columns{missing}: {separator.join(cells)!r}."
            " Mend the row or remove it."
        )
    return cells

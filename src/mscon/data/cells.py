"""What the cells of a label column hold: text, numbers, sets of tags, paths; None or NaN where nothing."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, takewhile

import numpy as np
import polars as pl
from jaxtyping import Float64

from mscon.errors import UserError

LARGEST = 1e150
"""A number's distance from zero at most: its square, and sums of many squares, are still numbers."""

Members = list[tuple[str, ...] | None]
"""For each item its tags, or the nodes of its path; None where it has none."""


def as_text(values: pl.Series) -> pl.Series:
    """Values as the names of classes, null where missing; a whole float is written as an integer: 2007.0 is `2007`.

    Texts are compared as they are: case, accents and blanks at the ends count.

    **Raises:**

    - `UserError`: the column holds lists, structs, bytes, durations or objects.
    """
    check_scalar(values)
    text = values.cast(pl.String)
    if values.dtype.is_float():
        whole = values.cast(pl.Int64, strict=False)
        text = pl.select(
            pl.when(values.is_nan()).then(None).when(whole == values).then(whole.cast(pl.String)).otherwise(text)
        ).to_series()
    return text.set(text.str.strip_chars() == "", None).alias(values.name)


def as_numbers(values: pl.Series, where: str) -> Float64[np.ndarray, " n"]:
    """Values as float64, NaN where missing.

    **Raises:**

    - `UserError`: a value is no finite number, or beyond ±1e150; `where` and the row are named.
    """
    text = as_text(values)
    if values.dtype.is_temporal():
        raise UserError(f"{where} holds {values.dtype}, not numbers: write it as one, such as a year, first.")
    plain = values if values.dtype.is_numeric() or values.dtype == pl.Boolean else text.str.strip_chars()
    numbers = plain.cast(pl.Float64, strict=False)
    odd = text.is_not_null() & ~((numbers.abs() <= LARGEST) | numbers.is_nan()).fill_null(False)
    if odd.any():
        row = odd.arg_true()[0]
        finite = numbers[row] is not None and np.isfinite(numbers[row])
        what = f"beyond ±{LARGEST:g}, too large to reckon with" if finite else "no finite number"
        raise UserError(
            f"{where}, row {row} (from 0): {values[row]!r} is {what}. Leave the cell empty where the value is "
            "missing, or read the column as categorical."
        )
    return numbers.fill_null(np.nan).to_numpy(writable=True)


def as_tags(values: pl.Series, separator: str) -> Members:
    """Each item's tags, each once and sorted: of a list, or of a text with `separator` between them.

    Blanks around a tag do not count; an empty tag is none.
    """
    return [tuple(sorted({tag for tag in each if tag})) or None for each in _elements(values, separator)]


def as_paths(values: Sequence[pl.Series], separator: str) -> Members:
    """Each item's path as its nodes, from coarse to fine: `("Shoes", "Shoes/Boots")`.

    From a text with `separator` between the nodes (one at the very beginning does not count), a list, or one column
    per level. A path ends at its first empty level, which in a text stands between two separators. A `/` within a
    level's name is written `\\/` in a node's.
    """
    if len(values) > 1:
        paths: Iterable[Sequence[str]] = zip(*(_stripped(as_text(each).to_list()) for each in values), strict=True)
    else:
        paths = _elements(values[0], separator, leading=True)
    known = (takewhile(bool, path) for path in paths)
    escaped = ([name.replace("\\", "\\\\").replace("/", "\\/") for name in path] for path in known)
    return [tuple("/".join(path[:end]) for end in range(1, len(path) + 1)) or None for path in escaped]


def _elements(values: pl.Series, separator: str, *, leading: bool = False) -> Iterator[list[str]]:
    """The parts of each cell, without blanks at their ends; of a text, with `leading`, after a first separator."""
    parts: Iterable[Sequence[str | None]]
    if isinstance(values.dtype, pl.List | pl.Array):
        inner = values.dtype.inner
        if inner.is_nested() or inner in (pl.Binary, pl.Object, pl.Duration):  # pyright: ignore[reportAttributeAccessIssue]
            raise UserError(f"column {values.name!r} holds {values.dtype}: a list of texts or numbers can be read.")
        parts = _lists(values.cast(pl.List(inner)))
    else:
        texts = _stripped(as_text(values).to_list())
        parts = ((text.removeprefix(separator) if leading else text).split(separator) for text in texts)
    return (_stripped(each) for each in parts)


def _lists(values: pl.Series) -> Iterator[list[str | None]]:
    """The cells of a column of lists, element by element as `as_text` writes them."""
    lengths = values.list.len().fill_null(0)
    texts = iter(as_text(values.filter(lengths > 0).explode()).to_list())
    return (list(islice(texts, length)) for length in lengths)


def _stripped(texts: Sequence[str | None]) -> list[str]:
    return [(text or "").strip() for text in texts]


def check_scalar(values: pl.Series, where: str | None = None) -> None:
    """**Raises** `UserError` for a column whose cells are not one text or number each; `where` names it in full."""
    if values.dtype.is_nested() or values.dtype in (pl.Binary, pl.Object, pl.Duration):
        raise UserError(
            f"{where or f'column {values.name!r}'} holds {values.dtype}, not one text or number per row. Name another"
            " column, or write what matters of it into one of its own."
        )

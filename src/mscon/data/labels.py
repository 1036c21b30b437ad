"""How a label column is read: as classes or as numbers, with its gaps kept."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from mscon.data.catalog import Catalog
from mscon.errors import UserError, nearest

Kind = Literal["categorical", "continuous"]
KINDS = ("categorical", "continuous", "tags")
# Whole numbers with more distinct values than this are measurements (an age, a price), with fewer they name classes.
FEW_INTEGERS = 50


@dataclass(frozen=True)
class LabelColumn:
    """How one label column was read, so that it can be read the same way from another catalog; all of it fits JSON.

    - `name`: the column.
    - `kind`: `"categorical"` (alike = same class) or `"continuous"` (alike = near in value).
    - `classes`: the names of the classes, sorted by code point; a class's code is its place here. Empty for numbers.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...] = ()

    def encode(self, values: pl.Series) -> Int64[np.ndarray, " n"] | Float64[np.ndarray, " n"]:
        """The column's values as numbers.

        **Returns:**

        Categorical: int64 codes, −1 where the value is missing or no known class. Continuous: float64, NaN where it is
        missing.

        **Raises:**

        - `UserError`: continuous, and a value is no finite number; or the column holds lists, structs or bytes.
        """
        if self.kind == "continuous":
            return _numbers(values, f"column {self.name!r}")
        codes = as_text(values).cast(pl.Enum(self.classes), strict=False).to_physical()
        return codes.cast(pl.Int64).fill_null(-1).to_numpy(writable=True)


def infer_kind(values: pl.Series) -> str:
    """The kind that a column's type suggests.

    `"categorical"` for text, truth values, dates and few distinct integers (at most 50, each occurring twice on
    average); `"continuous"` for floats and many distinct integers; `"tags"` for lists.

    **Raises:**

    - `UserError`: the column holds structs, bytes, durations or objects, which no kind reads.
    """
    dtype = values.dtype
    if isinstance(dtype, (pl.List, pl.Array)):
        return "tags"
    _check_scalar(values)
    if dtype.is_integer():
        distinct = values.drop_nulls().n_unique()
        return "categorical" if distinct <= min(FEW_INTEGERS, values.count() / 2) else "continuous"
    return "continuous" if dtype.is_numeric() else "categorical"


def read_label(catalog: Catalog, name: str, kind: str | None = None) -> LabelColumn:
    """Reads one column of a catalog as a label; a null, a NaN, an empty text and one of white space alone are missing.

    **Arguments:**

    - `name`: the column.
    - `kind`: `"categorical"` or `"continuous"`; left out, `infer_kind` tells.

    **Raises:**

    - `UserError`: the column or the kind is unknown; every value is missing, all are the same, or, in a categorical
      column, each occurs once; a continuous column holds a value that is no finite number (the first such row is
      named); the column holds lists, which can't be a label yet.
    """
    values = catalog.column(name)
    where = f"column {name!r} of {catalog.source}"
    if kind is not None and kind not in KINDS:
        raise UserError(f"{kind!r} is no kind of label.{nearest(kind, KINDS)} Kinds: categorical, continuous.")
    kind = kind or infer_kind(values)
    if kind == "tags" or infer_kind(values) == "tags":
        raise UserError(f"{where}: lists of tags can't be used as a label yet. Name a column with one value per row.")
    known = pl.Series(_numbers(values, where)).fill_nan(None) if kind == "continuous" else as_text(values)
    distinct = known.drop_nulls().unique().sort()
    if len(distinct) == 0:
        raise UserError(f"{where} is empty in every row: there is nothing to learn from it.")
    if len(distinct) == 1:
        raise UserError(f"{where} is {distinct[0]!r} in every row that has a value: nothing tells its items apart.")
    if kind == "continuous":
        return LabelColumn(name, "continuous")
    if len(distinct) == known.count():
        raise UserError(
            f"{where} has another value in each of its {len(distinct)} rows: no two items are alike under it."
        )
    return LabelColumn(name, "categorical", tuple(distinct))


def as_text(values: pl.Series) -> pl.Series:
    """Values as the names of classes, null where missing; a whole float is written as an integer: 2007.0 is `2007`.

    Texts are compared as they are: case, accents and blanks at the ends count.

    **Raises:**

    - `UserError`: the column holds lists, structs, bytes, durations or objects.
    """
    _check_scalar(values)
    text = values.cast(pl.String)
    if values.dtype.is_float():
        whole = values.cast(pl.Int64, strict=False)
        text = pl.select(
            pl.when(values.is_nan()).then(None).when(whole == values).then(whole.cast(pl.String)).otherwise(text)
        ).to_series()
    return text.set(text.str.strip_chars() == "", None).alias(values.name)


def _check_scalar(values: pl.Series) -> None:
    if values.dtype.is_nested() or values.dtype in (pl.Binary, pl.Object, pl.Duration):
        raise UserError(f"column {values.name!r} holds {values.dtype}: a label is one text or number per row.")


def _numbers(values: pl.Series, where: str) -> Float64[np.ndarray, " n"]:
    text = as_text(values)
    if values.dtype.is_temporal():
        raise UserError(f"{where} holds {values.dtype}, not numbers: write it as one, such as a year, first.")
    plain = values if values.dtype.is_numeric() or values.dtype == pl.Boolean else text.str.strip_chars()
    numbers = plain.cast(pl.Float64, strict=False)
    odd = text.is_not_null() & ~(numbers.is_finite() | numbers.is_nan()).fill_null(False)
    if odd.any():
        row = odd.arg_true()[0]
        raise UserError(
            f"{where}, row {row}: {values[row]!r} is no finite number. Leave the cell empty where the value is "
            "missing, or read the column as categorical."
        )
    return numbers.fill_null(np.nan).to_numpy(writable=True)

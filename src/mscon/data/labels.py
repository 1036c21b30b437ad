"""How label columns are read: as classes, numbers, sets of tags or paths, with their gaps kept."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64
from pydantic import TypeAdapter, ValidationError

from mscon.data.catalog import Catalog
from mscon.data.cells import LARGEST, Members, as_numbers, as_paths, as_tags, as_text, check_scalar
from mscon.data.circle import in_one_turn
from mscon.errors import UserError, nearest
from mscon.parsing import explained

Kind = Literal["categorical", "continuous", "tags", "hierarchy"]
KINDS: tuple[str, ...] = get_args(Kind)
# Whole numbers with more distinct values than this are measurements (an age, a price), with fewer they name classes.
FEW_INTEGERS = 50
SEPARATORS = {"tags": ",", "hierarchy": "/"}
JOINT = " × "
"""Between the values that make one class of several columns."""
# So many of the training items' numbers are kept with a run, spread evenly over their order: ranks to 1/16,384.
REFERENCE = 2**14


@dataclass(frozen=True)
class LabelColumn:
    """How one label was read, so that it can be read the same way from another catalog; all of it fits JSON.

    - `name`: the label's.
    - `kind`: `"categorical"` (alike = same class), `"continuous"` (near in value), `"tags"` (a tag in common) or
      `"hierarchy"` (same beginning of a path).
    - `classes`: names, sorted by code point, a name's code being its place here: of the classes, of the tags, or of all
      nodes of the paths, such as `Shoes` and `Shoes/Boots`. Empty for numbers.
    - `members`: for tags, the sets that occur; for a hierarchy, the paths, as nodes from coarse to fine. An item's
      value is the number of its set or path here, which holds codes.
    - `reference`: for numbers that are trained on, those of the training items (or 16,384 of them, evenly spread over
      their order): what ranks are taken among.
    - `columns`: of the catalog, where they are not the one of the label's name; several are the levels of a hierarchy,
      or columns whose values together make one class.
    - `separator`: between tags or between the nodes of a path, where a column holds text.
    - `period`: P of numbers on a circle, such as 24 for hours, which are read as remainders in [0, P); None on a line.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...] = ()
    members: tuple[tuple[int, ...], ...] = ()
    reference: tuple[float, ...] = ()
    columns: tuple[str, ...] = ()
    separator: str = ""
    period: float | None = None

    @classmethod
    def of_json(cls, described: Any) -> "LabelColumn":
        """From what JSON made of one: lists are tuples again. **Raises** `ValueError` for what is none."""
        if not isinstance(described, Mapping):
            raise ValueError("no table of a label")
        try:
            label: LabelColumn = _ADAPTER.validate_json(json.dumps(described), strict=True)
        except ValidationError as error:
            raise ValueError(explained(error)) from None
        if any(not 0 <= code < len(label.classes) for each in label.members for code in each):
            raise ValueError(f"members: a code that none of its {len(label.classes)} classes has")
        if bool(label.members) != (label.kind in ("tags", "hierarchy")) or not all(label.members):
            raise ValueError(f"members: of {label.kind}, {len(label.members)} of them, or one without a code")
        if len(set(label.classes)) < len(label.classes):
            raise ValueError("classes: one is there twice")
        if bool(label.classes) == (label.kind == "continuous"):
            raise ValueError(f"classes: of {label.kind}, {len(label.classes)} of them")
        if not all(each == each and abs(each) <= LARGEST for each in label.reference):
            raise ValueError("reference: a number that is none")
        if label.period is not None and not 0 < label.period <= LARGEST:
            raise ValueError(f"period: {label.period}")
        return label

    def read(self, catalog: Catalog) -> Int64[np.ndarray, " n"] | Float64[np.ndarray, " n"]:
        """The label of every row of a catalog as a number. **Raises** `UserError` as `encode` does."""
        columns = [catalog.column(name) for name in self.columns or (self.name,)]
        try:
            return self.encode(*columns)
        except UserError as error:
            raise UserError(f"{catalog.source}: {error}") from None

    def encode(self, *columns: pl.Series) -> Int64[np.ndarray, " n"] | Float64[np.ndarray, " n"]:
        """The values of the label's column, or of its columns, as numbers.

        **Returns:**

        Numbers: float64, in [0, P) where there is a period, NaN where one is missing. Everything else: int64, a class's
        code or the number of a set or path, −1 where it is missing or not known.

        **Raises:**

        - `UserError`: continuous, and a value is no finite number; or the column's type is not what the kind reads.
        """
        if self.kind == "continuous":
            where = f"column {columns[0].name or self.name!r}"
            return in_one_turn(as_numbers(columns[0], where), self.period)
        if self.members:
            return self._numbered(_members(columns, self.kind, self.separator))
        codes = _class_names(columns).cast(pl.Enum(self.classes), strict=False).to_physical()
        return codes.cast(pl.Int64).fill_null(-1).to_numpy(writable=True)

    def of_training(self, values: Float64[np.ndarray, " n"]) -> "LabelColumn":
        """The same with the training items' values as its reference."""
        known = np.sort(values[~np.isnan(values)])
        # Values that were there, never ones between: any rising function of all values picks the same items.
        places = np.linspace(0, len(known) - 1, min(len(known), REFERENCE)).round().astype(np.int64)
        return replace(self, reference=tuple(known[places].tolist()))

    def _numbered(self, members: Members) -> Int64[np.ndarray, " n"]:
        names = {self.names(number): number for number in range(len(self.members))}
        return np.array([-1 if each is None else names.get(each, -1) for each in members], dtype=np.int64)

    def text(self, value: int | float) -> str:
        """A value as a person reads it: a class, a number of four digits, tags, a path, or "missing"."""
        if self.kind == "continuous":
            return "missing" if value != value else f"{value:.4g}"
        if value < 0:
            return "missing"
        if not self.members:
            return self.classes[int(value)]
        names = self.names(int(value))
        return ", ".join(names) if self.kind == "tags" else names[-1]

    def exact(self, value: int | float) -> str:
        """The same with all digits of a number: two values have one text if they are one value."""
        return repr(float(value)) if self.kind == "continuous" and value == value else self.text(value)

    def names(self, value: int) -> tuple[str, ...]:
        """The tags of a set, or the nodes of a path, by its number."""
        return tuple(self.classes[code] for code in self.members[value])


_ADAPTER: TypeAdapter[LabelColumn] = TypeAdapter(LabelColumn)


def learned_kinds(labels: Mapping[str, LabelColumn]) -> dict[str, Kind]:
    """Column of a catalog → the kind that a run read it as; a column that it read in two ways is not there."""
    read: set[tuple[str, Kind]] = set()
    for name, label in labels.items():
        read |= {(column, label.kind) for column in label.columns or (name,)}
    times = Counter(column for column, _ in read)
    return {column: kind for column, kind in read if times[column] == 1}


def as_learned(table: pl.DataFrame, labels: Mapping[str, LabelColumn]) -> pl.DataFrame:
    """The table, its text that a run read as numbers being numbers, so that they can be compared; null where it is
    none, and where a number of any label is NaN.
    """
    kinds = {name: kind for name, kind in learned_kinds(labels).items() if name in table.columns}
    texts = (pl.String, pl.Categorical, pl.Enum)
    read = [name for name, kind in kinds.items() if kind == "continuous" and table[name].dtype in texts]
    table = table.with_columns(
        table[name].cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False) for name in read
    )
    return table.with_columns(table[name].fill_nan(None) for name in kinds if table[name].dtype.is_float())


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
    check_scalar(values)
    if dtype.is_integer():
        distinct = values.drop_nulls().n_unique()
        return "categorical" if distinct <= min(FEW_INTEGERS, values.count() / 2) else "continuous"
    return "continuous" if dtype.is_numeric() else "categorical"


def read_label(
    catalog: Catalog,
    name: str,
    kind: str | None = None,
    *,
    columns: Sequence[str] = (),
    separator: str | None = None,
    period: float | None = None,
) -> LabelColumn:
    """Reads one label of a catalog; a null, a NaN, an empty text and one of white space alone are missing.

    **Arguments:**

    - `name`: the label's, and its column's where `columns` names no other.
    - `kind`: one of `KINDS`; left out, `infer_kind` tells, and several columns are a hierarchy.
    - `columns`: one column, or the levels of a hierarchy from coarse to fine. A path ends at its first missing level.
      Where the kind is categorical, several make one class of their values together, missing where one of them is.
    - `separator`: between the tags of a text (`,` when left out), or between the nodes of a path (`/`).
    - `period`: of numbers on a circle: values whole turns apart are one value. Other kinds have none.

    **Raises:**

    - `UserError`: a column or the kind is unknown; every value is missing, all are the same, or, unless they are
      numbers, no two items have anything in common; a continuous column holds a value that is no finite number (the
      first such row is named); a column's type is not what the kind reads.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(f"{kind!r} is no kind of label.{nearest(kind, KINDS)} Kinds: {', '.join(KINDS)}.")
    if len(columns) > 1 and kind not in (None, "hierarchy", "categorical"):
        raise UserError(
            f"{name!r} names {len(columns)} columns: a hierarchy has several, or classes that are joint, not {kind!r}."
        )
    where = f"column {' / '.join(columns or (name,))!r} of {catalog.source}"
    values = [catalog.column(each) for each in columns or (name,)]
    for each in values:
        if len(values) > 1 or not isinstance(each.dtype, pl.List | pl.Array):
            check_scalar(each, f"column {each.name!r} of {catalog.source}")
    kind = kind or ("hierarchy" if len(values) > 1 else infer_kind(values[0]))
    if kind in ("tags", "hierarchy"):
        separator = SEPARATORS[kind] if separator is None else separator
        return _read_members(values, name, kind, tuple(columns), separator, where)
    if isinstance(values[0].dtype, pl.List | pl.Array):
        raise UserError(f"{where} holds lists, which are read as tags or as a hierarchy, not as {kind}.")
    if kind == "continuous":
        known = pl.Series(in_one_turn(as_numbers(values[0], where), period)).fill_nan(None)
    else:
        known = _class_names(values)
    distinct = known.drop_nulls().unique().sort()
    _check_several(distinct.head(2).to_list(), where)
    if kind == "continuous":
        return LabelColumn(name, "continuous", columns=tuple(columns), period=period)
    if len(distinct) == known.count():
        raise UserError(
            f"{where} has a different value in each of its {len(distinct)} rows: no two items are alike under it."
        )
    return LabelColumn(name, "categorical", tuple(distinct), columns=tuple(columns))


def _read_members(
    values: Sequence[pl.Series], name: str, kind: Kind, columns: tuple[str, ...], separator: str, where: str
) -> LabelColumn:
    items = [each for each in _members(values, kind, separator) if each]
    distinct = sorted(set(items))
    _check_several([", ".join(each) if kind == "tags" else each[-1] for each in distinct[:2]], where)
    counts = Counter(each for item in items for each in item)
    if max(counts.values()) < 2:
        common = "a tag" if kind == "tags" else "the beginning of their paths"
        raise UserError(f"{where}: no two of its {len(items)} items have {common} in common.")
    classes = sorted(counts)
    codes = {each: code for code, each in enumerate(classes)}
    members = tuple(tuple(codes[each] for each in item) for item in distinct)
    return LabelColumn(name, kind, tuple(classes), members, columns=columns, separator=separator)


def _check_several(distinct: Sequence[object], where: str) -> None:
    """**Raises** `UserError` for a label of no value or of one."""
    if len(distinct) == 0:
        raise UserError(f"{where} is empty in every row: there is nothing to learn from it.")
    if len(distinct) == 1:
        raise UserError(f"{where} is {distinct[0]!r} in every row that has a value: nothing tells its items apart.")


def _class_names(values: Sequence[pl.Series]) -> pl.Series:
    """The values of a column, or of several side by side, null where one of them is missing."""
    texts = [as_text(each) for each in values]
    if len(texts) == 1:
        return texts[0]
    for each in texts:
        if (odd := each.str.contains(JOINT, literal=True).fill_null(False)).any():
            row = odd.arg_true()[0]
            raise UserError(
                f"column {each.name!r}, row {row} (from 0): {each[row]!r} holds {JOINT!r}, which stands between"
                " the values of joint classes. Write it otherwise."
            )
    named = [each.alias(str(number)) for number, each in enumerate(texts)]
    return pl.select(pl.concat_str(named, separator=JOINT)).to_series()


def _members(values: Sequence[pl.Series], kind: Kind, separator: str) -> Members:
    return as_tags(values[0], separator) if kind == "tags" else as_paths(values, separator)

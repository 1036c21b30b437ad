"""The attributes of CUB-200-2011 that people marked in each image, as a column per group."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mscon.data.originals.rows import read_numbered
from mscon.errors import UserError

SINGLE = (
    *("bill_shape", "bill_length", "tail_shape", "wing_shape", "size", "shape", "head_pattern", "breast_pattern"),
    *("back_pattern", "tail_pattern", "belly_pattern", "wing_pattern", "eye_color", "primary_color"),
)
"""Groups of which a bird has one: forms, sizes, patterns, and the two colours that are one by their name."""

NOT_VISIBLE = 1
"""The certainty, of 1 to 4, that says that the part is not to be seen; what is marked there counts for nothing."""

LINE = r"^(?<image>\d+) +(?<attribute>\d+) +(?<present>[01]) +(?<certainty>\d)(?: .*)?$"


@dataclass(frozen=True)
class Seen:
    """How many attributes are named and how many lines were read; sentences on what was set aside."""

    attributes: int
    lines: int
    notes: tuple[str, ...]


def read_attributes(names: Path, marks: Path, images: pl.Series) -> tuple[list[pl.Series], Seen]:
    """One column per group of attributes, in the order of attributes.txt, and a row per image, in theirs.

    A line of attributes.txt is `1 has_bill_shape::dagger`: the value `dagger` of the group `bill_shape`. A line of
    image_attribute_labels.txt is image, attribute, present (0 or 1), certainty (1 to 4) and seconds, split by blanks;
    a few hundred of the real ones have a field or two too many, and their first four count.

    A group of `SINGLE` is a column of text: the value marked as present with the highest certainty, of equals the
    first in attributes.txt. Any other is a column of lists of text: all values marked as present. What is marked as
    not visible (certainty 1) does not count, and an image in which nothing counts has null.

    **Raises:** `UserError`: a line is malformed, or names an image or an attribute that there is not.
    """
    named = read_numbered(names)
    parts = named.table["text"].str.extract_groups(r"^(?:has_)?(?<group>[^:]+)::(?<value>.+)$").struct.unnest()
    if (odd := parts["group"].is_null()).any():
        named.refuse(odd.arg_true()[0], "text", "is no attribute such as 'has_bill_shape::dagger'")
    known = parts.with_columns(attribute=named.table["number"])
    lines = _read(marks)
    for column, values, file in (("image", images, "images.txt"), ("attribute", known["attribute"], "attributes.txt")):
        odd = ~lines[column].is_in(values.implode())
        if odd.any():
            row = odd.arg_true()[0]
            raise UserError(
                f"{marks}, line {row + 1}: {column} {lines[column][row]!r} is not in {file}. Are both whole?"
            )
    certain = pl.col("certainty").cast(pl.Int64)
    there = (
        lines.filter((pl.col("present") == "1") & (certain > NOT_VISIBLE))
        .join(known.with_row_index("place"), on="attribute")
        .sort(-certain, "place")
    )
    columns, several = [], []
    for group in known["group"].unique(maintain_order=True):
        marked = there.filter(pl.col("group") == group)
        ordered = marked if group in SINGLE else marked.sort("place")
        values = ordered.group_by("image").agg(pl.col("value").unique(maintain_order=True))
        column = images.to_frame("image").join(values, on="image", how="left", maintain_order="left")["value"]
        if group in SINGLE:
            if more := column.list.len().gt(1).sum():
                several.append(f"{group} in {more:,}")
            column = column.list.first()
        columns.append(column.alias(group))
    note = f"where several values of one group are marked the surest is kept: {', '.join(several)} images"
    return columns, Seen(known.height, lines.height, (note,) if several else ())


def _read(path: Path) -> pl.DataFrame:
    try:
        text = pl.read_csv(path, has_header=False, separator="\x01", quote_char=None, new_columns=["text"])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path}: cannot be read: {error}. Is it the original file, whole?") from None
    fields = text["text"].str.strip_chars().str.extract_groups(LINE).struct.unnest()
    if (odd := fields["image"].is_null()).any():
        row = odd.arg_true()[0]
        raise UserError(
            f"{path}, line {row + 1}: {text['text'][row]!r} is not image, attribute, present (0 or 1), certainty (a"
            " digit) and seconds. Take the original file, or mend the line."
        )
    return fields

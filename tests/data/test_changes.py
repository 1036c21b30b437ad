"""What a catalog says by now that it did not say when its labels were read."""

from typing import Any

import polars as pl
import pytest

from mscon.data import Catalog
from mscon.data.changes import changed_labels
from mscon.data.labels import read_label


def catalog_of(values: list[Any]) -> Catalog:
    return Catalog(table=pl.DataFrame({"x": values}), image="x", root="/", source="shoes.csv")


@pytest.mark.parametrize(
    ("kind", "before", "after", "said"),
    [
        ("categorical", ["a", "a", "b"], ["a", "c", None, "c", ""], "2 items are of a class .* ('c' 2) and"),
        ("tags", ["a,b", "b", "a"], ["b,a", "a,c", None], "1 item is of tags .* ('a, c' 1) and"),
        ("hierarchy", ["a/b", "a", "a/c"], ["a/b", "a/d", "e"], "2 items are of a path .* ('a/d' 1, 'e' 1) and"),
        (
            "categorical",
            list("aabb"),
            [*"abcdefghh"],
            "7 items are of a class .* ('h' 2, 'c' 1, 'd' 1, 'e' 1, 'f' 1 …)",
        ),
    ],
)
def test_values_that_came_since_are_counted_and_named(kind: str, before: list, after: list, said: str) -> None:
    column = read_label(catalog_of(before), "x", kind)
    assert list(changed_labels(column, catalog_of(before), column.read(catalog_of(before)))) == []
    now = catalog_of(after)
    (note,) = changed_labels(column, now, column.read(now))
    beginning, end = said.split(".*")
    assert note.startswith(f"x: {beginning}")
    assert end in note


def test_of_labels_together_a_row_that_lacks_one_is_missing_and_no_class_that_came_since() -> None:
    def pairs(first: list[Any], second: list[Any]) -> Catalog:
        table = pl.DataFrame({"x": first, "y": second})
        return Catalog(table=table, image="x", root="/", source="shoes.csv")

    before = pairs(["a", "a", "b", "b"], ["c", "c", "d", None])
    column = read_label(before, "both", "categorical", columns=("x", "y"))
    assert list(changed_labels(column, before, column.read(before))) == []
    now = pairs(["a", "b", None], ["d", "d", "c"])
    (note,) = changed_labels(column, now, column.read(now))
    assert "1 item is of a class that the run does not know ('a, d' 1)" in note


def test_a_number_is_never_unknown() -> None:
    column = read_label(catalog_of([1.0, 2.0]), "x", "continuous")
    now = catalog_of([5.0, None])
    assert list(changed_labels(column, now, column.read(now))) == []

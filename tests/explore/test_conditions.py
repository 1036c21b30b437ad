"""Conditions from choices: what passes is what was chosen, in memory and in an index, whatever the words are."""

from dataclasses import replace
from itertools import product

import polars as pl
import pytest

from mscon.data import Catalog
from mscon.data.labels import LabelColumn, as_learned
from mscon.errors import UserError
from mscon.explore.conditions import MISSING, MOST, choices, condition
from mscon.explore.state import ask_item, find
from mscon.run import Run
from mscon.search import Collection, Space
from mscon.search.index import Index
from mscon.search.show import label_columns


@pytest.fixture(scope="module", params=["space", "index"])
def items(request: pytest.FixtureRequest, run: Run, space: Space) -> Collection:
    return space if request.param == "space" else Index.open(request.getfixturevalue("index"), run)


def passing(items: Collection, where: str | None) -> list[str]:
    """The ids of all that pass, but for the item that is asked for."""
    first = next(iter(items.rows_of(items.ids[:1]).values()))
    rows = find(items, ask_item(items, first), {"character": 1.0}, k=len(items.ids), where=where).rows
    return sorted(each["id"] for each in items.values_of(rows.tolist(), []))


def test_every_choice_lets_its_items_pass_and_no_other(run: Run, space: Space, items: Collection) -> None:
    table = space.catalog.table.with_columns(pl.Series("name", space.ids))[1:]
    found = choices(items, label_columns(run))
    assert "ink" not in found  # a number with a fraction is no class
    assert MISSING in found["style"]
    assert "<img src=x onerror=alert(1)>" in found["style"]
    assert MISSING not in found["character"]
    for column, value in ((column, value) for column, values in found.items() for value in values):
        expected = table.filter(pl.col(column).is_null() if value == MISSING else pl.col(column) == value)
        assert passing(items, condition({column: [value]}, None)) == sorted(expected["name"])


def test_choices_and_a_typed_condition_hold_together(space: Space, items: Collection) -> None:
    table = space.catalog.table.with_columns(pl.Series("name", space.ids))[1:]
    hostile = "'\"><svg onload=alert(3)>"
    where = condition({"character": ["a", "R"], "style": [MISSING, hostile]}, "weight = 'bold' OR weight = 'regular'")
    letters, styles = pl.col("character").is_in(["a", "R"]), pl.col("style").is_null() | (pl.col("style") == hostile)
    assert passing(items, where) == sorted(table.filter(letters & styles)["name"])


def test_nothing_chosen_and_nothing_typed_is_no_condition() -> None:
    for chosen, typed in product(({}, {"a": []}), (None, "", "  ")):
        assert condition(chosen, typed) is None
    assert condition({"a": []}, " b > 2 ") == "b > 2"


def test_a_condition_that_cannot_be_read_is_told_as_it_was_typed(items: Collection) -> None:
    with pytest.raises(UserError, match="wieght"):
        passing(items, condition({}, "wieght = 'bold'"))


def test_classes_that_are_numbers_can_be_chosen_from(space: Space) -> None:
    """Whole ones, gaps among them, are shown as the run calls them."""
    whole = [None if row % 5 == 0 else float(row % 3) for row in range(len(space))]
    halves = [row % 3 / 2 for row in range(len(space))]
    table = space.catalog.table.with_columns(whole=pl.Series(whole), halves=pl.Series(halves))
    items = Space(space.ids, replace(space.catalog, table=table), space.blocks)
    assert choices(items, ["whole", "halves"]) == {}
    found = choices(items, ["whole", "halves"], {"whole": "categorical", "halves": "categorical"})
    assert found == {"whole": [0, 1, 2, MISSING], "halves": [0.0, 0.5, 1.0]}
    assert items.passing(condition({"whole": [1]}, None)).sum() == whole.count(1.0)
    assert items.passing(condition({"halves": [0.5]}, None)).sum() == halves.count(0.5)


def test_what_is_no_number_is_missing_and_infinity_a_class(space: Space) -> None:
    sizes = pl.Series([(1.0, float("nan"), None, float("inf"))[row % 4] for row in range(len(space))])
    label = LabelColumn("size", "categorical", ("1.0", "inf"))
    table = as_learned(space.catalog.table.with_columns(size=sizes), {"size": label})
    items = Space(space.ids, replace(space.catalog, table=table), space.blocks)
    found = choices(items, ["size"], {"size": "categorical"})
    assert found == {"size": [1.0, float("inf"), MISSING]}
    assert items.passing(condition({"size": [MISSING]}, None)).sum() == len(space) // 4 * 2
    assert items.passing(condition({"size": [1.0, MISSING]}, None)).sum() == len(space) // 4 * 3


def test_columns_of_many_values_are_no_list(space: Space) -> None:
    names = [str(row) for row in range(len(space))]
    few = [row % MOST for row in range(len(space))]
    table = space.catalog.table.with_columns(many=pl.Series(names), few=pl.Series(few), flag=pl.Series(few) == 0)
    wide = Space(space.ids, Catalog(table, space.catalog.image, space.catalog.root, "x"), space.blocks)
    found = choices(wide, ["many", "few", "flag", "absent", "image"])
    assert found == {"few": list(range(MOST)), "flag": [False, True]}
    kinds = {"few": "continuous", "many": "categorical", "ink": "categorical"}
    assert choices(wide, ["few", "flag", "ink"], kinds) == {"flag": [False, True]}  # ink has too many values
    asked = ask_item(wide, 0)
    hits = find(wide, asked, {"character": 1.0}, k=999, where=condition({"flag": [True], "few": [0, 1]}, None))
    assert hits.rows.tolist()
    assert {few[row] for row in hits.rows} == {0}

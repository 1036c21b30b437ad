import datetime
import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mscon.data import Catalog
from mscon.data.cells import as_text
from mscon.data.labels import REFERENCE, LabelColumn, infer_kind, read_label
from mscon.errors import UserError
from mscon.recipe import Recipe
from mscon.run import Run


def catalog_of(**columns: object) -> Catalog:
    return Catalog(table=pl.DataFrame(columns), image="image", root="/", source="shoes.csv")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["b", "a", None], "categorical"),
        ([True, False], "categorical"),
        ([datetime.date(2020, 1, 1)], "categorical"),
        (pl.Series(["a", "b"], dtype=pl.Categorical), "categorical"),
        ([1, 2, 1, None, 2], "categorical"),
        (list(range(50)) * 2, "categorical"),
        (list(range(51)) * 2, "continuous"),
        ([1, 2, 3], "continuous"),
        ([1.0, 2.0, 1.0], "continuous"),
        (pl.Series(["1.5"]).cast(pl.Decimal(5, 2)), "continuous"),
        ([["a"], None], "tags"),
        (pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2)), "tags"),
    ],
)
def test_the_kind_follows_from_the_type(values: list | pl.Series, kind: str) -> None:
    assert infer_kind(pl.Series("x", values)) == kind


@pytest.mark.parametrize("values", [[b"x"], [{"a": 1}], [datetime.timedelta(1)]])
def test_bytes_structs_and_durations_are_no_labels(values: list) -> None:
    with pytest.raises(UserError, match=r"column 'x' holds \w+.*, not one text or number per row"):
        infer_kind(pl.Series("x", values))


def test_classes_are_sorted_and_gaps_are_minus_one() -> None:
    values = ["schuh", "élan", "", None, "靴", " \t", "Schuh", "schuh", "a\0b"]
    label = read_label(catalog_of(kind=values), "kind")
    assert label == LabelColumn("kind", "categorical", ("Schuh", "a\0b", "schuh", "élan", "靴"))
    codes = label.encode(pl.Series(values))
    assert codes.dtype == np.int64
    assert codes.tolist() == [2, 3, -1, -1, 4, -1, 0, 2, 1]


def test_a_class_that_was_not_there_is_minus_one() -> None:
    assert LabelColumn("x", "categorical", ("a", "b")).encode(pl.Series(["b", "c", None])).tolist() == [1, -1, -1]
    assert LabelColumn("x", "categorical").encode(pl.Series(["b"])).tolist() == [-1]


@pytest.mark.parametrize(
    "values",
    [
        [7, 12, 7],
        [7.0, 12.0, 7.0],
        ["7", "12", "7"],
        pl.Series([7, 12, 7], dtype=pl.UInt8),
        pl.Series(["7", "12", "7"], dtype=pl.Categorical),
    ],
)
def test_the_same_classes_are_read_from_integers_floats_and_text(values: list | pl.Series) -> None:
    label = read_label(catalog_of(x=values), "x", "categorical")
    assert label.classes == ("12", "7")
    assert label.encode(pl.Series([12.0, None, float("nan"), 7.0])).tolist() == [0, -1, -1, 1]


def test_truth_values_and_dates_are_classes() -> None:
    assert read_label(catalog_of(x=[True, None, False, True]), "x").classes == ("false", "true")
    days = [datetime.date(2020, 1, 2), datetime.date(2020, 1, 1), datetime.date(2020, 1, 1)]
    assert read_label(catalog_of(x=days), "x").classes == ("2020-01-01", "2020-01-02")


def test_numbers_keep_their_values_and_gaps() -> None:
    label = read_label(catalog_of(x=[1.5, None, float("nan"), -2.0]), "x")
    assert label == LabelColumn("x", "continuous")
    numbers = label.encode(pl.Series([1.5, None, float("nan"), -2.0], dtype=pl.Float32))
    assert numbers.dtype == np.float64
    np.testing.assert_array_equal(numbers, [1.5, np.nan, np.nan, -2.0])


def test_numbers_written_as_text_are_read_when_asked() -> None:
    values = ["1.5", " 2 ", "", None, "nan", "1e3"]
    label = read_label(catalog_of(x=values), "x", "continuous")
    np.testing.assert_array_equal(label.encode(pl.Series(values)), [1.5, 2, np.nan, np.nan, np.nan, 1000])


@pytest.mark.parametrize(("value", "shown"), [("n/a", "'n/a'"), ("1e999", "'1e999'"), ("0x10", "'0x10'")])
def test_a_continuous_text_column_names_the_first_row_that_is_no_number(value: str, shown: str) -> None:
    catalog = catalog_of(x=["1", None, value, "tall"])
    with pytest.raises(
        UserError,
        match=rf"column 'x' of shoes\.csv, row 2 \(from 0\): {shown} is no finite number\. Leave the cell empty",
    ):
        read_label(catalog, "x", "continuous")
    with pytest.raises(UserError, match=rf"column 'x', row 0 \(from 0\): {shown} is no finite number"):
        LabelColumn("x", "continuous").encode(pl.Series([value]))


def test_an_infinite_value_is_refused() -> None:
    with pytest.raises(UserError, match=r"row 1 \(from 0\): inf is no finite number"):
        read_label(catalog_of(x=[1.0, float("inf"), 2.0]), "x")


@pytest.mark.parametrize("value", [1e308, -1.1e150])
def test_a_number_whose_square_is_none_is_refused_and_the_largest_other_is_read(value: float) -> None:
    with pytest.raises(
        UserError, match=r"column 'x' of shoes\.csv, row 1 \(from 0\): .* is beyond ±1e\+150, too large"
    ):
        read_label(catalog_of(x=[1.0, value, 2.0]), "x")
    assert read_label(catalog_of(x=[1.0, 1e150, -1e150]), "x").kind == "continuous"


@pytest.mark.parametrize("kind", [None, "categorical", "continuous", "tags"])
def test_a_column_of_structs_is_refused_with_its_file_and_what_to_do(kind: str | None) -> None:
    with pytest.raises(UserError, match=r"column 'x' of shoes\.csv holds Struct.* Name another column, or write what"):
        read_label(catalog_of(x=[{"a": 1}, {"a": 2}]), "x", kind)


def test_dates_are_no_numbers() -> None:
    with pytest.raises(UserError, match=r"column 'x' of shoes\.csv holds Date, not numbers"):
        read_label(catalog_of(x=[datetime.date(2020, 1, 1)]), "x", "continuous")


@pytest.mark.parametrize("kind", ["categorical", "continuous"])
def test_lists_are_no_classes_and_no_numbers(kind: str) -> None:
    with pytest.raises(UserError, match=rf"holds lists, which are read as tags or as a hierarchy, not as {kind}"):
        read_label(catalog_of(x=[["a"], ["b"]]), "x", kind)


TAGGED = [["b", "a"], None, ["a", " b ", "a"], ["c", ""], [], [None, "a"]]
IN_TEXT = ["b, a", None, "a,b,,a", "c,", " ", "a"]


@pytest.mark.parametrize("values", [TAGGED, IN_TEXT, pl.Series(TAGGED, dtype=pl.List(pl.Categorical))])
def test_tags_are_sets_from_lists_and_from_text(values: list | pl.Series) -> None:
    label = read_label(catalog_of(x=values), "x", "tags")
    assert label == LabelColumn("x", "tags", ("a", "b", "c"), ((0,), (0, 1), (2,)), separator=",")
    assert label.encode(pl.Series(values)).tolist() == [1, -1, 1, 2, -1, 0]
    assert label.names(1) == ("a", "b")


def test_tags_may_be_numbers_and_stand_between_any_separator() -> None:
    assert read_label(catalog_of(x=[[7, 12], [7]]), "x").classes == ("12", "7")
    assert read_label(catalog_of(x=["a, b; c", "c"]), "x", "tags", separator=";").classes == ("a, b", "c")


def test_a_set_or_path_that_was_not_there_is_minus_one() -> None:
    tags = read_label(catalog_of(x=TAGGED), "x")
    assert tags.encode(pl.Series([["c", "a"], ["b"], ["b", "a", "new"], ["a"]])).tolist() == [-1, -1, -1, 0]
    path = read_label(catalog_of(x=["A/x", "A/y"]), "x", "hierarchy")
    assert path.encode(pl.Series(["A/x/new", "A", "B", "A/y"])).tolist() == [-1, -1, -1, 1]


NODES = ("A", "A/x", "A/x/1", "B", "B/x")
FOUND = [4, -1, 1, 2, 0, 0, 3]
"""The path of each row below: B/x, none, A/x, A/x/1, A, A and B."""


@pytest.mark.parametrize(
    "values",
    [
        ["B/x", None, " A / x ", "/A/x/1/", "A", "A//1", "B/"],
        [["B", "x"], [], ["A", "x"], ["A", "x", "1"], ["A"], ["A", None, "1"], ["B", " ", "x"]],
    ],
    ids=["text", "lists"],
)
def test_paths_end_at_a_gap(values: list) -> None:
    label = read_label(catalog_of(x=values), "x", "hierarchy")
    assert label.classes == NODES
    assert label.members == ((0,), (0, 1), (0, 1, 2), (3,), (3, 4))
    assert label.encode(pl.Series(values)).tolist() == FOUND


def test_paths_from_several_columns_are_the_same() -> None:
    columns = {
        "kind": ["B", None, "A", "A", "A", "A", "B"],
        "form": ["x", "x", "x", "x", None, "", " "],
        "size": [None, 1, None, 1, None, 1, 1],
    }
    catalog = catalog_of(**columns)
    label = read_label(catalog, "what", columns=list(columns))
    assert (label.kind, label.classes, label.columns) == ("hierarchy", NODES, ("kind", "form", "size"))
    assert label.read(catalog).tolist() == FOUND
    assert label.names(2) == ("A", "A/x", "A/x/1")


def test_a_slash_within_a_name_does_not_part_it() -> None:
    label = read_label(catalog_of(a=["x/y", "x", "x\\", "x"], b=["z", "y/z", "/y/z", "z"]), "p", columns=["a", "b"])
    assert len({label.names(number)[-1] for number in range(len(label.members))}) == 4
    assert label.names(int(label.read(catalog_of(a=["x/y"], b=["z"]))[0])) == ("x\\/y", "x\\/y/z")
    other = read_label(catalog_of(x=["a/b>c", "a>c", "a"]), "x", "hierarchy", separator=">")
    assert other.classes == ("a", "a/c", "a\\/b", "a\\/b/c")


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([["a"], ["b"]], None, "no two of its 2 items have a tag in common"),
        (["A/x", "B/x"], "hierarchy", "no two of its 2 items have the beginning of their paths in common"),
        ([["a", "b"], ["b", "a"], None], None, "is 'a, b' in every row that has a value"),
        (["A/x", "A/x"], "hierarchy", "is 'A/x' in every row that has a value"),
        ([[], None], "tags", "is empty in every row"),
        (["/", None], "hierarchy", "is empty in every row"),
        ([[["a"]], [["b"]]], None, "a list of texts or numbers can be read"),
        ([[b"a"], [b"b"]], "hierarchy", "a list of texts or numbers can be read"),
    ],
)
def test_tags_and_paths_that_tell_nothing_are_refused(values: list, kind: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_label(catalog_of(x=values), "x", kind)


def test_only_a_hierarchy_has_several_columns() -> None:
    with pytest.raises(
        UserError, match=r"'p' names 2 columns: a hierarchy has several, or classes that are joint, not 'tags'"
    ):
        read_label(catalog_of(a=["x"], b=["y"]), "p", "tags", columns=["a", "b"])


@pytest.mark.parametrize("kind", [None, "categorical"])
def test_of_several_columns_each_holds_one_value_a_row(kind: str | None) -> None:
    with pytest.raises(UserError, match=r"column 'b' of shoes\.csv holds List.*, not one text or number per row"):
        read_label(catalog_of(a=["x", "y"], b=[["y"], ["z"]]), "p", kind, columns=["a", "b"])


def test_a_label_may_be_another_columns() -> None:
    catalog = catalog_of(col=["r", "b", "r"])
    label = read_label(catalog, "colour", columns=["col"])
    assert label == LabelColumn("colour", "categorical", ("b", "r"), columns=("col",))
    assert label.read(catalog).tolist() == [1, 0, 1]


@pytest.mark.parametrize("count", [0, 1, 5, REFERENCE, REFERENCE + 1, 3 * REFERENCE + 7])
def test_the_reference_is_thinned_evenly_from_values_that_were_there(count: int) -> None:
    values = np.random.default_rng(count).permutation(np.append(np.arange(count) ** 1.5, [np.nan, np.nan]))
    reference = np.array(LabelColumn("x", "continuous").of_training(values).reference)
    assert len(reference) == min(count, REFERENCE)
    assert np.isin(reference, values).all()
    if count > 1:
        assert (reference[0], reference[-1]) == (0.0, (count - 1) ** 1.5)
        places = np.searchsorted(np.arange(count) ** 1.5, reference)
        assert np.diff(places).min() >= 1
        assert np.diff(places).max() <= np.ceil((count - 1) / (len(reference) - 1))
    risen = np.array(LabelColumn("x", "continuous").of_training(np.cbrt(values) * 3.0 - 1.0).reference)
    np.testing.assert_array_equal(risen, np.cbrt(reference) * 3.0 - 1.0)


def test_numbers_on_a_circle_are_read_in_one_turn_from_every_catalog(tmp_path: Path) -> None:
    catalog = catalog_of(hour=[8.1, 24 * 7 + 8.1, -0.5, None, 24.0])
    label = read_label(catalog, "hour", "continuous", period=24.0)
    assert label == LabelColumn("hour", "continuous", period=24.0)
    np.testing.assert_array_equal(label.read(catalog), [8.1, 8.1, 23.5, np.nan, 0.0])
    np.testing.assert_array_equal(label.encode(pl.Series(["25", "", "-23"])), [1.0, np.nan, 1.0])
    with pytest.raises(UserError, match=r"is 3\.0 in every row that has a value"):
        read_label(catalog_of(hour=[3, 27, 51]), "hour", "continuous", period=24.0)


def test_labels_that_were_written_before_there_were_periods_are_read_as_they_were(tmp_path: Path) -> None:
    label = LabelColumn("n", "continuous").of_training(np.array([1.0, 30.0]))
    Run.create(tmp_path, Recipe.of({"catalog": {"source": "x.csv"}, "similarities": {"n": {}}}), {"n": label})
    described = json.loads((tmp_path / "labels.json").read_text())
    assert described["n"].pop("period") is None
    (tmp_path / "labels.json").write_text(json.dumps(described))
    assert Run.open(tmp_path).labels == {"n": label}


def test_labels_of_every_kind_survive_the_run_folder(tmp_path: Path) -> None:
    catalog = catalog_of(tags=[["ü", "b"], ["b"], None], path=["A/x", "A", ""], a=["r", "s", "r"], b=[1, None, 2])
    labels = {
        "tags": read_label(catalog, "tags"),
        "path": read_label(catalog, "path", "hierarchy"),
        "both": read_label(catalog, "both", columns=["a", "b"]),
        "a": read_label(catalog, "a"),
        "n": LabelColumn("n", "continuous").of_training(np.array([0.1, 1e-300, np.nan, 2 / 3])),
        "hour": LabelColumn("hour", "continuous", period=24.0).of_training(np.array([0.1, 23.9])),
    }
    recipe = Recipe.of({"catalog": {"source": "x.csv"}, "similarities": {"a": {}}})
    Run.create(tmp_path, recipe, labels)
    assert Run.open(tmp_path).labels == labels


@pytest.mark.parametrize("described", [{"kind": "tags"}, {"name": "x", "kind": "tags", "more": 1}])
def test_what_is_no_label_is_refused_as_the_labels_of_a_run(tmp_path: Path, described: dict) -> None:
    Run.create(tmp_path, Recipe.of({"catalog": {"source": "x.csv"}, "similarities": {"a": {}}}), {})
    (tmp_path / "labels.json").write_text(json.dumps({"x": described}))
    with pytest.raises(UserError, match="not the labels of a run"):
        Run.open(tmp_path)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([None, None], None),
        (["", " "], None),
        ([float("nan"), None], None),
        (["", None], "continuous"),
    ],
)
def test_a_column_that_is_all_missing_is_refused(values: list, kind: str | None) -> None:
    with pytest.raises(UserError, match=r"column 'x' of shoes\.csv is empty in every row"):
        read_label(catalog_of(x=values), "x", kind)


@pytest.mark.parametrize(
    ("values", "shown"), [(["red", None, "red"], "'red'"), ([2.5, 2.5, None], r"2\.5"), ([3, 3], "'3'")]
)
def test_a_column_of_one_value_is_refused(values: list, shown: str) -> None:
    with pytest.raises(UserError, match=rf"column 'x' of shoes\.csv is {shown} in every row that has a value"):
        read_label(catalog_of(x=values), "x")


def test_a_column_in_which_no_two_items_are_alike_is_refused() -> None:
    with pytest.raises(UserError, match=r"column 'x' of shoes\.csv has a different value in each of its 2 rows"):
        read_label(catalog_of(x=["a", "b", None]), "x")


def test_unknown_names_are_answered_with_the_nearest() -> None:
    catalog = catalog_of(colour=["r", "b"])
    with pytest.raises(UserError, match=r"shoes\.csv has no column 'color'\. Did you mean 'colour'"):
        read_label(catalog, "color")
    with pytest.raises(UserError, match=r"'categorial' is no kind of label\. Did you mean 'categorical'"):
        read_label(catalog, "colour", "categorial")


# Python and polars disagree on which control characters are white space.
@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=3), max_size=30))
def test_a_code_leads_back_to_the_text_it_was_made_from(values: list[str | None]) -> None:
    text = pl.Series("x", values, dtype=pl.String)
    classes = tuple(sorted({value for value in values if value and value.strip()}))
    codes = LabelColumn("x", "categorical", classes).encode(text)
    assert [classes[code] if code >= 0 else None for code in codes] == as_text(text).to_list()


def test_a_footwear_year_is_a_number_and_a_class_if_asked(footwear: Path) -> None:
    catalog = Catalog.read(footwear)
    assert read_label(catalog, "year").kind == "continuous"
    assert read_label(catalog, "year", "categorical").classes[:2] == ("2007", "2008")
    assert (read_label(catalog, "usage").encode(catalog.column("usage")) == -1).sum() == 1


def test_elements_of_lists_are_written_as_labels_of_one_value_are() -> None:
    lists = [[1.0, 2.0], [math.nan], [None, 2.5], None, [], [2.0]]
    label = read_label(catalog_of(of=pl.Series(lists, dtype=pl.List(pl.Float64))), "of")
    assert label.classes == ("1", "2", "2.5")
    values = label.encode(pl.Series("of", [[2, 1], [2], [1], [None], [1, 2]], dtype=pl.List(pl.Int64)))
    assert [label.text(value) for value in values.tolist()] == ["1, 2", "2", "missing", "missing", "1, 2"]
    floats = label.encode(pl.Series("of", lists)).tolist()
    assert [label.text(value) for value in floats] == ["1, 2", "missing", "2.5", "missing", "missing", "2"]


def test_a_value_that_cannot_be_read_names_the_catalog() -> None:
    label = read_label(catalog_of(x=[1.0, 2.0]), "x", "continuous")
    with pytest.raises(UserError, match=r"^shoes\.csv: column 'x', row 1 \(from 0\): 'tall' is no finite number"):
        label.read(catalog_of(x=["1", "tall"]))

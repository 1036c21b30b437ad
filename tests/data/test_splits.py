import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mscon.data import Catalog
from mscon.data.splits import Split, group_codes, read_split
from mscon.errors import UserError

PARTS = ("train", "val", "test")


def catalog_of(**columns: Any) -> Catalog:
    table = pl.DataFrame(columns)
    return Catalog(table=table, image=table.columns[0], root="/", source="shoes.csv")


def parts_of(split: Split) -> list[np.ndarray]:
    return [split.train, split.val, split.test]


def part_of_each_row(split: Split) -> np.ndarray:
    """0, 1 or 2 for each row; fails where a row is in no part or in two."""
    rows = np.concatenate(parts_of(split))
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(rows)))
    for part in parts_of(split):
        assert part.dtype == np.int64
        np.testing.assert_array_equal(part, np.sort(part))
    where = np.empty(len(rows), np.int64)
    for number, part in enumerate(parts_of(split)):
        where[part] = number
    return where


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list]:
    """Columns of up to 120 rows: groups of any size with gaps, a common stratum and a rare one, a number with gaps."""
    rows = draw(st.integers(3, 120))
    column = lambda values: draw(st.lists(values, min_size=rows, max_size=rows))  # noqa: E731
    return {
        "g": [*column(st.none() | st.integers(0, draw(st.integers(1, 40)))), 97, 98, 99],
        "colour": [*column(st.sampled_from(["red", "blue", None])), "red", "red", "red"],
        "brand": [*column(st.text("abc", max_size=2)), "x", "y", "z"],
        "height": [*column(st.none() | st.floats(-5, 5)), 1.0, 2.0, 3.0],
    }


@given(tables(), st.integers(0, 9), st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.34, 0.33, 0.33)]))
@settings(deadline=None, max_examples=60)
def test_a_made_split_holds_every_row_once_and_no_group_straddles(
    columns: dict[str, list], seed: int, fractions: tuple[float, float, float]
) -> None:
    catalog = catalog_of(**columns)
    stratify = ["colour", "brand", "height"]
    split = read_split(catalog, group="g", stratify=stratify, seed=seed, fractions=fractions)
    where = part_of_each_row(split)
    assert set(where) == {0, 1, 2}
    groups = group_codes(catalog, "g")
    assert groups is not None
    for code in np.unique(groups):
        assert len(np.unique(where[groups == code])) == 1
    again = read_split(catalog, group="g", stratify=stratify, seed=seed, fractions=fractions)
    np.testing.assert_array_equal(where, part_of_each_row(again))


@given(st.lists(st.sampled_from("aaaabbc"), min_size=3, max_size=300), st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_each_stratum_keeps_its_share_to_within_a_row(colours: list[str], seed: int) -> None:
    where = part_of_each_row(read_split(catalog_of(colour=colours), stratify="colour", seed=seed))
    for colour in set(colours):
        rows = np.array(colours) == colour
        if rows.sum() >= 10:
            for part, share in enumerate((0.8, 0.1, 0.1)):
                assert abs((where[rows] == part).sum() - share * rows.sum()) < 1 + 1e-6
            assert set(where[rows]) == {0, 1, 2}


@given(st.lists(st.integers(1, 30), min_size=30, max_size=120), st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_shares_are_met_to_within_the_largest_group(sizes: list[int], seed: int) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    where = part_of_each_row(read_split(catalog_of(group=groups), seed=seed))
    for part, share in enumerate((0.8, 0.1, 0.1)):
        assert abs((where == part).sum() - share * len(groups)) <= max(sizes)


def test_many_rare_strata_do_not_all_go_to_train() -> None:
    catalog = catalog_of(sku=[str(row // 2) for row in range(2000)])
    counts = [len(part) for part in parts_of(read_split(catalog, stratify="sku"))]
    assert counts == [1600, 200, 200]


def test_every_class_of_several_columns_is_in_every_part() -> None:
    rng = np.random.default_rng(0)
    columns = {
        "brand": rng.zipf(1.6, 4000).clip(max=60),
        "colour": rng.integers(0, 12, 4000),
        "kind": rng.integers(0, 5, 4000),
    }
    catalog = catalog_of(**{name: [f"{name}{value}" for value in values] for name, values in columns.items()})
    where = part_of_each_row(read_split(catalog, stratify=list(columns)))
    np.testing.assert_allclose(np.bincount(where), [3200, 400, 400], atol=40)
    for values in columns.values():
        for value in np.unique(values):
            rows = values == value
            if rows.sum() >= 20:
                assert set(where[rows]) == {0, 1, 2}


def test_numbers_are_stratified_by_their_tenths() -> None:
    heights = np.random.default_rng(0).gamma(1, size=1000)
    where = part_of_each_row(read_split(catalog_of(height=heights), stratify="height"))
    tenth = np.argsort(np.argsort(heights)) // 100
    for number in range(10):
        assert np.bincount(where[tenth == number], minlength=3).tolist() == [80, 10, 10]


def test_a_group_of_half_the_rows_goes_to_train_whatever_the_seed() -> None:
    groups = [0] * 100 + list(range(1, 101))
    for seed in range(20):
        where = part_of_each_row(read_split(catalog_of(group=groups), seed=seed))
        assert np.bincount(where).tolist() == [160, 20, 20]
        assert where[0] == 0


def test_large_groups_are_not_kept_from_val_and_test() -> None:
    groups = np.repeat(np.arange(2000), np.tile([1, 1, 1, 5], 500))
    where = part_of_each_row(read_split(catalog_of(group=groups)))
    in_large = np.bincount(groups)[groups] == 5
    for part in range(3):
        assert 0.5 < in_large[where == part].mean() < 0.75


def test_another_seed_gives_another_split() -> None:
    catalog = catalog_of(colour=["r", "b"] * 50)
    first, second = (part_of_each_row(read_split(catalog, stratify="colour", seed=seed)) for seed in (0, 1))
    assert (first != second).any()


@pytest.mark.parametrize("name", ["group", "group_id"])
def test_a_group_column_is_found_by_its_name(name: str) -> None:
    catalog = catalog_of(**{"x": [1, 2, 3, 4], name: ["b", "a", None, "b"]})
    codes = group_codes(catalog)
    assert codes is not None
    assert codes.tolist() == [1, 0, 2, 1]


def test_rows_without_a_group_are_each_alone() -> None:
    codes = group_codes(catalog_of(g=["x", None, "", "x", float("nan") and None]), "g")
    assert codes is not None
    assert codes.tolist() == [0, 1, 2, 0, 3]
    assert group_codes(catalog_of(x=[1, 2])) is None


def test_a_missing_group_or_stratify_column_names_the_nearest() -> None:
    catalog = catalog_of(colour=list("rgb"), mould=[1, 2, 3], split=["train", "val", "test"])
    with pytest.raises(UserError, match=r"shoes\.csv has no column 'mold'\. Did you mean 'mould'"):
        read_split(catalog, group="mold")
    with pytest.raises(UserError, match=r"shoes\.csv has no column 'color'\. Did you mean 'colour'"):
        read_split(catalog, stratify="color")
    with pytest.raises(UserError, match=r"shoes\.csv has no column 'splits'\. Did you mean 'split'"):
        read_split(catalog, column="splits")


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"shoes\.csv can't be divided: 10 rows don't make 3 parts, their groups being 2"
    ):
        read_split(catalog_of(group=["a", "b"] * 5))
    assert [len(part) for part in parts_of(read_split(catalog_of(group=["a", "b", "c"])))] == [1, 1, 1]


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.2), (1.0, 0.0, 0.0), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5)])
def test_fractions_that_are_no_shares_are_refused(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(UserError, match="three positive numbers with sum 1"):
        read_split(catalog_of(x=[1, 2, 3]), fractions=fractions)


def test_a_split_column_is_taken_as_it_is() -> None:
    names = ["Training", "dev", "TEST", " valid ", "train", "Validation", "testing", "val"]
    for split in (read_split(catalog_of(split=names)), read_split(catalog_of(part=names), column="part")):
        assert [part.tolist() for part in parts_of(split)] == [[0, 4], [1, 3, 5, 7], [2, 6]]


def test_a_column_that_is_named_goes_before_the_one_called_split() -> None:
    catalog = catalog_of(split=["train", "val", "test"], mine=["test", "train", "val"])
    assert [part.tolist() for part in parts_of(read_split(catalog, column="mine"))] == [[1], [2], [0]]


def test_split_names_that_are_not_known_are_listed() -> None:
    with pytest.raises(
        UserError, match=r"Column 'split' of shoes\.csv names splits that are not known: 'holdout'\. It holds"
    ):
        read_split(catalog_of(split=["train", "holdout", "test", "holdout"]))
    with pytest.raises(UserError, match=r"not known: '0', '1'|not known: '1', '0'"):
        read_split(catalog_of(split=[0, 1]))


def test_a_row_without_a_split_is_named() -> None:
    with pytest.raises(UserError, match=r"Column 'split' of shoes\.csv is empty in 2 rows, the first of them row 1"):
        read_split(catalog_of(split=["train", None, "test", ""]))


@pytest.mark.parametrize(
    ("names", "lacking", "found"),
    [(["train", "train", "val"], "test", "train 2, val 1"), (["test", "val", "val"], "train", "val 2, test 1")],
)
def test_a_split_without_train_or_test_rows_is_refused_with_its_counts(
    names: list[str], lacking: str, found: str
) -> None:
    with pytest.raises(UserError, match=rf"Column 'split' of shoes\.csv has no {lacking} rows: it holds {found}\."):
        read_split(catalog_of(split=names))


def test_validation_rows_that_are_lacking_are_cut_from_train_in_groups_and_said_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = ["train"] * 90 + ["test"] * 10
    catalog = catalog_of(split=names, group=np.arange(100) // 3, colour=["r", "b"] * 50)
    with caplog.at_level(logging.WARNING):
        split = read_split(catalog, stratify="colour")
    where = part_of_each_row(split)
    assert split.test.tolist() == list(range(90, 100))
    assert abs(len(split.val) - 10) <= 3
    assert all(len(np.unique(where[start : start + 3])) == 1 for start in range(0, 90, 3))
    said = "shoes.csv has no validation rows in column 'split', and its training rows have been cut"
    assert f"{said}: {len(split.train)} train, {len(split.val)} val" in caplog.text


def test_one_training_group_cannot_be_cut() -> None:
    with pytest.raises(
        UserError,
        match="no validation rows in column 'split', and its training rows can't be divided: 2 rows don't make 2 parts",
    ):
        read_split(catalog_of(split=["train", "train", "test"], group=[1, 1, 2]))


def test_the_real_catalogs_bring_their_split_and_their_groups_do_not_straddle(footwear: Path, clothing: Path) -> None:
    for path, counts in ((footwear, [6450, 924, 1846]), (clothing, [3558, 517, 1021])):
        catalog = Catalog.read(path)
        assert [len(part) for part in parts_of(read_split(catalog))] == counts
        fresh = catalog_of(**catalog.table.drop("split").to_dict(as_series=True))
        where = part_of_each_row(read_split(fresh, stratify=["category"]))
        groups = group_codes(catalog)
        assert groups is not None
        assert pl.DataFrame({"g": groups, "w": where}).group_by("g").n_unique()["w"].max() == 1
        np.testing.assert_allclose(np.bincount(where) / len(where), [0.8, 0.1, 0.1], atol=0.01)

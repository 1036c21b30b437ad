"""The catalog of UT-Zappos50K, from a tree laid out as its archives unpack."""

import random
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from mscon.data.originals import zappos50k
from mscon.data.originals.shoes import brand_of, heel_inches, split_parts
from mscon.errors import UserError
from original_trees import edited, jpeg, shoe_rows, zappos_tree


@pytest.mark.parametrize("rows", [37_800, 103, 5, 0])
def test_the_zappos_split_is_the_formula_as_written(rows: int) -> None:
    random.seed(2)
    idx = random.sample(range(rows), rows // 5)
    parts = split_parts(rows)
    half = len(idx) // 2
    assert [row for row in range(rows) if parts[row] == "val"] == sorted(idx[:half])
    assert [row for row in range(rows) if parts[row] == "test"] == sorted(idx[half:])
    if rows == 37_800:
        assert Counter(parts) == {"train": 30_240, "val": 3_780, "test": 3_780}


def test_zappos_keeps_five_closures_and_four_genders_alone_in_the_order_of_the_file(tmp_path: Path) -> None:
    closures = {"Lace up", "Slip-On", "Zipper", "Hook and Loop", "Pull-on"}
    genders = {"Women", "Men", "Girls", "Boys"}
    wanted = [row for row in shoe_rows() if row[5] in closures and row[6] in genders]
    table = zappos50k(zappos_tree(tmp_path)).table
    assert 0 < len(wanted) < len(shoe_rows())
    assert table["id"].to_list() == [row[0] for row in wanted]
    assert table["category"].to_list() == [row[1] for row in wanted]
    assert table["closure"].to_list() == [row[5] for row in wanted]
    assert table["split"].to_list() == split_parts(len(wanted))
    assert table["group_id"].to_list() == [row[0].split("-")[0] for row in wanted]
    assert set(table["brand"]) <= {"Nike", "W.A.G", "Levi's® Kids", "Frye"}
    assert table["toe_style"].null_count() == len(wanted)
    for image, cid in zip(table["image"], table["id"], strict=True):
        assert Path(image).stem == cid.replace("-", ".")


def test_zappos_counts_are_those_of_the_rows(tmp_path: Path) -> None:
    original = zappos50k(zappos_tree(tmp_path))
    counts = {each.what: each.found for each in original.checks}
    table = original.table
    assert counts["rows of meta-data.csv"] == len(shoe_rows())
    assert counts["rows kept"] == table.height
    train = table.filter(pl.col("split") == "train")
    assert counts["train rows, closure Zipper"] == train["closure"].eq("Zipper").sum()
    assert counts["val rows with a brand"] == table.filter(pl.col("split") == "val")["brand"].count()
    assert counts["rows without HeelHeight"] == table["heel_height"].null_count()
    assert counts["brands that are the known 20"] == 2
    assert sum(each.expected for each in original.checks if "closure" in each.what) == 30_240


def test_only_the_20_most_frequent_brands_are_named(tmp_path: Path) -> None:
    rows = [[f"{1000 + n}-1", "Boots", "Ankle", "", "", "Zipper", "Men", "", ""] for n in range(64)]
    zappos_tree(tmp_path, rows, images=False)
    for number, row in enumerate(rows):
        brand = f"b{number % 20}" if number < 60 else f"rare{number}"
        jpeg(tmp_path / "ut-zap50k-images" / "Boots" / "Ankle" / brand / f"{row[0].replace('-', '.')}.jpg", number)
    named = zappos50k(tmp_path).table["brand"].to_list()
    assert named == [f"b{number % 20}" if number < 60 else None for number in range(64)]


@pytest.mark.parametrize(
    ("text", "inches"),
    [
        ("Flat", 0.0),
        ("Under 1in", 0.5),
        ("1in - 1 3/4in", 1.375),
        ("4in - 4 3/4in", 4.375),
        ("4in & over", 4.0),
        ("5in & over", 5.0),
        ("Flat;1in - 1 3/4in", 0.6875),
        ("High heel", None),
        ("High heel;2in - 2 3/4in", 2.375),
    ],
)
def test_heights_of_heels_are_in_inches(text: str, inches: float | None) -> None:
    assert heel_inches(text) == inches


def test_brands_are_written_as_their_owners_do() -> None:
    assert [brand_of(each) for each in ("W.A.G.", "W.A.G%2E", "W.A.G", "Levi's&#174; Kids ", "Nike")] == [
        *("W.A.G", "W.A.G", "W.A.G", "Levi's® Kids", "Nike")
    ]


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (
            1,
            "CID,Category,SubCategory,HeelHeight,Insole,Closure,Sex,Material,ToeStyle",
            r"line 1: .*no column 'Gender'",
        ),
        (3, "100000-1,Shoes,Oxfords,,,Lace up,Women,Suede", r"line 3: 8 cells for 9 columns, none for 'ToeStyle'"),
        (3, "100000-1,Shoe,Oxfords,,,Lace up,Women,,", r"line 3, column 'Category': 'Shoe' .*Did you mean 'Shoes'"),
        (3, "100000-0,Shoes,Oxfords,,,Lace up,Women,,", r"line 3, column 'CID': '100000-0' stands in an earlier row"),
        (3, ",Shoes,Oxfords,,,Lace up,Women,,", r"line 3, column 'CID': None is no id"),
        (
            3,
            "100000-1,Shoes,Oxfords,tall,,Lace up,Women,,",
            r"line 3, column 'HeelHeight': 'tall' is no height such as",
        ),
    ],
)
def test_malformed_rows_of_zappos_are_named(tmp_path: Path, line: int, text: str, message: str) -> None:
    zappos_tree(tmp_path)
    edited(tmp_path / "ut-zap50k-data" / "meta-data.csv", line, text)
    with pytest.raises(UserError, match=rf"meta-data\.csv, {message}"):
        zappos50k(tmp_path)

"""The catalog of Fashion Product Images, from a tree laid out as its archive unpacks."""

import io
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from mscon.data.originals import fashion
from mscon.data.originals.brands import brands
from mscon.data.originals.lightness import lightness_and_fill, read_pixels
from mscon.errors import UserError
from original_trees import edited, fashion_tree, style_rows


def test_names_with_commas_that_are_not_quoted_are_joined(tmp_path: Path) -> None:
    rows = style_rows()
    rows[5] += ", blue, and red"
    table = fashion(fashion_tree(tmp_path / "plain")).table
    other = fashion(fashion_tree(tmp_path / "commas", rows)).table
    assert other["name"][5] == table["name"][5] + ", blue, and red"
    assert other.drop("image", "name").equals(table.drop("image", "name"))


def test_rare_classes_are_other_and_missing_ones_stay_so(tmp_path: Path) -> None:
    rows = style_rows(200)
    rows[:7] = [row.replace(",Summer,", ",Winter,").replace(",2011,", ",,") for row in rows[:7]]
    table = fashion(fashion_tree(tmp_path, rows)).table
    assert table["season"].to_list() == ["other"] * 7 + ["Summer"] * 193
    assert table["year"].to_list() == [None] * 7 + [2011] * 193
    assert [colour is None for colour in table["colour"]] == [number % 3 == 2 for number in range(200)]
    assert set(table["brand"]) == {"red tape", "nike"}


def test_only_takes_one_part_of_fashion(mscon, tmp_path: Path) -> None:
    fashion_tree(tmp_path)
    code, out, _ = mscon("data", "fashion", "--root", ".", "--only", "footwear")
    assert code == 0
    table = pl.read_parquet(tmp_path / "footwear.parquet")
    assert set(table["master_category"]) == {"Footwear"}
    assert table["id"].to_list() == [str(1000 + number) for number in range(120) if number % 3]
    assert "category Casual Shoes" in out


def test_products_with_the_same_file_or_name_are_one_group(tmp_path: Path) -> None:
    rows = style_rows()
    rows[8] = ",".join([*rows[8].split(",")[:-1], rows[4].split(",")[-1].upper()])
    fashion_tree(tmp_path, rows)
    shutil.copy(tmp_path / "images" / "1008.jpg", tmp_path / "images" / "1100.jpg")
    groups = fashion(tmp_path).table["group_id"]
    assert groups[4] == groups[8] == groups[100]
    assert groups.n_unique() == 118


def test_malformed_rows_of_fashion_are_named(tmp_path: Path) -> None:
    for text, message in (
        ("1001,Men,Footwear,Shoes,Heels", r"line 3: 5 cells for 10 columns, none for 'baseColour'"),
        (style_rows()[1].replace("2011", "MMXI"), r"line 3, column 'year': 'MMXI' is no year"),
        (style_rows()[0], r"line 3, column 'id': '1000' stands in an earlier row"),
    ):
        fashion_tree(tmp_path)
        edited(tmp_path / "styles.csv", 3, text)
        with pytest.raises(UserError, match=rf"styles\.csv, {message}"):
            fashion(tmp_path)


def test_damaged_images_are_counted_and_measure_nothing(tmp_path: Path) -> None:
    fashion_tree(tmp_path)
    (tmp_path / "images" / "1003.jpg").write_bytes(b"\xff\xd8\xff")
    original = fashion(tmp_path)
    assert "1 images are damaged: lightness and fill are empty there" in original.notes
    assert original.table["fill"].is_null().arg_true().to_list() == [3]


def test_brands_are_the_longest_beginnings_that_are_frequent() -> None:
    names = (
        ["Red Tape Men Black Shoes"] * 5 + ["Red Chief Men Shoes"] * 2 + ["Nike Air Women Shoes", "Nike Kids' Shoes"]
    )
    found = brands([*names, "U.S. Polo Assn. Men", "Shoes", None, "Women Shoes"], fewest=2)
    assert found[:7] == ["red tape"] * 5 + ["red chief"] * 2
    assert found[7:] == ["nike", "nike", "other", None, None, None]


def test_lightness_is_cie_l_of_what_is_not_white() -> None:
    pixels = np.full((4, 5, 3), 255, np.uint8)
    assert lightness_and_fill(pixels) == (None, 0.0)
    pixels[0, :2] = (119, 119, 119)
    light, fill = lightness_and_fill(pixels)
    assert light == pytest.approx(50.03, abs=0.01)
    assert fill == 0.1
    pixels[0, :2] = (255, 0, 0)
    assert lightness_and_fill(pixels)[0] == pytest.approx(53.24, abs=0.01)
    pixels[:] = 0
    assert lightness_and_fill(pixels) == (0.0, 1.0)


def test_lightness_and_fill_are_those_of_the_footwear_catalog(footwear: Path) -> None:
    """Its pictures are the originals, 60 × 80, padded to squares and compressed once more."""
    table = pl.read_parquet(footwear, columns=["image", "lightness", "fill"]).gather_every(10)
    whole = [read_pixels(data) for data in table["image"]]
    light, fill = np.array([lightness_and_fill(pixels[:, 10:70]) for pixels in whole], dtype=np.float64).T
    for ours, theirs, close in ((light, table["lightness"], 0.2), (fill, table["fill"], 0.002)):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.998
        assert abs((ours - theirs.to_numpy()).mean()) < close
    assert Image.open(io.BytesIO(table["image"][0])).size == (80, 80)

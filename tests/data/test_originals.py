"""Catalogs of well-known sets, made from trees laid out as their archives unpack."""

import io
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from rich.console import Console

from mscon.data import Catalog
from mscon.data.cache import load_pixels
from mscon.data.labels import read_label
from mscon.data.originals import Check, Original, cub200, fashion, medic, zappos50k
from mscon.data.originals.brands import brands
from mscon.data.originals.lightness import lightness_and_fill, read_pixels
from mscon.data.originals.parts import joined
from mscon.data.originals.shoes import ABOUT, brand_of, heel_inches, split_parts
from mscon.data.originals.show import show
from mscon.data.splits import read_split
from mscon.errors import UserError
from original_trees import (
    ATTRIBUTES,
    cub_tree,
    fashion_tree,
    jpeg,
    medic_tree,
    shoe_rows,
    style_rows,
    write_lines,
    zappos_tree,
)

SETS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], Original]]] = {
    "zappos50k": (zappos_tree, zappos50k),
    "medic": (medic_tree, medic),
    "cub200": (cub_tree, cub200),
    "fashion": (fashion_tree, fashion),
}


@pytest.fixture(params=list(SETS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def made(name: str, root: Path) -> Original:
    tree, read = SETS[name]
    return read(tree(root))


def straddling(table: pl.DataFrame, group: str, split: str) -> int:
    known = table.filter(pl.col(group).is_not_null())
    return int((known.group_by(group).agg(pl.col(split).n_unique())[split] > 1).sum())


def edited(path: Path, line: int, text: str | None) -> None:
    """Puts a text in place of a line, numbered from 1; None removes it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[line - 1 : line] = [] if text is None else [text]
    write_lines(path, lines)


# What all sets have in common


def test_a_catalog_is_read_back_with_its_labels_split_and_pixels(name: str, tmp_path: Path) -> None:
    original = made(name, tmp_path / "set")
    catalog = Catalog.read(original.write(tmp_path / "set" / f"{name}.parquet"))
    assert catalog.image == "image"
    assert not Path(catalog.column("image")[0]).is_absolute()
    assert catalog.ids() == original.table["id"].to_list()
    for label in (*original.about.similarities, *original.about.ood):
        if label in catalog.table.columns:
            values = read_label(catalog, label).read(catalog)
            np.testing.assert_array_equal(values >= 0, original.table[label].is_not_null().to_numpy())
    for column in ("split", "split_by_group"):
        split = read_split(catalog, column=column)
        assert min(len(split.train), len(split.val), len(split.test)) > 0
        assert len(split.train) + len(split.val) + len(split.test) == len(catalog)
    pixels = load_pixels(catalog, size=16)
    assert len(pixels.array) == len(catalog)


def test_a_set_that_is_moved_whole_is_still_read(name: str, tmp_path: Path) -> None:
    made(name, tmp_path / "set").write(tmp_path / "set" / "catalog.parquet")
    (tmp_path / "set").rename(tmp_path / "elsewhere")
    catalog = Catalog.read(tmp_path / "elsewhere" / "catalog.parquet")
    assert len(load_pixels(catalog, size=16).array) == len(catalog)


def test_a_catalog_written_elsewhere_names_its_images_in_full(name: str, tmp_path: Path) -> None:
    original = made(name, tmp_path / "set")
    for out, relative in (("other/catalog.parquet", False), ("catalog.parquet", True), ("set/a/c.parquet", False)):
        catalog = Catalog.read(original.write(tmp_path / out))
        assert Path(catalog.column("image")[0]).is_absolute() is not relative
        assert [catalog.image_source(row) for row in range(len(catalog))] == original.table["image"].to_list()
    with pytest.raises(UserError, match=r"catalog\.csv: a catalog is written as Parquet"):
        original.write(tmp_path / "catalog.csv")


def test_the_same_files_give_the_same_catalog_in_any_folder(name: str, tmp_path: Path) -> None:
    one, other = made(name, tmp_path / "one"), made(name, tmp_path / "other" / "deep")
    assert one.table.drop("image").equals(other.table.drop("image"))


def test_group_splits_never_straddle(name: str, tmp_path: Path) -> None:
    table = made(name, tmp_path).table
    groups = {"cub200": ["species"], "medic": ["event", "group_id"]}.get(name, ["group_id"])
    assert {straddling(table, group, "split_by_group") for group in groups} == {0}
    if name == "fashion":
        assert straddling(table, "group_id", "split") == 0


def test_each_missing_piece_is_listed_with_its_place_and_archive(name: str, tmp_path: Path) -> None:
    tree, read = SETS[name]
    about = read(tree(tmp_path / "whole")).about
    for wanted in about.wanted:
        root = tmp_path / wanted.what.replace("/", "-")
        shutil.copytree(tmp_path / "whole", root)
        place = next(root / each for each in wanted.places if (root / each).exists())
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        with pytest.raises(UserError, match=f"{about.name} is not whole under") as caught:
            read(root)
        assert f"{wanted.what} missing" in str(caught.value)
        assert wanted.archive in str(caught.value)


def test_a_few_missing_images_are_left_out_and_named_and_more_refused(tmp_path: Path) -> None:
    fashion_tree(tmp_path, style_rows(200))
    (tmp_path / "images" / "1004.jpg").unlink()
    (tmp_path / "images" / "1100.jpg").unlink()
    original = fashion(tmp_path)
    assert original.table.height == 198
    assert not {"1004", "1100"} & set(original.table["id"])
    assert original.notes[0] == "2 rows are left out: there is no image of 1004, 1100"
    (tmp_path / "images" / "1101.jpg").unlink()
    with pytest.raises(UserError, match=r"3 of 200 rows of fashion have no image below .*images: 1004, 1100, 1101\."):
        fashion(tmp_path)


def test_counts_of_a_part_are_told_as_differing_and_are_no_error(name: str, tmp_path: Path) -> None:
    checks = made(name, tmp_path).checks
    assert not checks[0].same
    assert checks[0].found > 0


def test_counts_that_agree_are_not_told_as_differing() -> None:
    console = Console(file=io.StringIO(), width=100)
    show(Original(ABOUT, pl.DataFrame(), (Check("rows", 1_200, 1_200),), ("[a] note",)), console)
    told = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "1,200" in told
    assert "✓" in told
    assert "note: [a] note" in told
    assert "differ" not in told.lower()


def test_without_three_groups_there_is_no_split_by_group_and_it_is_said(tmp_path: Path) -> None:
    tree = medic_tree(tmp_path)
    for path in tree.glob("*.tsv"):
        path.write_text(re.sub(r"\tevent_\d+\t", "\tflood_2015\t", path.read_text(encoding="utf-8")), encoding="utf-8")
    original = medic(tree)
    assert "split_by_group" not in original.table.columns
    assert any("there is no split_by_group" in note for note in original.notes)


def test_rows_that_are_joined_by_any_column_are_one_group() -> None:
    groups = joined(pl.Series([1, 2, 1, None, None, 3]), pl.Series(["a", "b", "c", "c", None, "d"]))
    assert groups.to_list() == [0, 1, 0, 0, 2, 3]


# The command


def test_the_command_writes_a_catalog_and_says_how_to_go_on(mscon, name: str, tmp_path: Path) -> None:
    SETS[name][0](tmp_path / "set")
    code, out, _ = mscon("data", name, "--root", "set")
    assert code == 0
    assert "✓" in out
    assert "DIFFERS" in out
    assert f"now: mscon train {Path('set') / name}.parquet --similarity" in out
    assert len(Catalog.read(tmp_path / "set" / f"{name}.parquet")) > 0
    code, out, _ = mscon("data", name, "--root", "set", "-o", "new/x.parquet")
    assert code == 0
    assert len(Catalog.read(tmp_path / "new" / "x.parquet")) > 0


def test_the_command_lists_what_is_there_and_ends_with_2_when_images_are_missing(mscon, tmp_path: Path) -> None:
    zappos_tree(tmp_path / "set", images=False)
    (tmp_path / "set" / "ut-zap50k-images.zip").write_bytes(b"PK")
    code, out, err = mscon("data", "zappos50k", "--root", "set")
    assert code == 2
    assert "https://vision.cs.utexas.edu/projects/finegrained/utzap50k/" in out
    assert "non-commercial" in out
    assert "meta-data.csv: ✓" in out
    assert "the folder of images: missing: set/ut-zap50k-images (ut-zap50k-images.zip is there: unpack it)" in out
    assert "zappos50k is not whole under set: the folder of images missing" in err
    assert not list((tmp_path / "set").glob("*.parquet"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["zappos", "--root", "set"], r"there is no set 'zappos'. Did you mean 'zappos50k'? Known: zappos50k, medic"),
        (["fashion", "--root", "set", "--only", "Footware"], "no masterCategory 'Footware'. Did you mean 'Footwear'?"),
        (["cub200", "--root", "set", "--only", "x"], "--only chooses a masterCategory of fashion; cub200 has none"),
        (["fashion"], "--root"),
    ],
)
def test_mistakes_end_with_2(mscon, tmp_path: Path, words: list[str], message: str) -> None:
    fashion_tree(tmp_path / "set")
    code, _, err = mscon("data", *words)
    assert code == 2
    assert message in err.replace("\n", " ")


# Zappos


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
    table = made("zappos50k", tmp_path).table
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
    original = made("zappos50k", tmp_path)
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


# MEDIC


def test_medic_keeps_its_split_and_its_gaps_whatever_the_order_of_columns(tmp_path: Path) -> None:
    original = made("medic", tmp_path)
    table = original.table
    assert Counter(table["split"]) == {"train": 36, "val": 12, "test": 12}
    assert table["damage_severity"].null_count() == 7
    assert table["disaster_types"].null_count() == 6
    path = tmp_path / "MEDIC_dev.tsv"
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    write_lines(path, ["\t".join(reversed(row)) for row in rows])
    assert medic(tmp_path).table.equals(table)


def test_medic_images_of_one_post_are_one_group(tmp_path: Path) -> None:
    table = made("medic", tmp_path).table
    posts = table["id"].str.split("_").list.first()
    assert table["group_id"].n_unique() == posts.n_unique() == 30
    assert pl.DataFrame({"post": posts, "group": table["group_id"]}).n_unique() == 30


def test_medic_is_found_with_its_files_within_data(tmp_path: Path) -> None:
    table = made("medic", tmp_path).table
    for path in list(tmp_path.glob("*.tsv")):
        path.rename(tmp_path / "data" / path.name)
    assert medic(tmp_path).table.equals(table)
    assert medic(tmp_path / "data").table.equals(table)


def test_malformed_rows_of_medic_are_named(tmp_path: Path) -> None:
    medic_tree(tmp_path)
    path = tmp_path / "MEDIC_dev.tsv"
    whole = path.read_text(encoding="utf-8")
    good = whole.splitlines()[2].split("\t")
    for cells, message in (
        ([*good[:3], "mildish", *good[4:]], r"line 3, column 'damage_severity': 'mildish' .*Did you mean 'mild'"),
        ([*good[:2], "", *good[3:]], r"line 3, column 'image_path': None is empty"),
        (good[:6], r"line 3: 6 cells for 7 columns, none for 'disaster_types'"),
    ):
        edited(path, 3, "\t".join(cells))
        with pytest.raises(UserError, match=rf"MEDIC_dev\.tsv, {message}"):
            medic(tmp_path)
        path.write_text(whole, encoding="utf-8")


# CUB-200-2011


def test_cub_cuts_a_tenth_of_each_species_training_images_for_validation(tmp_path: Path) -> None:
    tree = cub_tree(tmp_path, species=3, each=25)
    flags = (tree / "CUB_200_2011" / "train_test_split.txt").read_text(encoding="utf-8").split()[1::2]
    table = cub200(tree).table
    assert [part == "test" for part in table["split"]] == [flag == "0" for flag in flags]
    for _, species in table.group_by("species"):
        counts = Counter(species["split"])
        assert counts["train"] + counts["val"] == 15
        assert 1 <= counts["val"] <= 2
    assert table["species"][0] == "Black footed Bird0"


def test_cub_species_are_apart_in_its_split_by_group(tmp_path: Path) -> None:
    table = made("cub200", cub := tmp_path).table
    parts = table.group_by("species", maintain_order=True).agg(pl.col("split_by_group").unique())
    assert parts["split_by_group"].to_list() == [["train"], ["val"], ["test"], ["test"]]
    assert "group_id" not in cub200(cub).table.columns


def test_cub_attributes_are_those_marked_present_and_seen(tmp_path: Path) -> None:
    tree = cub_tree(tmp_path)
    marks = (tree / "CUB_200_2011" / "attributes" / "image_attribute_labels.txt").read_text(encoding="utf-8")
    table = cub200(tree).table
    for number, row in enumerate(table.iter_rows(named=True), start=1):
        seen: dict[str, list[tuple[int, str]]] = {"bill_shape": [], "wing_color": [], "size": []}
        for image, attribute, present, certainty, _ in map(str.split, marks.splitlines()):
            group, _, value = ATTRIBUTES[int(attribute) - 1].removeprefix("has_").partition("::")
            if (int(image), present) == (number, "1") and int(certainty) > 1:
                seen[group].append((-int(certainty), value))
        for group in ("bill_shape", "size"):
            assert row[group] == (min(seen[group], key=lambda each: each[0])[1] if seen[group] else None)
        assert (row["wing_color"] or []) == [value for _, value in seen["wing_color"]]
    assert table["wing_color"].dtype == pl.List(pl.String)
    assert table["bill_shape"].null_count() > 0


def test_of_several_values_of_a_single_group_the_surest_counts_and_it_is_said(tmp_path: Path) -> None:
    tree = cub_tree(tmp_path)
    path = tree / "CUB_200_2011" / "attributes" / "image_attribute_labels.txt"
    for line, text in ((1, "1 1 1 3 2.5"), (2, "1 2 1 4 2.5 0 0"), (3, "1 3 1 2 0 0.0"), (4, "1 4 1 4")):
        edited(path, line, text)
    original = cub200(tree)
    assert original.table["bill_shape"][0] == "hooked"
    assert original.table["wing_color"][0].to_list() == ["blue", "red"]
    assert any("surest is kept: bill_shape in 1 images" in note for note in original.notes)


def test_cub_takes_attributes_txt_beside_the_folder_or_in_it(tmp_path: Path) -> None:
    tree = cub_tree(tmp_path)
    table = cub200(tree).table
    assert cub200(tree / "CUB_200_2011").table.equals(table)
    (tree / "attributes.txt").rename(tree / "CUB_200_2011" / "attributes.txt")
    assert cub200(tree).table.equals(table)


@pytest.mark.parametrize(
    ("file", "line", "text", "message"),
    [
        ("train_test_split.txt", 2, "2 7", r"line 2, column 'text': '7' is no flag of the split"),
        ("train_test_split.txt", 2, None, r": there is no line for image 2"),
        ("images.txt", 2, "2", r"line 2: '2' is not a number and a text"),
        ("images.txt", 2, "1 x/y.jpg", r"line 2, column 'number': '1' stands in an earlier row"),
        ("image_class_labels.txt", 2, "2 9", r": image 2 is of class 9, which .* does not name"),
        ("image_class_labels.txt", 2, "99 1", r"line 2, column 'number': '99' is no image of images\.txt"),
        (
            "attributes/image_attribute_labels.txt",
            2,
            "1 2 yes 4 1.0",
            r"line 2: '1 2 yes 4 1\.0' is not image, attribute",
        ),
        (
            "attributes/image_attribute_labels.txt",
            2,
            "1 77 1 4 1.0",
            r"line 2: attribute '77' is not in attributes\.txt",
        ),
        ("attributes/image_attribute_labels.txt", 2, "777 1 1 4 1.0", r"line 2: image '777' is not in images\.txt"),
    ],
)
def test_malformed_lines_of_cub_are_named(tmp_path: Path, file: str, line: int, text: str | None, message: str) -> None:
    path = cub_tree(tmp_path) / "CUB_200_2011" / file
    edited(path, line, text)
    with pytest.raises(UserError, match=rf"{path.name},? ?{message}"):
        cub200(tmp_path)


# Fashion Product Images


def test_names_with_commas_that_are_not_quoted_are_joined(tmp_path: Path) -> None:
    rows = style_rows()
    rows[5] += ", blue, and red"
    table = made("fashion", tmp_path / "plain").table
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

"""The catalog of CUB-200-2011, from a tree laid out as its archives unpack."""

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from mscon.data.originals import cub200
from mscon.errors import UserError
from original_trees import ATTRIBUTES, cub_tree, edited


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
    table = cub200(cub_tree(cub := tmp_path)).table
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

"""The catalog of MEDIC, from a tree laid out as its archives unpack."""

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from mscon.data.originals import medic
from mscon.errors import UserError
from original_trees import edited, medic_tree, write_lines


def test_medic_keeps_its_split_and_its_gaps_whatever_the_order_of_columns(tmp_path: Path) -> None:
    original = medic(medic_tree(tmp_path))
    table = original.table
    assert Counter(table["split"]) == {"train": 36, "val": 12, "test": 12}
    assert table["damage_severity"].null_count() == 7
    assert table["disaster_types"].null_count() == 6
    path = tmp_path / "MEDIC_dev.tsv"
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    write_lines(path, ["\t".join(reversed(row)) for row in rows])
    assert medic(tmp_path).table.equals(table)


def test_medic_images_of_one_post_are_one_group(tmp_path: Path) -> None:
    table = medic(medic_tree(tmp_path)).table
    posts = table["id"].str.split("_").list.first()
    assert table["group_id"].n_unique() == posts.n_unique() == 30
    assert pl.DataFrame({"post": posts, "group": table["group_id"]}).n_unique() == 30


def test_medic_is_found_with_its_files_within_data(tmp_path: Path) -> None:
    table = medic(medic_tree(tmp_path)).table
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

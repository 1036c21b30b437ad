"""The items of a run are found again, each in its part, whatever has been done to the catalog's rows."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mscon.data import Catalog
from mscon.data.items import Items
from mscon.data.splits import PARTS, Split, moved_rows
from mscon.errors import UserError


def catalog_of(root: str = "/shoes", **columns: Any) -> Catalog:
    return Catalog(table=pl.DataFrame(columns), image="image", root=root, source="shoes.csv")


def split_of(parts: str) -> Split:
    """A split from the first letters of the parts: `"tvxt"`."""
    return Split(*(np.flatnonzero([each == letter for each in parts]) for letter in "tvx"))


def parts_found(items: Items, catalog: Catalog) -> list[str]:
    """The part of each catalog row, in its order; "" for one that is in none."""
    found = items.find(catalog)
    parts = np.full(len(catalog), "", dtype=object)
    for name in PARTS:
        parts[found.rows[getattr(found.split, name)]] = name
    return parts.tolist()


rows = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(["1", "2", "3", None]), st.sampled_from("tvx")), min_size=1
)


@given(rows, st.integers(0, 5), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=80)
def test_every_item_keeps_its_part_when_rows_move_and_others_come(kept: list, others: int, random: Any) -> None:
    """Also with the same image or id in several rows, as long as what is alike is in one part."""
    part = {}
    kept = [(image, id, part.setdefault((image, id), name)) for image, id, name in kept]
    catalog = catalog_of(image=[each[0] for each in kept], id=pl.Series([each[1] for each in kept], dtype=pl.String))
    items = Items.of(catalog, split_of("".join(each[2] for each in kept)))
    new = [(f"new{number}", f"new{number}", "") for number in range(others)]
    rows = [*kept, *new]
    random.shuffle(rows)
    grown = catalog_of(image=[each[0] for each in rows], id=pl.Series([each[1] for each in rows], dtype=pl.String))
    names = {"t": "train", "v": "val", "x": "test", "": ""}
    assert parts_found(items, grown) == [names[each[2]] for each in rows]
    found = items.find(grown)
    assert (found.new, found.by_id, sum(found.gone.values())) == (others, 0, 0)
    assert grown.take(found.rows).table.equals(catalog.table), "in the order that they had"


def test_an_item_is_its_image_before_it_is_its_id() -> None:
    """Ids that were given out anew, as row numbers are, lead nobody from one part to another."""
    items = Items.of(catalog_of(image=list("abcd"), id=["0", "1", "2", "3"]), split_of("ttvx"))
    renumbered = catalog_of(image=list("zabcd"), id=["0", "1", "2", "3", "4"])
    assert parts_found(items, renumbered) == ["", "train", "train", "val", "test"]


def test_an_image_that_was_moved_or_saved_anew_is_found_by_its_id_if_that_is_the_only_one() -> None:
    items = Items.of(catalog_of(image=list("abcd"), id=["p", "q", "r", "r"]), split_of("txtx"))
    moved = catalog_of(image=["old/a", "old/b", "old/c", "old/d"], id=["p", "q", "r", "r"])
    assert parts_found(items, moved) == ["train", "test", "", ""]
    found = items.find(moved)
    assert (found.by_id, found.new, found.gone) == (2, 2, {"train": 1, "val": 0, "test": 1})
    copied = catalog_of(image=["a", "a"], id=["p", "q"])
    assert parts_found(items, copied) == ["train", ""], "no image that was trained on is tested under another id"


def test_the_folder_that_paths_start_from_does_not_count() -> None:
    items = Items.of(catalog_of("/here", image=["/here/a.png", "b.png"]), split_of("tx"))
    assert parts_found(items, catalog_of("/there", image=["/there/b.png", "a.png"])) == ["test", "train"]


def test_bytes_are_told_from_one_another_alone_or_in_a_struct() -> None:
    images = [b"one", b"two", b"three"]
    items = Items.of(catalog_of(image=images), split_of("tvx"))
    assert parts_found(items, catalog_of(image=images[::-1])) == ["test", "val", "train"]
    structs = [{"bytes": each, "path": f"{number}.png"} for number, each in enumerate(images)]
    assert parts_found(items, catalog_of(image=structs)) == ["train", "val", "test"]


def test_a_catalog_without_any_of_them_is_refused() -> None:
    items = Items.of(catalog_of(image=list("ab")), split_of("tx"))
    with pytest.raises(UserError, match=r"shoes\.csv: none of the run's 2 items is in it.*or start a new run"):
        items.find(catalog_of(image=list("cd")))


def test_they_are_read_as_written_and_nothing_else_is(tmp_path: Path) -> None:
    items = Items.of(catalog_of(image=list("abc"), id=["1", None, "3"]), split_of("xtv"))
    items.write(tmp_path / "split.parquet")
    assert Items.read(tmp_path / "split.parquet").same(items)
    assert not items.same(Items.of(catalog_of(image=list("abc"), id=["1", None, "3"]), split_of("xvt")))
    pl.DataFrame({"id": ["a"], "image": ["b"], "split": ["train"]}).write_parquet(tmp_path / "other.parquet")
    (tmp_path / "torn.parquet").write_bytes((tmp_path / "split.parquet").read_bytes()[:-9])
    for name in ("other.parquet", "torn.parquet", "absent.parquet"):
        with pytest.raises(UserError, match=f"{name}: not the split of a run"):
            Items.read(tmp_path / name)


def test_rows_that_a_column_puts_elsewhere_are_counted() -> None:
    catalog = catalog_of(image=list("abcd"), split=["Train", "train", "dev", "test"], mine=["train", "train", None, ""])
    assert moved_rows(catalog, split_of("ttvx")) == 0
    assert moved_rows(catalog, split_of("xvtt")) == 4
    assert moved_rows(catalog, split_of("ttvx"), "mine") == 2
    assert moved_rows(catalog, split_of("tvvx"), "mine") == 2, "what was cut from train to validate is in its place"
    assert moved_rows(catalog, split_of("ttvx"), "absent") == 0
    assert moved_rows(catalog_of(image=list("ab")), split_of("tx")) == 0

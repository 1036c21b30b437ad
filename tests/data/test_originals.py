"""Catalogs of well-known sets, made from trees laid out as their archives unpack: what all have in common."""

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from mscon.data import Catalog
from mscon.data.cache import load_pixels
from mscon.data.labels import read_label
from mscon.data.originals import Check, Original, cub200, fashion, medic, zappos50k
from mscon.data.originals.parts import joined
from mscon.data.originals.shoes import ABOUT
from mscon.data.originals.show import show
from mscon.data.splits import read_split
from mscon.errors import UserError
from original_trees import cub_tree, fashion_tree, medic_tree, style_rows, zappos_tree

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

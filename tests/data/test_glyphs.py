"""The embedded catalog: what its rows, labels and splits are, and that it is drawn once, alike every time."""

import io
from pathlib import Path

import matplotlib
import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageFont

from mscon.data import glyphs
from mscon.data.glyphs import CHARACTERS, FACES, Face, glyphs_table
from mscon.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("glyphs")


@pytest.fixture(scope="module")
def table(folder: Path) -> pl.DataFrame:
    return glyphs_table(folder)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)), dtype=np.float64)


def test_every_character_is_there_in_every_face_four_times(table: pl.DataFrame):
    assert table.columns == [
        "image", "id", "character", "style", "weight", "slant", "ink", "typeface", "group", "split"
    ]  # fmt: skip
    assert len(table) == 62 * 21 * 4
    assert table["character"].value_counts()["count"].unique().to_list() == [84]
    assert table["id"].is_unique().all()
    assert table["group"].n_unique() == 62 * 21
    assert table.null_count().sum_horizontal().item() == 0


def test_the_labels_are_those_of_the_faces(table: pl.DataFrame):
    faces = table.select(
        pl.col("group").str.split("/").list.first().alias("face"), "style", "weight", "slant", "typeface"
    )
    assert sorted(faces.unique().rows()) == sorted((f.file, f.style, f.weight, f.slant, f.typeface) for f in FACES)


def test_the_splits_share_no_glyph_and_train_has_every_class(table: pl.DataFrame):
    assert table.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    assert dict(table["split"].value_counts().rows()) == {"train": 3720, "val": 744, "test": 744}
    for split in ("train", "val", "test"):
        part = table.filter(split=split)
        for label in ("character", "style", "weight", "slant", "typeface"):
            assert set(part[label]) == set(table[label]), (split, label)


def test_the_images_are_small_and_grey_and_none_is_empty(table: pl.DataFrame):
    for data in table["image"].sample(200, seed=0):
        image = Image.open(io.BytesIO(data))
        assert (image.format, image.mode, image.size) == ("PNG", "L", (32, 32))
    assert table["ink"].min() > 0.01  # type: ignore[operator]
    assert table["image"].n_unique() == len(table)


def test_ink_is_the_share_of_dark_in_the_image(table: pl.DataFrame):
    rows = table.filter(character="B").sample(40, seed=0)
    for data, ink in zip(rows["image"], rows["ink"], strict=True):
        image = pixels(data)
        measured = (image.max() - image.mean()) / (image.max() - image.min())
        assert ink == pytest.approx(measured, rel=0.05)  # thin strokes nowhere reach the darkest grey


def test_the_whole_glyph_is_inside_the_image(table: pl.DataFrame):
    for data, name in zip(table["image"], table["id"], strict=True):
        image = pixels(data)
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert border.min() > image.max() - 0.25 * (image.max() - image.min()), name


def test_bold_has_more_ink_than_regular(table: pl.DataFrame):
    mean = dict(table.filter(typeface="DejaVu Sans").group_by("weight").agg(pl.col("ink").mean()).rows())
    assert mean["bold"] > 1.3 * mean["regular"]


def test_the_renderings_of_a_glyph_differ_but_are_one_glyph(table: pl.DataFrame):
    def unlike(rows: pl.DataFrame) -> float:
        ink = np.stack([(255 - pixels(data)).ravel() for data in rows["image"]])
        return float(1 - np.corrcoef(ink)[np.triu_indices(len(ink), 1)].mean())

    same = unlike(table.filter(group="DejaVuSerif/R"))
    other = unlike(table.filter(pl.col("id").str.ends_with("/0"), typeface="DejaVu Serif", weight="regular"))
    assert 0.02 < same < other


def test_drawing_again_gives_the_same_bytes(folder: Path, table: pl.DataFrame, tmp_path: Path):
    assert glyphs_table(tmp_path).equals(table)
    files = [next(iter(f.glob("*"))) for f in (folder, tmp_path)]
    assert files[0].name == files[1].name
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_catalog_is_drawn_once(folder: Path, table: pl.DataFrame):
    files = list(folder.iterdir())
    before = files[0].stat().st_mtime_ns
    assert glyphs_table(folder).equals(table)
    assert list(folder.iterdir()) == files
    assert files[0].stat().st_mtime_ns == before


def test_the_cache_folder_is_the_default(folder: Path, table: pl.DataFrame, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MSCON_CACHE", str(folder))
    before = list(folder.iterdir())
    assert glyphs_table().equals(table)
    assert list(folder.iterdir()) == before


@pytest.mark.parametrize("file", ["DejaVuSansDisplay", "STIXNonUni", "STIXSizOneSymReg"])
def test_a_symbol_font_has_no_letters(file: str):
    assert not glyphs._has_glyph(glyphs._font(Face(file, "", "")), "A")


def test_every_face_has_every_character():
    for face in FACES:
        font = glyphs._font(face)
        assert all(glyphs._has_glyph(font, character) for character in CHARACTERS), face.file


def test_the_faces_labels_agree_with_what_the_font_files_say_of_themselves():
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for face in FACES:
        family, variant = ImageFont.truetype(fonts / f"{face.file}.ttf", 10).getname()
        assert family is not None
        assert variant is not None
        if not face.file.startswith("cm"):  # Computer Modern's files all call themselves regular
            assert family.startswith(face.typeface)
            assert ("Bold" in variant) == (face.weight == "bold")
            assert ("Oblique" in variant or "Italic" in variant) == (face.slant == "italic")


def test_a_missing_font_file_is_said_with_what_to_do():
    with pytest.raises(UserError, match=r"NoSuchFace\.ttf is missing\. Reinstall matplotlib"):
        glyphs._font(Face("NoSuchFace", "", ""))


def test_a_cache_that_cannot_be_written_is_said_with_what_to_do(tmp_path: Path, table: pl.DataFrame):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be kept in .*file.*Set MSCON_CACHE"):
        glyphs._write(table, tmp_path / "file" / "glyphs.parquet")


def test_a_table_that_cannot_be_kept_leaves_nothing_behind(tmp_path: Path, table: pl.DataFrame):
    in_the_way = tmp_path / "glyphs.parquet"
    in_the_way.mkdir()
    with pytest.raises(UserError, match="cannot be kept"):
        glyphs._write(table, in_the_way)
    assert list(tmp_path.iterdir()) == [in_the_way]

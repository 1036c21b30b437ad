"""A run at hand in code: what goes in comes out the same, whatever kind of image or table it is."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import mscon
from mscon import Catalog
from mscon.embed_catalog import embed_catalog
from mscon.errors import UserError
from mscon.loaded import LoadedRun
from mscon.run import Run
from mscon.search import Space, query_of


@pytest.fixture(scope="module")
def loaded(run: Run) -> LoadedRun:
    return mscon.load(run.folder)


def test_every_kind_of_image_has_the_vector_that_the_command_writes(
    loaded: LoadedRun, run: Run, catalog: Path, tmp_path: Path
) -> None:
    embed_catalog(run, Catalog.read(str(catalog)), tmp_path / "out.parquet")
    written = pl.read_parquet(tmp_path / "out.parquet").filter(pl.col("id").is_in(["sku 3", "sku 4"]))
    paths = [catalog.parent / "3.png", catalog.parent / "4.png"]
    pictures = [Image.open(path) for path in paths]
    arrays = [np.asarray(each) for each in pictures]
    for given in (paths, [str(each) for each in paths], [each.read_bytes() for each in paths], pictures, arrays):
        np.testing.assert_allclose(loaded.embed(given), written["embedding"].to_numpy(), atol=1e-5)
    np.testing.assert_allclose(loaded.embed(np.stack(arrays)), written["embedding"].to_numpy(), atol=1e-5)
    np.testing.assert_allclose(loaded.embed(pictures[0]), written["embedding"].to_numpy()[:1], atol=1e-5)
    z = loaded.embed(paths, similarity="form")
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, written["z_form"].to_numpy(), atol=1e-5)
    assert loaded.embed([]).shape == (0, 96)


def test_modes_of_pictures(loaded: LoadedRun, catalog: Path) -> None:
    grey = Image.open(catalog.parent / "3.png").convert("L")
    as_grey = loaded.embed(grey)
    for same in (grey.convert("RGB"), np.asarray(grey), grey.convert("LA"), np.asarray(grey.convert("RGBA"))):
        np.testing.assert_allclose(loaded.embed(same), as_grey, atol=1e-6)
    turned = grey.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6  # to be shown turned by 90° clockwise
    np.testing.assert_allclose(loaded.embed(turned), as_grey, atol=1e-6)


def test_tables_come_back_with_vectors(loaded: LoadedRun, catalog: Path) -> None:
    pandas = pytest.importorskip("pandas")
    table = pl.read_parquet(catalog).with_columns(image=pl.lit(f"{catalog.parent}/") + pl.col("image"))
    found = loaded.embed(table)
    assert found.columns == [*table.columns, "embedding", "z_colour", "z_form"]
    assert found.select(table.columns).equals(table)
    assert found["embedding"].is_null().to_list() == [row == 7 for row in range(60)]
    np.testing.assert_allclose(
        found["z_form"].drop_nulls().to_numpy(),
        loaded.embed([each for row, each in enumerate(table["image"]) if row != 7], similarity="form"),
        atol=1e-5,
    )
    in_pandas = loaded.embed(table.to_pandas(), similarity="form")
    assert isinstance(in_pandas, pandas.DataFrame)
    assert list(in_pandas.columns) == [*table.columns, "z_form"]
    np.testing.assert_allclose(in_pandas["z_form"][3], found["z_form"].to_numpy()[3], atol=1e-6)


def test_of_a_table_with_several_columns_of_images_the_runs_own_is_embedded(
    loaded: LoadedRun, run: Run, catalog: Path
) -> None:
    front, back = ([(catalog.parent / f"{row}.png").read_bytes() for row in rows] for rows in ((3, 4), (5, 6)))
    settings = run.recipe.catalog.model_copy(update={"image": "back"})
    own = LoadedRun(Run(run.folder, run.recipe.model_copy(update={"catalog": settings}), run.labels))
    found = own.embed(pl.DataFrame({"front": front, "back": back}))
    np.testing.assert_allclose(found["embedding"].to_numpy(), loaded.embed(back), atol=1e-5)


def test_search_gives_what_the_space_finds(loaded: LoadedRun, run: Run, space: Space, catalog: Path) -> None:
    pandas = pytest.importorskip("pandas")
    weights = {"form": 1.0, "colour": -0.5}
    wanted = space.search(query_of(run, space, ["sku 3"]), weights, k=5, where="year < 2015")
    found = loaded.search("sku 3", weights=weights, k=5, where="year < 2015")
    assert isinstance(found, pl.DataFrame)
    assert found.columns == ["id", "score", "cos_shared", "cos_colour", "cos_form", "colour", "form", "year"]
    assert found["id"].to_list() == [space.ids[row] for row in wanted.rows]
    np.testing.assert_allclose(found["score"].to_numpy(), wanted.scores, atol=1e-5)
    picture = Image.open(catalog.parent / "3.png")
    assert loaded.search(picture, k=1)["id"].to_list() == ["sku 3"]
    two = loaded.search([picture, "sku 5", np.asarray(picture)], k=3, frame="pandas")
    assert isinstance(two, pandas.DataFrame)
    assert "sku 5" not in set(two["id"])
    none = loaded.search("sku 3", where="year > 3000")
    assert none.shape == (0, 5)
    assert [each.size for each in loaded.pictures(["sku 3", "sku 5"])] == [(14, 20), (14, 20)]


def test_mistakes_are_explained(loaded: LoadedRun, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    Image.effect_noise((40, 40), 90).save(tmp_path / "whole.jpg")
    cut = Image.open(BytesIO((tmp_path / "whole.jpg").read_bytes()[:500]))
    with pytest.raises(UserError, match=r"the image cannot be read: .*truncated"):
        loaded.search(cut)
    for images, message in (
        ([cut], "image 0: the image cannot be read: .*truncated"),
        ([tmp_path / "text.jpg"], "image 0: no JPEG, PNG, WebP or GIF file"),
        (["nowhere.png"], "image 0: nowhere.png: cannot be read"),
        (np.zeros((4, 4, 3)), r"image 0: an array of float64, \(4, 4, 3\), is no image: give uint8"),
    ):
        with pytest.raises(UserError, match=message):
            loaded.embed(images)
    with pytest.raises(UserError, match=r"no head for 'from'.* Did you mean 'form'"):
        loaded.embed([], similarity="from")
    with pytest.raises(UserError, match="has no item 'sku 99'"):
        loaded.pictures(["sku 3", "sku 99"])
    with pytest.raises(UserError, match="neither an id of"):
        loaded.search("sku 99")
    with pytest.raises(UserError):
        mscon.load(tmp_path)


def test_an_id_may_be_a_whole_number(loaded: LoadedRun) -> None:
    items = replace(loaded.catalog, ids=[str(1000 + row) for row in range(len(loaded.catalog))])
    wanted = loaded.hits(["1003"], among=items).rows.tolist()
    for given in (1003, [1003], np.int64(1003)):
        assert loaded.hits(given, among=items).rows.tolist() == wanted
    with pytest.raises(UserError, match="10: neither an id of"):
        loaded.search(10, among=items)

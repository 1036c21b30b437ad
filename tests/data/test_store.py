"""Catalogs in an object store: moto's server stands for S3."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import polars as pl
import pytest

from mscon.data.cache import fingerprint, load_pixels
from mscon.data.catalog import Catalog
from mscon.data.streamed import StreamedImages
from mscon.interrupt import InterruptedRun
from mscon.recipe import Recipe
from mscon.train import train
from watching import Watching

moto_server = pytest.importorskip("moto.server", reason="moto's server is not installed")
pytest.importorskip("s3fs", reason="s3fs is not installed")


@pytest.fixture
def store(letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a folder of three Parquet files of row groups of 20 images."""
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobody")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    files.makedirs("shop", exist_ok=True)
    table = pl.read_parquet(letters)
    for part in range(3):
        table[part * 40 : (part + 1) * 40].write_parquet(tmp_path / "part.parquet", row_group_size=20)
        files.put(str(tmp_path / "part.parquet"), f"shop/letters/{part}.parquet")
    yield "s3://shop/letters"
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


def test_a_folder_in_a_store_is_the_catalog_of_its_files(store: str, letters: Path, tmp_path: Path) -> None:
    there, here = Catalog.read(store), Catalog.read(letters).take(range(120))
    assert there.table.equals(here.table)
    assert [there.image_bytes(row) for row in (0, 39, 40, 119)] == [here.image_bytes(row) for row in (0, 39, 40, 119)]
    glob = Catalog.read(f"{store}/[02].parquet")
    assert glob.table.equals(here.take([*range(40), *range(80, 120)]).table)
    streamed = StreamedImages(there, 8, "letterbox", open=2)
    np.testing.assert_array_equal(streamed[:], load_pixels(there, size=8, folder=tmp_path / "cache").array)


def test_an_object_that_is_written_anew_has_another_fingerprint(store: str, tmp_path: Path) -> None:
    first = fingerprint(Catalog.read(store), 8, "crop")
    assert fingerprint(Catalog.read(store), 8, "crop") == first
    files = fsspec.filesystem("s3")
    table = pl.read_parquet(tmp_path / "part.parquet")
    table.reverse().write_parquet(tmp_path / "other.parquet", row_group_size=20)
    files.put(str(tmp_path / "other.parquet"), "shop/letters/2.parquet")
    assert fingerprint(Catalog.read(store), 8, "crop") != first


def test_a_training_from_a_store_is_that_from_a_folder_and_is_resumed_in_mid_epoch_to_the_same_bits(
    store: str, letters: Path, tiny: dict, tmp_path: Path
) -> None:
    """Its batches are streamed from the store, row group by row group, without a cache of decoded images."""
    here = tmp_path / "letters"
    here.mkdir()
    table = pl.read_parquet(letters)
    for part in range(3):
        table[part * 40 : (part + 1) * 40].write_parquet(here / f"{part}.parquet", row_group_size=20)
    change = {"image.cache": False, "image.open": 2, "training.epochs": 6, "training.batch_size": 12}
    recipes = [Recipe.of(tiny, change | {"catalog.source": source}) for source in (store, str(here))]
    whole = train(recipes[1], tmp_path / "whole")
    val = [record["step"] for record in whole.metrics() if record["kind"] == "val"]
    assert 10 not in val
    assert val[-1] > 10
    with pytest.raises(InterruptedRun):
        train(recipes[0], tmp_path / "stopped", display=Watching(10))
    resumed = train(recipes[0], tmp_path / "stopped", resume=True)
    assert resumed.model_path.read_bytes() == whole.model_path.read_bytes()

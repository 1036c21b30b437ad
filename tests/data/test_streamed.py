import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from mscon.data.cache import load_pixels
from mscon.data.catalog import Catalog
from mscon.data.stored import Piece, PieceReader
from mscon.data.streamed import StreamedImages

ROWS = 120


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three Parquet files with row groups of 10 images, of which row 33 is none."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    images: list[bytes] = []
    for number in range(ROWS):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(file, "PNG")
        images.append(b"no image" if number == 33 else file.getvalue())
    table = pl.DataFrame({"image": images, "kind": [f"k{number % 5}" for number in range(ROWS)]})
    for part in range(3):
        table[part * 40 : (part + 1) * 40].write_parquet(folder / f"{part}.parquet", row_group_size=10)
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pieces that are read, one after the other."""
    seen: list[int] = []
    read = PieceReader._read

    def noted(reader: PieceReader, piece: Piece) -> object:
        seen.append(reader.pieces.index(piece))
        return read(reader, piece)

    monkeypatch.setattr(PieceReader, "_read", noted)
    return seen


def test_streamed_images_are_those_of_the_cache(shop: Path, tmp_path: Path) -> None:
    catalog = Catalog.read(shop)
    cached = load_pixels(catalog, size=8, folder=tmp_path)
    streamed = StreamedImages(catalog, 8, "letterbox", open=2)
    assert streamed.shape == (ROWS, 8, 8, 3)
    for rows in (slice(None), slice(25, 45), np.array([90, 3, 3, 77]), np.arange(0)):
        kept = np.searchsorted(cached.rows, np.arange(ROWS)[rows])
        readable = np.arange(ROWS)[rows] != 33
        np.testing.assert_array_equal(streamed[rows][readable], cached.array[kept[readable]])
    assert (streamed[33] == 255).all()
    assert streamed.broken == {cached.skipped[0].row: cached.skipped[0].reason}


def test_rows_in_their_order_read_every_row_group_once(shop: Path, opened: list[int]) -> None:
    images = StreamedImages(Catalog.read(shop), 8, "letterbox", open=2)
    for start in range(0, ROWS, 7):
        images[start : start + 7]
    assert opened == list(range(12))


def test_batches_fetched_ahead_are_those_asked_for_in_their_order(shop: Path) -> None:
    images = StreamedImages(Catalog.read(shop), 8, "letterbox", open=2)
    whole = images[:]
    batches = [np.array([5, 99, 33]), np.array([1]), *(np.arange(start, start + 9) for start in range(0, 100, 9))]
    for rows, found in zip(batches, images.fetched(batches), strict=True):
        np.testing.assert_array_equal(found.images, whole[rows])
        np.testing.assert_array_equal(found.unreadable, rows == 33)
    first = next(iter(images.fetched(batches))).with_replacements()
    np.testing.assert_array_equal(first.images, whole[[5, 99, 5]])


def test_no_more_is_fetched_than_the_next_few_batches(shop: Path, opened: list[int]) -> None:
    images = StreamedImages(Catalog.read(shop), 8, "letterbox", open=2)
    fetched = images.fetched(np.arange(start, start + 10) for start in range(0, ROWS, 10))
    next(fetched)
    fetched.close()
    assert set(opened) <= set(range(5))

import io
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import ClassVar

import datasets
import fsspec
import numpy as np
import polars as pl
import pytest
from PIL import Image

from mscon.data import Catalog
from mscon.data.decode import DecodeError
from mscon.errors import UserError


def png(grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (3, 2), grey).save(file, "PNG")
    return file.getvalue()


PHOTOS = [png(grey) for grey in (0, 90, 200)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a/0.png, a/1.png and a/2.png."""
    (tmp_path / "a").mkdir()
    for number, photo in enumerate(PHOTOS):
        (tmp_path / "a" / f"{number}.png").write_bytes(photo)
    return tmp_path


def catalog_of(folder: Path, image: str | None = None, /, **columns: object) -> Catalog:
    pl.DataFrame(columns).write_parquet(folder / "catalog.parquet")
    return Catalog.read(folder / "catalog.parquet", image=image)


def images_of(catalog: Catalog) -> list[bytes]:
    return [catalog.image_bytes(row) for row in range(len(catalog))]


def test_relative_paths_start_from_the_folder_of_the_file(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "catalog.csv").write_text("image,kind\na/0.png,x\na/1.png,\na/2.png,y\n")
    monkeypatch.chdir(photos)
    catalog = Catalog.read("catalog.csv")
    monkeypatch.chdir("/")
    assert images_of(catalog) == PHOTOS
    assert catalog.column("kind").to_list() == ["x", None, "y"]
    assert (catalog.source, catalog.root, catalog.image) == ("catalog.csv", str(photos), "image")


def test_absolute_paths_are_taken_as_they_are(photos: Path) -> None:
    catalog = catalog_of(photos, path=[str(photos / "a" / f"{number}.png") for number in range(3)])
    assert images_of(catalog) == PHOTOS


def test_a_folder_with_metadata_is_a_catalog(photos: Path) -> None:
    (photos / "a" / "metadata.csv").write_text("file_name,kind\n0.png,x\n2.png,y\n")
    assert images_of(Catalog.read(photos / "a")) == [PHOTOS[0], PHOTOS[2]]


def test_bytes_are_images(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, whatever=PHOTOS, kind=["x", "y", "z"])
    assert catalog.image == "whatever"
    assert images_of(catalog) == PHOTOS


def test_a_struct_gives_its_bytes_before_its_path(photos: Path) -> None:
    cells = [{"bytes": PHOTOS[2], "path": "a/0.png"}, {"bytes": None, "path": "a/1.png"}]
    assert images_of(catalog_of(photos, photo=cells)) == [PHOTOS[2], PHOTOS[1]]


def test_addresses_are_fetched_over_the_web(photos: Path, server: str) -> None:
    catalog = catalog_of(photos, url=[f"{server}/a/{number}.png" for number in range(3)])
    assert images_of(catalog) == PHOTOS


def test_relative_paths_of_a_table_on_the_web_start_from_its_address(photos: Path, server: str) -> None:
    catalog_of(photos, image=["a/0.png", "a/1.png"])
    assert images_of(Catalog.read(f"{server}/catalog.parquet")) == PHOTOS[:2]


def test_addresses_of_other_file_systems_are_opened(photos: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/shop/a.png", PHOTOS[0])
    catalog = catalog_of(photos, url=["memory://shop/a.png", f"file://{photos}/a/1.png"])
    assert images_of(catalog) == PHOTOS[:2]


@pytest.mark.parametrize("chained", ["reference://a.png::file:///etc/refs.json", "https://x.org/a.png::memory://b"])
def test_addresses_that_carry_out_what_they_read_are_refused(photos: Path, chained: str) -> None:
    catalog = catalog_of(photos, url=[chained, "memory://shop/a.png"])
    with pytest.raises(DecodeError, match=r"is not fetched: addresses in cells are one of http, https"):
        catalog.image_bytes(0)


class Moody(BaseHTTPRequestHandler):
    """Serves `PHOTOS[0]` at the second time that it is asked for, and breaks off /cut at the first; /gone is never
    there, /slow sends a byte a second.
    """

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        again = self.asked.count(self.path) > 1
        self.send_response({"/gone": 410, "/slow": 200, "/cut": 200}.get(self.path, 200 if again else 503))
        if self.path == "/cut":
            self.send_header("Content-Length", str(len(PHOTOS[0])))
        self.end_headers()
        whole = PHOTOS[0] if again or self.path != "/cut" else PHOTOS[0][:20]
        with suppress(OSError):
            for part in [PHOTOS[0][:1]] * 60 if self.path == "/slow" else [whole]:
                self.wfile.write(part)
                time.sleep(self.path == "/slow")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def moody() -> Iterator[str]:
    Moody.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Moody) as web:
        Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()


def test_a_server_that_fails_once_is_asked_again_and_a_slow_one_left(
    monkeypatch: pytest.MonkeyPatch, photos: Path, moody: str
) -> None:
    monkeypatch.setattr("mscon.data.fetch.PATIENCE", 3)
    catalog = catalog_of(photos, url=[f"{moody}/{name}" for name in ("busy", "cut", "gone", "slow")])
    assert [catalog.image_bytes(row) for row in (0, 1)] == [PHOTOS[0]] * 2
    with pytest.raises(DecodeError, match=r"can't be read: .*410"):
        catalog.image_bytes(2)
    with pytest.raises(DecodeError, match=r"can't be read: .*Timeout"):
        catalog.image_bytes(3)
    assert Moody.asked == ["/busy", "/busy", "/cut", "/cut", "/gone", "/slow"]


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/a.png", "memory://nowhere/a.png"])
def test_what_cannot_be_reached_is_asked_for_once(monkeypatch: pytest.MonkeyPatch, photos: Path, address: str) -> None:
    naps: list[float] = []
    monkeypatch.setattr("mscon.data.fetch.time", SimpleNamespace(sleep=naps.append))
    with pytest.raises(DecodeError, match=r"can't be read: (Client|FileNotFound)"):
        catalog_of(photos, url=[address]).image_bytes(0)
    assert not naps


def test_a_server_that_sends_without_end_is_left(monkeypatch: pytest.MonkeyPatch, photos: Path, server: str) -> None:
    monkeypatch.setattr("mscon.data.fetch.MAX_BYTES", 10)
    fsspec.filesystem("memory").pipe_file("/shop/a.png", PHOTOS[0])
    for address in (f"{server}/a/0.png", "memory://shop/a.png", f"file://{photos}/a/1.png"):
        with pytest.raises(DecodeError, match=r"more than 10\b"):
            catalog_of(photos, url=[address]).image_bytes(0)


def test_a_hugging_face_dataset_gives_its_images(photos: Path) -> None:
    features = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=["x", "y"])})
    paths = [str(photos / "a" / f"{number}.png") for number in range(3)]
    data = datasets.Dataset.from_dict({"picture": paths, "kind": [0, 1, 0]}, features=features)
    assert images_of(Catalog.read(data)) == PHOTOS
    data.save_to_disk(str(photos / "saved"))
    saved = Catalog.read(photos / "saved")
    assert saved.image == "picture"
    assert images_of(saved) == PHOTOS


def test_the_usual_name_goes_before_other_columns_that_fit(photos: Path) -> None:
    places = ["a/0.png", "a/1.png"]
    assert catalog_of(photos, sketch=PHOTOS[:2], Image=places).image == "Image"
    assert catalog_of(photos, file=[1, 2], img_path=places).image == "img_path"
    assert catalog_of(photos, title=["one", "two"], scan=places).image == "scan"


def test_without_a_usual_name_several_image_columns_are_named(photos: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"columns front, back could all hold images\. Name the one to use: --image NAME, in code image='",
    ):
        catalog_of(photos, front=PHOTOS, back=PHOTOS)


def test_without_any_image_column_the_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no column looks like images\. .* Its columns: title, year"):
        catalog_of(tmp_path, title=["one", "two"], year=[1, 2])


def test_an_image_column_of_numbers_is_refused(photos: Path) -> None:
    with pytest.raises(UserError, match=r"Column 'year' of .*catalog\.parquet holds Int64, not images"):
        catalog_of(photos, "year", year=[2007, 2008])
    with pytest.raises(UserError, match=r"Column 'size' of .* holds Struct.*, not images"):
        catalog_of(photos, "size", size=[{"path": "a/0.png", "width": 3}])


@pytest.mark.parametrize("text", ["red shoes", "x" * 5000, "a\0b", "../a"])
def test_an_image_column_of_words_is_refused(photos: Path, text: str) -> None:
    with pytest.raises(
        UserError, match=r"Column 'image' of .* holds no images: .* is no file \(looked for /.*relative paths"
    ):
        catalog_of(photos, image=[text, None, "blue shoes"])


def test_an_image_column_without_images_is_refused(tmp_path: Path) -> None:
    for empty in (pl.Series([None, None]), pl.Series([None, None], dtype=pl.Binary)):
        with pytest.raises(UserError, match=r"Column 'image' of .* is empty in every row"):
            catalog_of(tmp_path, "image", image=empty)


def test_an_unknown_column_names_the_nearest(photos: Path) -> None:
    catalog = catalog_of(photos, img=PHOTOS, colour=["r", "g", "b"])
    with pytest.raises(UserError, match=r"has no column 'color'\. Did you mean 'colour'\? Its columns: img, colour"):
        catalog.column("color")
    with pytest.raises(UserError, match=r"has no column 'imag'\. Did you mean 'img'\?"):
        Catalog.read(photos / "catalog.parquet", image="imag")


def test_ids_come_from_the_usual_column_then_the_path_then_the_row(photos: Path) -> None:
    paths = ["a/0.png", "a/1.png"]
    assert catalog_of(photos, image=paths, image_id=[7, None]).ids() == ["7", "1"]
    assert catalog_of(photos, image=paths, sku=["p", "q"]).ids() == paths
    assert catalog_of(photos, image=paths, sku=["p", "q"]).ids("sku") == ["p", "q"]
    assert catalog_of(
        photos, image=[{"bytes": PHOTOS[0], "path": "x.png"}, {"bytes": PHOTOS[1], "path": None}]
    ).ids() == ["x.png", "1"]
    assert catalog_of(photos, image=[{"bytes": photo} for photo in PHOTOS]).ids() == ["0", "1", "2"]
    assert catalog_of(photos, image=PHOTOS).ids() == ["0", "1", "2"]
    assert catalog_of(photos, image=paths, id=[["x"], []], item_id=["p", "q"]).ids() == ["p", "q"]
    with pytest.raises(UserError, match=r"Column 'tags' of .* holds List\(String\): an id is a text or a number"):
        catalog_of(photos, image=PHOTOS, tags=[["x"], ["y"], []]).ids("tags")


@pytest.mark.parametrize("rows", [[2, 0], np.array([2, 0]), np.array([2, 0], np.int32)])
def test_take_gives_rows_in_the_order_asked(photos: Path, rows: list[int] | np.ndarray) -> None:
    catalog = catalog_of(photos, image=["a/0.png", "a/1.png", "a/2.png"], kind=["x", None, "z"])
    taken = catalog.take(rows)
    assert images_of(taken) == [PHOTOS[2], PHOTOS[0]]
    assert taken.column("kind").to_list() == ["z", "x"]
    assert len(catalog.take([])) == 0


def test_an_image_that_is_not_there_says_why(photos: Path, server: str) -> None:
    os.mkfifo(photos / "pipe.png")
    with (photos / "huge.png").open("wb") as file:
        file.truncate(600_000_001)
    reasons = {
        None: "the image cell is empty",
        "  ": "the image cell is empty",
        "gone.png": rf"there is no file {photos}/gone\.png",
        "a": rf"{photos}/a is no file",
        "pipe.png": r"pipe\.png is no file",
        "huge.png": r"huge\.png has 600000001 bytes: more than",
        "a\0.png": "can't be read",
        "a/0.png/b.png": "can't be read",
        f"file://{photos}/pipe.png": r"pipe\.png is no file",
        f"{server}/gone.png": r"gone\.png can't be read: FileNotFoundError",
        "http://127.0.0.1:1/a.png": r"http://127\.0\.0\.1:1/a\.png can't be read: ClientConnectorError",
        "nosuch://a.png": "nosuch://a.png is not fetched: addresses in cells are one of",
    }
    catalog = catalog_of(photos, image=["a/0.png", *reasons])
    for row, reason in enumerate(reasons.values(), start=1):
        with pytest.raises(DecodeError, match=reason):
            catalog.image_bytes(row)


def test_the_real_catalogs_are_read(footwear: Path, clothing: Path) -> None:
    for path, rows in ((footwear, 9220), (clothing, 5096)):
        catalog = Catalog.read(path)
        assert (len(catalog), catalog.image) == (rows, "image")
        assert catalog.ids() == catalog.column("image_id").to_list()
        assert catalog.image_bytes(rows - 1).startswith(b"\xff\xd8\xff")

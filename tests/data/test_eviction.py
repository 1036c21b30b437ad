import os
import shutil
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from mscon.data.cache import Pixels, load_pixels
from mscon.data.catalog import Catalog
from mscon.data.eviction import make_room
from mscon.errors import UserError

SIDE = 64
BYTES = SIDE * SIDE * 3
"""Of a cache of one image, but for its index."""


@pytest.fixture(autouse=True)
def room_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSCON_CACHE_GB", str(2.5 * BYTES / 1e9))


def cached(folder: Path, grey: int, rows: int = 1) -> Pixels:
    """One more cache, used later than those before it."""
    file = BytesIO()
    Image.new("L", (3, 2), grey).save(file, "PNG")
    catalog = Catalog(pl.DataFrame({"image": [file.getvalue()] * rows}), "image", "/", "greys")
    before = set(folder.glob("*"))
    pixels = load_pixels(catalog, size=SIDE, folder=folder)
    for number, home in enumerate(sorted(folder.iterdir(), key=lambda each: each.stat().st_mtime)):
        if home in before:
            os.utime(home, (number, number))
    return pixels


def test_the_one_that_was_not_used_for_longest_makes_room(tmp_path: Path) -> None:
    cached(tmp_path, 0)
    (first,) = tmp_path.iterdir()
    cached(tmp_path, 1)
    (second,) = {*tmp_path.iterdir()} - {first}
    cached(tmp_path, 0)  # used again
    os.utime(second, (1, 1))
    cached(tmp_path, 2)
    assert first.exists()
    assert not second.exists()


def test_one_that_is_open_is_never_removed(tmp_path: Path) -> None:
    held = [cached(tmp_path, 0), cached(tmp_path, 1)]
    with pytest.raises(UserError, match=r"24,\d+ are in use: wait, raise that by MSCON_CACHE_GB, or do without"):
        cached(tmp_path, 2)
    assert len(list(tmp_path.iterdir())) == 2
    assert held[0].array[0].max() == 255  # its padding
    del held[0]
    cached(tmp_path, 2)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_no_cache_stays_however_long_unused(tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "a.png").write_bytes(bytes(3 * BYTES))
    os.utime(tmp_path / "photographs", (1, 1))
    for grey in range(3):
        cached(tmp_path, grey)
    assert (tmp_path / "photographs" / "a.png").exists()


def test_more_than_all_may_take_is_refused_with_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"need 36,864 bytes.*MSCON_CACHE_GB=1, in gigabytes, .*image\.cache = false"):
        cached(tmp_path, 0, rows=3)
    assert not list(tmp_path.iterdir())


def test_a_build_counts_as_a_whole_and_the_disk_as_it_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = tmp_path / f".{'0' * 32}"
    draft.mkdir()
    with (draft / "pixels.bin").open("wb") as file:
        file.truncate(3 * 10**9)  # none of it is written yet
    disk = shutil.disk_usage(tmp_path)
    for free, limit, told in ((10**12, "1", r"may take 0 together .* MSCON_CACHE_GB=5,"), (4 * 10**9, None, None)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: disk._replace(free=free))
        monkeypatch.delenv("MSCON_CACHE_GB", raising=False)
        if limit:
            monkeypatch.setenv("MSCON_CACHE_GB", limit)
        with pytest.raises(UserError if told else OSError, match=told):
            make_room(tmp_path, 2 * 10**9)


def test_a_setting_that_is_no_number_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSCON_CACHE_GB", "plenty")
    with pytest.raises(UserError, match="MSCON_CACHE_GB='plenty' is no number of gigabytes"):
        cached(tmp_path, 0)

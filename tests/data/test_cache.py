import hashlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from mscon.data import Catalog
from mscon.data.cache import Skipped, load_pixels
from mscon.data.decode import Fit, decode
from mscon.errors import UserError

# Makes a cache in another process: catalog, cache folder, and what to do after each image.
BUILD = """
import sys, time, hashlib, pathlib
from mscon.data import Catalog
from mscon.data.cache import load_pixels
def progress(done, total):
    {progress}
pixels = load_pixels(Catalog.read(sys.argv[1]), size=16, folder=sys.argv[2], progress=progress)
print(hashlib.sha256(pixels.array).hexdigest(), len(pixels.skipped), flush=True)
"""


def photo(number: int, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, form)
    return file.getvalue()


def catalog_of(folder: Path, images: Sequence[bytes | None]) -> Catalog:
    """A catalog of image files 0.png, 1.png, … in a folder; None gives an empty cell."""
    folder.mkdir(exist_ok=True)
    names = [None if image is None else f"{number}.png" for number, image in enumerate(images)]
    for name, image in zip(names, images, strict=True):
        if name is not None and image is not None:
            (folder / name).write_bytes(image)
    pl.DataFrame({"image": names, "id": [f"item {number}" for number in range(len(images))]}).write_parquet(
        folder / "catalog.parquet"
    )
    return Catalog.read(folder / "catalog.parquet")


def build(catalog: Path, cache: Path, progress: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILD.format(progress=progress), str(catalog), str(cache)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def caches(folder: Path) -> list[str]:
    """The names of what can be read; a build under way or abandoned begins with a dot."""
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")] if folder.exists() else []


@pytest.mark.parametrize("fit", ["letterbox", "crop"])
def test_the_cache_holds_what_decode_gives(tmp_path: Path, fit: Fit) -> None:
    photos = [photo(number) for number in range(30)]
    pixels = load_pixels(catalog_of(tmp_path, photos), size=16, fit=fit, folder=tmp_path / "cache")
    np.testing.assert_array_equal(pixels.array, np.stack([decode(each, size=16, fit=fit) for each in photos]))
    np.testing.assert_array_equal(pixels.rows, np.arange(30))
    assert pixels.rows.dtype == np.int64
    assert pixels.skipped == ()


def test_the_array_is_a_read_only_map(tmp_path: Path) -> None:
    array = load_pixels(catalog_of(tmp_path, [photo(0)]), size=8, folder=tmp_path / "cache").array
    assert isinstance(array, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_the_next_run_decodes_nothing(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, [photo(number) for number in range(12)] + [b""] + [photo(13)] * 12)
    seen: list[tuple[int, int]] = []
    first = load_pixels(
        catalog, size=8, folder=tmp_path / "cache", progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(done, 25) for done in range(1, 26)]
    second = load_pixels(
        catalog, size=8, folder=tmp_path / "cache", progress=lambda done, total: seen.append((done, total))
    )
    assert len(seen) == 25
    np.testing.assert_array_equal(first.array, second.array)
    np.testing.assert_array_equal(first.rows, second.rows)
    assert first.skipped == second.skipped == (Skipped(12, "item 12", "the file is empty (0 bytes)"),)


def test_content_and_settings_each_make_a_cache_of_their_own(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    catalog = catalog_of(tmp_path, [photo(0), photo(1)])
    load_pixels(catalog, size=8, folder=cache)
    load_pixels(catalog, size=9, folder=cache)
    load_pixels(catalog, size=8, fit="crop", folder=cache)
    load_pixels(catalog.take([1, 0]), size=8, folder=cache)
    (tmp_path / "1.png").write_bytes(photo(2))
    changed = load_pixels(catalog, size=8, folder=cache)
    np.testing.assert_array_equal(changed.array[1], decode(photo(2), size=8))
    assert len(caches(cache)) == 5
    load_pixels(catalog, size=8, folder=cache)
    assert len(caches(cache)) == 5


def test_bytes_are_known_by_their_content_and_not_by_their_borders(tmp_path: Path) -> None:
    def cached(images: list[bytes]) -> int:
        table = pl.DataFrame({"image": images})
        load_pixels(Catalog(table, "image", "/", "bytes"), size=8, folder=tmp_path, tolerance=0.5)
        return len(caches(tmp_path))

    assert cached([photo(0), photo(1), b"bytes and more"]) == 1
    assert cached([photo(0), photo(1), b"bytes and more"]) == 1
    assert cached([photo(0), photo(1) + b"bytes", b" and more"]) == 2


def test_the_folder_is_the_one_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSCON_CACHE", str(tmp_path / "mine"))
    load_pixels(catalog_of(tmp_path, [photo(0)]), size=8)
    assert len(caches(tmp_path / "mine" / "pixels")) == 1


def test_one_percent_of_broken_images_is_skipped_and_listed(tmp_path: Path) -> None:
    photos: list[bytes | None] = [photo(number) for number in range(300)]
    photos[7], photos[150], photos[299] = None, photo(150, "JPEG")[:200], b"<html>gone</html>"
    pixels = load_pixels(catalog_of(tmp_path, photos), size=8, folder=tmp_path / "cache")
    assert len(pixels.array) == 297
    assert pixels.rows.tolist() == [row for row in range(300) if row not in (7, 150, 299)]
    np.testing.assert_array_equal(pixels.array[-1], decode(photo(298), size=8))
    assert [(skipped.row, skipped.id) for skipped in pixels.skipped] == [
        (7, "item 7"),
        (150, "item 150"),
        (299, "item 299"),
    ]
    empty, truncated, page = (skipped.reason for skipped in pixels.skipped)
    assert empty == "the image cell is empty"
    assert truncated.startswith("damaged or truncated JPEG")
    assert "web page" in page


def test_a_file_that_is_gone_is_skipped_until_it_is_back(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, [photo(number) for number in range(20)])
    (tmp_path / "3.png").rename(tmp_path / "away")
    (skipped,) = load_pixels(catalog, size=8, folder=tmp_path / "cache").skipped
    assert skipped.reason == f"there is no file {tmp_path}/3.png"
    (tmp_path / "away").rename(tmp_path / "3.png")
    assert load_pixels(catalog, size=8, folder=tmp_path / "cache").skipped == ()


def test_twenty_percent_of_broken_images_are_refused_and_the_first_named(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, [photo(number) if number % 5 else b"no image" for number in range(100)])
    named = (
        r"catalog\.parquet: 11 of 51 images read can't be used; 10% of all 100 may be skipped\. "
        r"The first, rows counted from 0:\n"
        r"  row 0 \(item 0\): no JPEG, PNG, WebP or GIF file: it begins with b'no image'\n"
        r"  row 5 \(item 5\)(.*\n){4}Mend these images"
    )
    with pytest.raises(UserError, match=named):
        load_pixels(catalog, size=8, folder=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    assert len(load_pixels(catalog, size=8, folder=tmp_path / "cache", tolerance=0.2).skipped) == 20
    with pytest.raises(UserError, match="20 of 100 images read can't be used; 10% of all 100"):
        load_pixels(catalog, size=8, folder=tmp_path / "cache")


def test_a_catalog_without_any_usable_image_is_refused_whatever_the_tolerance(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, [b"", b""])
    with pytest.raises(UserError, match="2 of 2 images read can't be used"):
        load_pixels(catalog, size=8, folder=tmp_path / "cache", tolerance=1.0)
    with pytest.raises(UserError, match="has no rows left"):
        load_pixels(catalog.take([]), size=8, folder=tmp_path / "cache")


def test_what_pillow_finds_odd_raises_no_warning(tmp_path: Path) -> None:
    odd = io.BytesIO()
    Image.new("RGB", (8, 8)).save(odd, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert load_pixels(catalog_of(tmp_path, [odd.getvalue()]), size=8, folder=tmp_path / "cache").skipped == ()


def test_a_killed_build_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    photos = [photo(number) for number in range(40)]
    catalog, cache = catalog_of(tmp_path, photos), tmp_path / "cache"
    with build(
        tmp_path / "catalog.parquet", cache, "done == 20 and (print('half', flush=True), time.sleep(60))"
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    assert caches(cache) == []
    (left,) = cache.iterdir()
    pixels = load_pixels(catalog, size=16, folder=cache)
    np.testing.assert_array_equal(pixels.array, np.stack([decode(each, size=16) for each in photos]))
    aged(left, 120)
    load_pixels(catalog, size=8, folder=cache)
    assert not left.exists()


def aged(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    for each in (*folder.iterdir(), folder):
        os.utime(each, (then, then))


def test_a_build_that_is_suspended_keeps_its_draft_and_its_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, cache = catalog_of(tmp_path, [photo(number) for number in range(40)]), tmp_path / "cache"
    with build(tmp_path / "catalog.parquet", cache, "done == 20 and (print('half', flush=True), input())") as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "half\n"
        child.send_signal(signal.SIGSTOP)
        try:
            (draft,) = cache.iterdir()
            aged(draft, 25 * 3600)
            monkeypatch.setenv("MSCON_CACHE_GB", str(31_000 / 1e9))
            with pytest.raises(
                UserError, match=r"all caches in .* may take 280 together beside 30,720 that are being built"
            ):
                load_pixels(catalog, size=8, folder=cache)
            monkeypatch.delenv("MSCON_CACHE_GB")
            load_pixels(catalog, size=8, folder=cache)
            assert draft.exists()
        finally:
            child.send_signal(signal.SIGCONT)
        child.communicate("\n", timeout=60)
        assert child.returncode == 0
    assert len(caches(cache)) == len(list(cache.iterdir())) == 2


def test_two_builds_at_once_end_in_one_whole_cache(tmp_path: Path) -> None:
    photos = [photo(number) for number in range(40)]
    catalog, cache = catalog_of(tmp_path, photos), tmp_path / "cache"
    # Each waits at its tenth image for the other to get there.
    meet = f"""
    if done == 10:
        here = pathlib.Path({str(tmp_path)!r})
        (here / f"here-{{__import__('os').getpid()}}").touch()
        while len(list(here.glob("here-*"))) < 2: time.sleep(0.01)"""
    children = [build(tmp_path / "catalog.parquet", cache, meet) for _ in range(2)]
    printed = [child.communicate(timeout=120)[0] for child in children]
    whole = np.stack([decode(each, size=16) for each in photos])
    assert printed == [f"{hashlib.sha256(whole.tobytes()).hexdigest()} 0\n"] * 2
    assert len(list(cache.iterdir())) == len(caches(cache)) == 1
    np.testing.assert_array_equal(load_pixels(catalog, size=16, folder=cache).array, whole)


@pytest.mark.parametrize("file", ["pixels.bin", "index.json", "digests.bin"])
@pytest.mark.parametrize("damage", ["gone", "short", "turned"])
def test_a_cache_that_lost_a_file_or_a_bit_is_made_anew(tmp_path: Path, file: str, damage: str) -> None:
    catalog, cache = catalog_of(tmp_path, [photo(0), photo(1)]), tmp_path / "cache"
    first = np.array(load_pixels(catalog, size=8, folder=cache).array)
    lost = cache / caches(cache)[0] / file
    if damage == "gone":
        lost.unlink()
    elif damage == "turned":
        content = bytearray(lost.read_bytes())
        content[len(content) // 2] ^= 1
        lost.write_bytes(content)
    else:
        os.truncate(lost, lost.stat().st_size // 2)
    np.testing.assert_array_equal(load_pixels(catalog, size=8, folder=cache).array, first)
    assert len(list(cache.iterdir())) == 1


def test_memory_holds_a_few_images_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mscon.data.threads.thread_count", lambda: 2)

    def wait(done: int, total: int) -> None:
        # Time enough for the threads to run far ahead of the file, were they let.
        if done == 1:
            time.sleep(1)

    table = pl.DataFrame({"image": [photo(0)] * 400})
    tracemalloc.start()
    pixels = load_pixels(Catalog(table, "image", "/", "bytes"), size=256, folder=tmp_path, progress=wait)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(pixels.array, np.ndarray)
    assert pixels.array.nbytes == 400 * 256 * 256 * 3
    assert peak < pixels.array.nbytes / 10


def test_too_little_room_is_seen_before_anything_is_decoded(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, [photo(0)] * 2)
    with pytest.raises(
        UserError,
        match=rf"can't be kept in {tmp_path}/cache: No space left on device\. They need 6,144,000,000,000,000 bytes",
    ):
        load_pixels(catalog, size=32_000_000, folder=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_write_that_the_system_refuses_half_way_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, [photo(number) for number in range(10)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(
            UserError, match=rf"can't be kept in {tmp_path}/cache: File too large\. They need 122,880 bytes: make room"
        ):
            load_pixels(catalog, size=64, folder=tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, [photo(0)])
    with pytest.raises(
        UserError, match=rf"can't be kept in {tmp_path}/0\.png/cache: Not a directory\..* let MSCON_CACHE name a folder"
    ):
        load_pixels(catalog, size=8, folder=tmp_path / "0.png" / "cache")


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    catalog = catalog_of(tmp_path, [photo(number) for number in range(20)])
    with pytest.raises(KeyboardInterrupt):
        load_pixels(catalog, size=8, folder=tmp_path / "cache", progress=interrupt)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_index_says_what_was_skipped_in_plain_json(tmp_path: Path) -> None:
    load_pixels(catalog_of(tmp_path, [photo(0)] * 19 + [b""]), size=8, folder=tmp_path / "cache")
    index = json.loads((tmp_path / "cache" / caches(tmp_path / "cache")[0] / "index.json").read_text())
    assert index == {"images": 19, "skipped": [[19, "the file is empty (0 bytes)"]]}


def test_images_behind_addresses_are_cached(tmp_path: Path, server: str) -> None:
    catalog_of(tmp_path, [photo(number) for number in range(12)])
    catalog = Catalog.read(f"{server}/catalog.parquet")
    pixels = load_pixels(catalog, size=8, folder=tmp_path / "cache")
    np.testing.assert_array_equal(pixels.array[11], decode(photo(11), size=8))
    assert pixels.skipped == ()


def test_a_real_catalog_is_cached_whole(footwear: Path, tmp_path: Path) -> None:
    catalog = Catalog.read(footwear).take(range(0, 9220, 20))
    pixels = load_pixels(catalog, size=64, folder=tmp_path)
    assert pixels.array.shape == (461, 64, 64, 3)
    assert pixels.skipped == ()
    np.testing.assert_array_equal(pixels.array[460], decode(catalog.image_bytes(460), size=64))

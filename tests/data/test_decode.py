import io
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import mscon.data.decode as decode_module
from mscon.data.decode import DecodeError, Fit, decode

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
# What a camera does to an upright picture before it writes the orientation that undoes it.
TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def picture(width: int = 60, height: int = 41) -> Image.Image:
    """Four quarters of different colours: no turn or flip leaves it as it was."""
    image = Image.new("RGB", (width, height), (200, 30, 30))
    image.paste((30, 160, 40), (width // 2, 0, width, height // 2))
    image.paste((40, 60, 200), (0, height // 2, width // 2, height))
    image.paste((20, 20, 20), (width // 2, height // 2, width, height))
    return image


def file_of(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header is whole and whose pixels are missing."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 20)[:5]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (chunk, data)
    )


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_picture(form: str) -> None:
    got = decode(file_of(picture(), form), size=32, fit="crop")
    assert got.shape == (32, 32, 3)
    assert got.dtype == np.uint8
    for (row, column), colour in {(6, 6): (200, 30, 30), (6, 26): (30, 160, 40), (26, 6): (40, 60, 200)}.items():
        np.testing.assert_allclose(got[row, column], colour, atol=12)


@pytest.mark.parametrize("fit", ["letterbox", "crop"])
@pytest.mark.parametrize("orientation", TURNED)
def test_every_exif_orientation_is_undone(orientation: int, fit: Fit) -> None:
    turn = TURNED[orientation]
    stored = picture() if turn is None else picture().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = decode(file_of(stored, exif=exif), size=24, fit=fit)
    # Pillow rounds once between its two passes, so that turning before or after the resize can differ by one.
    np.testing.assert_allclose(got, decode(file_of(picture()), size=24, fit=fit), atol=1)


def test_a_large_rotated_jpeg_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = picture(1200, 900).transpose(Image.Transpose.ROTATE_90)
    got = decode(file_of(stored, "JPEG", exif=exif, quality=95), size=32)
    np.testing.assert_allclose(got, decode(file_of(picture(1200, 900)), size=32), atol=16)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_lose_the_photograph() -> None:
    data = file_of(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(data, size=8).shape == (8, 8, 3)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    grey = Image.new("L", (9, 9), 255)
    grey.paste(0, (0, 0, 9, 4))
    form = "JPEG" if mode == "CMYK" else "PNG"
    got = decode(file_of(grey.convert("RGB").convert(mode), form), size=9)
    np.testing.assert_allclose(got[1], 0, atol=4)
    np.testing.assert_allclose(got[7], 255, atol=4)


def test_alpha_lies_on_white() -> None:
    layer = Image.new("RGBA", (6, 6), (255, 0, 0, 0))
    layer.paste((0, 0, 0, 128), (0, 0, 6, 3))
    for form in ("PNG", "WEBP"):
        got = decode(file_of(layer, form, **({"lossless": True} if form == "WEBP" else {})), size=6)
        np.testing.assert_allclose(got[0], 127, atol=1)
        np.testing.assert_array_equal(got[5], 255)


def test_transparent_colours_of_palette_grey_and_rgb_become_white() -> None:
    black_and_red = Image.new("P", (4, 4), 1)
    black_and_red.putpalette([0, 0, 0, 255, 0, 0])
    black_and_red.paste(0, (0, 0, 4, 2))
    grey = Image.new("L", (4, 4), 90)
    grey.paste(17, (0, 0, 4, 2))
    for image, transparent in (
        (black_and_red, 0),
        (black_and_red, b"\x00\xff"),
        (grey, 17),
        (grey.convert("RGB"), (17, 17, 17)),
    ):
        got = decode(file_of(image, transparency=transparent), size=4)
        np.testing.assert_array_equal(got[0], 255)
        assert got[3].min() < 255
    np.testing.assert_array_equal(decode(file_of(black_and_red, "GIF", transparency=0), size=4)[0], 255)


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    values = np.linspace(0, 65535, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    got = decode(file_of(Image.fromarray(values)), size=64)
    np.testing.assert_array_equal(got[..., 0], np.rint(values / 257).astype(np.uint8))
    np.testing.assert_array_equal(got[..., 0], got[..., 2])


def test_the_transparent_grey_of_sixteen_bits_becomes_white() -> None:
    values = np.full((4, 4), 1000, np.uint16)
    values[2:] = 1001
    got = decode(file_of(Image.fromarray(values), transparency=1000), size=4)
    np.testing.assert_array_equal(got[:2], 255)
    np.testing.assert_array_equal(got[2:], 4)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    data = file_of(frames[0], form, save_all=True, append_images=frames[1:], duration=100)
    np.testing.assert_allclose(decode(data, size=8), np.broadcast_to([255, 0, 0], (8, 8, 3)), atol=8)


def test_letterbox_keeps_the_whole_image_and_pads_both_ends_with_white() -> None:
    got = decode(file_of(Image.new("RGB", (80, 40), "black")), size=16)
    np.testing.assert_array_equal(got[:4], 255)
    np.testing.assert_array_equal(got[4:12], 0)
    np.testing.assert_array_equal(got[12:], 255)


def test_crop_takes_the_largest_square_in_the_middle() -> None:
    wide = Image.new("RGB", (80, 40), "red")
    wide.paste("blue", (20, 0, 60, 40))
    got = decode(file_of(wide), size=16, fit="crop")
    np.testing.assert_array_equal(got[:, 1:-1], np.broadcast_to([0, 0, 255], (16, 14, 3)))
    np.testing.assert_allclose(got[:, [0, -1]], np.broadcast_to([0, 0, 255], (16, 2, 3)), atol=30)


@pytest.mark.parametrize("fit", ["letterbox", "crop"])
def test_one_pixel_and_one_line_are_images(fit: Fit) -> None:
    np.testing.assert_array_equal(
        decode(file_of(Image.new("RGB", (1, 1), (9, 8, 7))), size=5, fit=fit)[2, 2], [9, 8, 7]
    )
    line = decode(file_of(Image.new("L", (1, 3000), 0)), size=5, fit=fit)
    np.testing.assert_array_equal(line[:, 2], 0)


def test_the_resize_is_antialiased() -> None:
    board = np.indices((256, 256)).sum(axis=0) % 2 * 255
    got = decode(file_of(Image.fromarray(board.astype(np.uint8))), size=16)
    np.testing.assert_allclose(got, 127, atol=3)


def test_a_jpeg_reduced_while_decoding_equals_one_decoded_in_full() -> None:
    rows, columns = np.mgrid[0:1101, 0:1403]
    waves = np.stack([np.sin(rows / 60), np.sin(columns / 45), np.sin((rows + columns) / 80)], axis=-1)
    image = Image.fromarray((127 + 120 * waves).astype(np.uint8))
    data = file_of(image, "JPEG", quality=95)
    whole = Image.open(io.BytesIO(data)).resize((64, 50), Image.Resampling.BICUBIC)
    error = decode(data, size=64)[7:57].astype(float) - np.asarray(whole)
    assert np.sqrt((error**2).mean()) < 1


def test_an_empty_file_is_named_as_one() -> None:
    with pytest.raises(DecodeError, match="empty"):
        decode(b"", size=8)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_a_truncated_file_is_refused(form: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = file_of(Image.fromarray(noise), form)
    with pytest.raises(DecodeError, match=f"damaged or truncated {form}"):
        decode(data[: max(14, int(len(data) * share))], size=8)


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><html>", b"\n  <html>", b"\xef\xbb\xbf<?xml version='1.0'?><Error/>"]
)
def test_a_web_page_is_named_as_one(page: bytes) -> None:
    with pytest.raises(DecodeError, match="web page"):
        decode(page, size=8)


def test_another_format_is_refused_with_its_first_bytes() -> None:
    with pytest.raises(DecodeError, match=r"no JPEG, PNG, WebP or GIF file: it begins with b'%PDF-1.7'"):
        decode(b"%PDF-1.7 and so on", size=8)


def test_a_header_of_900_megapixels_is_refused_before_decoding() -> None:
    with pytest.raises(DecodeError, match="30000 × 30000 pixels: more than 100 megapixels"):
        decode(png_header(30_000, 30_000), size=8)


def test_a_side_of_a_million_pixels_is_refused_before_decoding() -> None:
    with pytest.raises(DecodeError, match="1000000 × 7 pixels"):
        decode(png_header(1_000_000, 7), size=8)


def many_scans(more: int) -> bytes:
    """A progressive JPEG of 1 megapixel with so many scans more that change nothing, a dozen bytes each."""
    data = file_of(Image.new("RGB", (1000, 1000), (90, 90, 90)), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * more + data[-2:]


def test_a_jpeg_of_many_scans_is_refused_before_decoding() -> None:
    assert decode(many_scans(20), size=8).mean() == pytest.approx(90, abs=1)
    with pytest.raises(DecodeError, match=r"a JPEG of 3,0\d\d scans"):
        decode(many_scans(3000), size=8)


@pytest.mark.parametrize("alone", [b"\xff\x01", b"\xff\x01\xff\xff"])
def test_scans_behind_a_marker_without_a_length_are_counted(alone: bytes) -> None:
    data = many_scans(3000)
    second = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    with pytest.raises(DecodeError, match=r"a JPEG of 3,0\d\d scans"):
        decode(data[:second] + alone + data[second:], size=8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_without_pixels_is_refused(kind: str) -> None:
    data = bytearray(file_of(Image.new("RGB", (20, 30)), kind))
    if kind == "PNG":
        data = bytearray(png_header(0, 30))
    else:
        height = data.index(b"\xff\xc0") + 5
        data[height : height + 2] = bytes(2)
    with pytest.raises(DecodeError):
        decode(bytes(data), size=8)


def test_what_looks_like_scans_in_metadata_and_after_the_end_is_none() -> None:
    data = file_of(Image.new("RGB", (1000, 1000), (90, 90, 90)), "JPEG", comment=b"\xff\xda" * 3000)
    assert decode(data + b"\xff\xda" * 3000, size=8).mean() == pytest.approx(90, abs=1)


def test_images_of_many_megapixels_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    most, now, lock = 0, 0, Lock()
    resize = decode_module._resize

    def counted(image: Image.Image, *rest: Any) -> Image.Image:
        nonlocal most, now
        with lock:
            now += image.width * image.height
            most = max(most, now)
        time.sleep(0.02)
        small = resize(image, *rest)
        with lock:
            now -= image.width * image.height
        return small

    monkeypatch.setattr(decode_module, "_resize", counted)
    monkeypatch.setattr(decode_module, "MAX_AT_ONCE", 250_000)
    files = [file_of(picture(side, 200)) for side in (500, 500, 500, 2000, 500, 500)]
    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(partial(decode, size=16), files))
    assert [each.shape for each in got] == [(16, 16, 3)] * 6
    assert most == 2000 * 200, "the largest waited for all others, and then they for it"


def test_below_the_limit_pillow_does_not_warn_of_a_bomb() -> None:
    with pytest.raises(DecodeError, match=r"truncated PNG file: (?!.*bomb)"):
        decode(png_header(9_700, 9_700), size=8)


@given(st.sampled_from(FORMATS), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8))
@settings(max_examples=200, deadline=None)
def test_damaged_bytes_give_an_image_or_a_reason(form: str, damage: list[tuple[int, int]]) -> None:
    data = bytearray(file_of(picture(24, 16), form))
    for place, value in damage:
        data[place % len(data)] = value
    with suppress(DecodeError):
        assert decode(bytes(data), size=8).shape == (8, 8, 3)

"""The bytes of one image file to one upright RGB square."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

Fit = Literal["letterbox", "crop"]

MAX_PIXELS = 100_000_000
# The longest side that a JPEG can have. A strip of millions × 7 pixels keeps libwebp busy for half a minute.
MAX_SIDE = 65_535
EXIF_ORIENTATION = 0x0112
# libjpeg can halve an image while it decodes. Keeping three times the wanted side before the antialiased resize takes a
# third to a tenth of the time of decoding in full, and differs from it by a PSNR of 52 dB or better (2 megapixels to 32
# … 224 pixels).
DRAFT = 3

# Opening by plugin and not by `Image.open` keeps every other format's parser away from a stranger's bytes, and leaves
# the size check to this file: `Image.open` warns of large images on its own terms. A multi-picture JPEG is its first
# picture.
READERS = (
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (b"GIF8", GifImagePlugin.GifImageFile),
)

# A progressive JPEG visits its pixels once for each scan, and a scan that changes nothing takes a dozen bytes. Usual
# are ten; with twice as many the largest image takes some seconds.
MAX_SCANNED = 20 * MAX_PIXELS
SCAN = b"\xff\xda"
# In compressed data 0xFF is followed by 0, by a restart's number or by itself; 0xFF01 stands alone; all else begins a
# segment that tells its length.
SEGMENT = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")

# Pixels of all images that are decoded at one time, by however many threads. One takes up to 16 bytes.
MAX_AT_ONCE = 128_000_000

# What undoes each EXIF orientation; 1 is upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class DecodeError(Exception):
    """Why one image cannot be used, in plain words; the image is skipped and the others go on."""


def decode(data: bytes, *, size: int, fit: Fit = "letterbox") -> UInt8[np.ndarray, "{size} {size} 3"]:
    """One JPEG, PNG, WebP or GIF file as a square of RGB pixels, upright, without alpha.

    EXIF rotation is undone; transparency lies on white; grey, palette and CMYK become RGB; 16-bit samples are scaled to
    8; of an animation the first frame counts. The resize is bicubic with antialias; small images are enlarged. Threads
    that decode at one time wait for each other where their images come to more than 128 megapixels.

    **Arguments:**

    - `data`: the whole file.
    - `size`: side of the square in pixels.
    - `fit`: `"letterbox"` keeps the whole image and pads its short side with white at both ends; `"crop"` takes the
      largest square in the middle.

    **Returns:**

    Pixels from 0 to 255 as (row, column, channel).

    **Raises:**

    - `DecodeError`: the bytes are empty, truncated, damaged or of another format; or the header tells of more than 100
      megapixels or of a side above 65,535, or a JPEG has more scans than such a size could be decoded with in seconds,
      and then nothing is decoded.
    """
    image = _open(data)
    _check_cost(image, data)
    try:
        small = _small(image, size, fit)
    except MemoryError:  # which says nothing of the image
        raise
    # Pillow's decoders raise errors of many kinds on damaged bytes, and not all of them are documented.
    except Exception as error:
        raise DecodeError(f"damaged or truncated {image.format} file: {error}") from error
    if (turn := _turn(image)) is not None:
        small = small.transpose(turn)
    if small.size != (size, size):
        canvas = Image.new("RGB", (size, size), "white")
        canvas.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
        small = canvas
    return np.array(small)


def _open(data: bytes) -> Image.Image:
    if not data:
        raise DecodeError("the file is empty (0 bytes)")
    for magic, reader in READERS:
        if data.startswith(magic):
            try:
                return reader(io.BytesIO(data))
            # As above: a damaged header raises anything from SyntaxError to struct.error.
            except Exception as error:
                raise DecodeError(f"damaged or truncated {reader.format} header: {error}") from error
    if data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise DecodeError("no image but a web page or XML: an address may have answered with an error page")
    raise DecodeError(f"no JPEG, PNG, WebP or GIF file: it begins with {data[:8]!r}")


def _check_cost(image: Image.Image, data: bytes) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise DecodeError(
            f"its header says {width} × {height} pixels: more than {MAX_PIXELS // 10**6} megapixels, or {MAX_SIDE} "
            "along a side, are not decoded"
        )
    most = MAX_SCANNED // max(width * height, 1)
    # Counting bytes is quick, but finds some in metadata and in what follows a picture, too.
    if image.format != "JPEG" or data.count(SCAN) <= most:
        return
    if (scans := _scans(data)) > most:
        raise DecodeError(f"it is a JPEG of {scans:,} scans, each of which takes as long as a picture: not decoded")


def _scans(data: bytes) -> int:
    """How many a JPEG has up to its end."""
    place, found = 2, 0
    while (segment := SEGMENT.search(data, place)) and segment[0] != b"\xff\xd9":
        found += segment[0] == SCAN
        start = segment.end()
        place = start + int.from_bytes(data[start : start + 2], "big")
    return found


_at_once = Condition()
_pixels_at_once = 0


@contextmanager
def _among_others(pixels: int) -> Iterator[None]:
    """Wait until the images that are decoded come, with this one, to no more than they may. One alone always may."""
    global _pixels_at_once
    with _at_once:
        _at_once.wait_for(lambda: not _pixels_at_once or _pixels_at_once + pixels <= MAX_AT_ONCE)
        _pixels_at_once += pixels
    try:
        yield
    finally:
        with _at_once:
            _pixels_at_once -= pixels
            _at_once.notify_all()


def _small(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    whole = image.width * image.height
    drafted = image.draft(None, (DRAFT * size, DRAFT * size))
    # Of a progressive JPEG all coefficients are held, however small it is drafted.
    with _among_others(whole if image.info.get("progressive") else image.width * image.height):
        image.load()
        # The edge of a drafted JPEG may lie inside its last pixel, so its extent is a fraction.
        width, height = drafted[1][2:] if drafted else image.size
        return _resize(_on_white(image), float(width), float(height), size, fit)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits scaled by 255/65535 and rounded, where Pillow's own conversion would clip at 255."""
    samples = np.asarray(image)
    grey = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if (transparent := image.info.get("transparency")) is not None:
        grey[samples == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _resize(image: Image.Image, width: float, height: float, size: int, fit: Fit) -> Image.Image:
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    scale = size / max(width, height)
    # A line of 1 × 30,000 pixels stays one pixel wide.
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    return image.resize(target, Image.Resampling.BICUBIC, box=(0, 0, width, height))


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return UPRIGHT.get(image.getexif().get(EXIF_ORIENTATION, 1))
    # Damaged EXIF, which cameras and editors do write, is no reason to lose the photograph.
    except Exception:
        return None

"""The bytes of one image file to one upright RGB square."""

import io
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
    8; of an animation the first frame counts. The resize is bicubic with antialias; small images are enlarged.

    **Arguments:**

    - `data`: the whole file.
    - `size`: side of the square in pixels.
    - `fit`: `"letterbox"` keeps the whole image and pads its short side with white at both ends; `"crop"` takes the
      largest square in the middle.

    **Returns:**

    Pixels from 0 to 255 as (row, column, channel).

    **Raises:**

    - `DecodeError`: the bytes are empty, truncated, damaged or of another format; or the header tells of more than 100
      megapixels or of a side above 65,535, and then nothing is decoded.
    """
    image = _open(data)
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise DecodeError(
            f"its header says {width} × {height} pixels: more than {MAX_PIXELS // 10**6} megapixels, or {MAX_SIDE} "
            "along a side, are not decoded"
        )
    try:
        drafted = image.draft(None, (DRAFT * size, DRAFT * size))
        image.load()
        full = _on_white(image)
    except MemoryError:  # which says nothing of the image
        raise
    # Pillow's decoders raise errors of many kinds on damaged bytes, and not all of them are documented.
    except Exception as error:
        raise DecodeError(f"damaged or truncated {image.format} file: {error}") from error
    # The edge of a drafted JPEG may lie inside its last pixel, so its extent is a fraction.
    width, height = drafted[1][2:] if drafted else image.size
    small = _resize(full, float(width), float(height), size, fit)
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

"""How light a product on a white ground is, and how much of its image it fills."""

from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image

WHITE = 240
"""A pixel whose three channels are less than this on average is the product's, others are ground. Nearer to 255 the
noise of JPEG on white counts as product."""


def lightness_and_fill(pixels: UInt8[np.ndarray, "height width 3"]) -> tuple[float | None, float]:
    """Mean CIE L* (0 black … 100 white, D65) of the pixels that are not white, and their share of all.

    Not white: (R + G + B) / 3 < 240. L* = 116 f(Y) − 16 with Y from linear sRGB. Of an image that is white all over
    the lightness is None and the fill 0.
    """
    product = pixels[pixels.sum(axis=2, dtype=np.int64) < 3 * WHITE]
    fill = len(product) / (pixels.shape[0] * pixels.shape[1])
    if len(product) == 0:
        return None, fill
    luminance = _LINEAR[product] @ np.array([0.2126, 0.7152, 0.0722])
    light = np.where(luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * 24389 / 27)
    return float(light.mean()), fill


def read_pixels(data: bytes) -> UInt8[np.ndarray, "height width 3"]:
    """The pixels of a JPEG or PNG file, as large as it is. **Raises** `OSError` or `SyntaxError` for a damaged one."""
    with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
        return np.array(image.convert("RGB"))


_SRGB = np.arange(256) / 255
_LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4)

"""Pictures small enough to stand inside the page: the more there are, the smaller."""

import base64
import io
from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mscon.data.streamed import AnyImages

SIZES = ((64, 80), (48, 75), (40, 70), (32, 65), (24, 55), (16, 45))
"""Longest side in pixels, and JPEG's quality: the first under which all of a page's pictures fit is taken."""


def thumbnails(pixels: AnyImages, rows: Iterable[int], *, budget: int) -> dict[int, str]:
    """Pictures as `data:` addresses by row, in the best of `SIZES` that keeps them within `budget` characters.

    Where not even the smallest does, rows that come late have none.
    """
    wanted = list(rows)
    found: dict[int, str] = {}
    for side, quality in SIZES:
        found, left = {}, budget
        for row in wanted:
            address = thumbnail(pixels[row], side=side, quality=quality)
            left -= len(address)
            if left < 0:
                break
            found[row] = address
        if len(found) == len(wanted):
            break
    return found


def thumbnail(pixels: UInt8[np.ndarray, "h w 3"], *, side: int = SIZES[0][0], quality: int = SIZES[0][1]) -> str:
    """A picture as a `data:` address: JPEG or PNG, whichever is shorter, shrunk to `side` where it is larger."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    jpeg, png = io.BytesIO(), io.BytesIO()
    image.save(jpeg, "JPEG", quality=quality, optimize=True)
    image.save(png, "PNG", optimize=True)
    kind, data = min(("jpeg", jpeg.getvalue()), ("png", png.getvalue()), key=lambda each: len(each[1]))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"

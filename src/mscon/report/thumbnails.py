"""Pictures small enough to stand inside the page."""

import base64
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

SIDE = 64
"""Longest side in pixels."""


def thumbnail(pixels: UInt8[np.ndarray, "h w 3"]) -> str:
    """A picture as a `data:` address: JPEG or PNG, whichever is shorter, shrunk to `SIDE` where it is larger."""
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    jpeg, png = io.BytesIO(), io.BytesIO()
    image.save(jpeg, "JPEG", quality=80, optimize=True)
    image.save(png, "PNG", optimize=True)
    kind, data = min(("jpeg", jpeg.getvalue()), ("png", png.getvalue()), key=lambda each: len(each[1]))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"

"""Images as code has them, as the files that `decode` takes."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mscon.errors import UserError

PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}

GivenImage = Image.Image | np.ndarray | bytes | str | os.PathLike[str]
"""A Pillow image; an array of uint8, (H, W), (H, W, 3) or (H, W, 4); a file's bytes; its path."""


def as_images(given: GivenImage | Sequence[GivenImage]) -> list[GivenImage]:
    """One image, several, or an array (N, H, W, 3) of them, as a list."""
    if isinstance(given, np.ndarray) and given.ndim == 4:
        return list(given)
    if isinstance(given, Image.Image | np.ndarray | bytes | str | os.PathLike):
        return [given]
    return list(given)


def as_file(image: GivenImage) -> bytes:
    """An image file with the same pixels: what is a file already, else a PNG.

    **Raises:** `UserError` for a file or a Pillow image that cannot be read, an array of another type or shape, and for
    what is no image.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | os.PathLike):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise UserError(f"{image}: cannot be read: {error.strerror}") from None
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (3, 4)):
            raise UserError(
                f"an array of {image.dtype}, {image.shape}, is no image: give uint8 from 0 to 255 as (height, width),"
                " or with 3 or 4 channels behind"
            )
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise UserError(f"an object of type {type(image).__name__} is no image: give a path, bytes, Pillow or numpy")
    file = io.BytesIO()
    try:  # Pillow reads a file when its pixels are first asked for
        upright = ImageOps.exif_transpose(image)
        (upright if upright.mode in PNG_MODES else upright.convert("RGB")).save(file, "PNG", compress_level=1)
    # As in `decode`: its decoders raise errors of many kinds.
    except Exception as error:
        raise UserError(f"the image cannot be read: {error}") from error
    return file.getvalue()

"""The door of images."""

import io
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from doors.house import House
from mscon.errors import UserError
from mutation import changed_bytes


def images(_: House) -> st.SearchStrategy[bytes]:
    return st.sampled_from(_pictures()).flatmap(changed_bytes)


def _pictures() -> list[bytes]:
    """Files of every format, mode and oddity that is made in a moment."""
    colour = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8))
    made: list[tuple[Image.Image, str, dict[str, Any]]] = [
        *((colour, kind, {}) for kind in ("JPEG", "PNG", "WEBP", "GIF")),
        *((colour.convert("CMYK"), "JPEG", {"progressive": way}) for way in (False, True)),
        (colour.convert("RGBA"), "PNG", {"optimize": True}),
        (colour.convert("P"), "PNG", {"transparency": 0}),
        (Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100), "PNG", {}),
        (colour.convert("1"), "PNG", {}),
        (Image.new("RGB", (1, 1)), "PNG", {}),
        (Image.new("L", (1, 400)), "JPEG", {}),
        (colour, "GIF", {"save_all": True, "append_images": [colour.rotate(90), colour.rotate(180)]}),
        (colour, "WEBP", {"save_all": True, "append_images": [colour.rotate(90)], "lossless": True}),
    ]
    large = colour.resize((1800, 1200))
    made += [(large, "JPEG", {"progressive": way, "quality": 30}) for way in (False, True)]
    made += [(large, "WEBP", {"quality": 20}), (large.convert("P"), "PNG", {"optimize": True})]
    exif = Image.Exif()
    exif[0x0112] = 6
    made.append((colour, "JPEG", {"exif": exif}))
    files: list[bytes] = []
    for image, kind, options in made:
        file = io.BytesIO()
        image.save(file, kind, **options)
        files.append(file.getvalue())
    return [*files, _many_scans(large)]


def _many_scans(image: Image.Image) -> bytes:
    """A progressive JPEG that says its last scan hundreds of times."""
    file = io.BytesIO()
    image.save(file, "JPEG", progressive=True, quality=20)
    data = file.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 400 + data[-2:]


def enter_image(_: House, data: bytes) -> None:
    from mscon.data.decode import DecodeError, decode

    for fit in ("letterbox", "crop"):
        try:
            pixels = decode(data, size=16, fit=fit)
        except DecodeError as error:
            raise UserError(f"the picture: {error}") from error
        assert pixels.shape == (16, 16, 3)
        assert pixels.dtype == np.uint8

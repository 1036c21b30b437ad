"""The page's pictures: of items, small, and those that somebody uploads, within limits. All go through `decode`."""

import io
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

from PIL import Image

from mscon.data.decode import DecodeError, decode
from mscon.errors import UserError
from mscon.report.thumbnails import thumbnail
from mscon.search import Collection, Space

SIDE = 192
"""Of an item's picture, in pixels: twice what the page shows it with, for fine screens."""

MOST_BYTES = 20_000_000
"""Of an uploaded file."""

TOO_LARGE = (
    f"This file is too large: pictures of up to {MOST_BYTES // 10**6} MB can be searched for. Make the picture smaller"
)

KEPT = 16
"""Uploaded pictures that are remembered: each is asked for once, right after it came."""


def item_picture(collection: Collection, row: int) -> bytes:
    """An item's picture as a small JPEG; a grey square where it cannot be read. **Raises** `KeyError` for no item."""
    if isinstance(collection, Space) and not 0 <= row < len(collection):
        raise KeyError(row)
    try:
        image = Image.fromarray(decode(collection.images_of([row])[0], size=SIDE))
    except DecodeError:
        image = Image.new("RGB", (SIDE, SIDE), (160, 160, 160))
    except (LookupError, OverflowError, ValueError, RuntimeError):  # what LanceDB says of a row that it has not
        raise KeyError(row) from None
    written = io.BytesIO()
    image.save(written, "JPEG", quality=88)
    return written.getvalue()


def as_address(data: bytes) -> str:
    """A picture's file as a small `data:` address."""
    return thumbnail(decode(data, size=SIDE), side=SIDE, quality=88)


@dataclass(frozen=True, eq=False)
class Uploads:
    """Pictures that came from a browser, in memory alone, by a key that nobody can guess."""

    _kept: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def add(self, data: bytes) -> str:
        """Remember a picture's file and give its key. **Raises** `UserError` for a file that is too large or none."""
        if len(data) > MOST_BYTES:
            raise UserError(TOO_LARGE)
        try:
            decode(data, size=SIDE)
        except DecodeError as error:
            raise UserError(f"This file cannot be searched for: {error}") from None
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._kept[key] = data
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return key

    def get(self, key: str) -> bytes:
        """**Raises** `UserError` for a picture that is not remembered any more."""
        with self._lock:
            if key not in self._kept:
                raise UserError("This picture is not there any more: upload it again")
            return self._kept[key]

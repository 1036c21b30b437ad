"""A catalog's images without a cache: decoded when they are asked for, in threads, some of them ahead of their use."""

import warnings
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from mscon.data.catalog import Catalog
from mscon.data.decode import DecodeError, Fit, decode
from mscon.data.threads import in_threads, thread_count

AHEAD = 4
"""Batches whose images are read and decoded while the one before them is trained on."""
SPARE = 3
"""Row groups in memory beyond those that are mixed: one that ends, one that begins, and one read ahead."""


@dataclass(frozen=True, eq=False)
class Fetched:
    """The images of some rows, in the order asked for; `unreadable` ones are white."""

    images: UInt8[np.ndarray, "n s s 3"]
    unreadable: Bool[np.ndarray, " n"]

    def with_replacements(self) -> "Fetched":
        """With readable images of the same batch in the place of those that are not, as batch normalisation should see
        none that is white for want of a picture. Where all are unreadable, all stay white.
        """
        good, bad = np.flatnonzero(~self.unreadable), np.flatnonzero(self.unreadable)
        if not (len(good) and len(bad)):
            return self
        images = self.images.copy()
        images[bad] = images[np.resize(good, len(bad))]
        return Fetched(images, self.unreadable)


class StreamedImages:
    """A catalog's images, indexed as the array of decoded ones would be: by a row, a slice or an array of rows.

    Rows that follow one another are read from their Parquet files once; others cost a row group each. An image that
    cannot be read is white, and its row and the reason are in `broken` from then on.

    **Arguments:** `size`, `fit`: as in `decode`. `open`: row groups that are in memory at once.
    """

    def __init__(self, catalog: Catalog, size: int, fit: Fit, *, open: int):
        held = None if catalog.stored is None else catalog.stored.holding(open + SPARE)
        self.catalog = replace(catalog, stored=held)
        self.size = size
        self.fit: Fit = fit
        self.broken: dict[int, str] = {}

    def __len__(self) -> int:
        """How many images."""
        return len(self.catalog)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As that of an array: (images, size, size, 3)."""
        return len(self), self.size, self.size, 3

    def __getitem__(self, rows: "int | np.integer | slice | Int64[np.ndarray, ' m']") -> UInt8[np.ndarray, "..."]:
        """Some images, or one."""
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        asked = np.arange(len(self))[rows]
        images = np.empty((len(asked), *self.shape[1:]), dtype=np.uint8)
        order = np.argsort(asked, kind="stable")  # each row group once
        with warnings.catch_warnings():  # Pillow warns of odd metadata
            warnings.simplefilter("ignore")
            found = in_threads(lambda place: self._image(int(asked[order[place]])), len(asked))
            for place, image in zip(order, found, strict=True):
                images[place] = self._kept(int(asked[place]), image)
        return images

    def fetched(self, batches: Iterable[np.ndarray]) -> Generator[Fetched, None, None]:
        """The images of each batch of rows in turn; those of the next few are read meanwhile."""
        ahead: deque[tuple[np.ndarray, list[Future[np.ndarray | str]]]] = deque()
        pool = ThreadPoolExecutor(thread_count())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            try:
                for rows in batches:
                    ahead.append((rows, [pool.submit(self._image, row) for row in rows.tolist()]))
                    if len(ahead) > AHEAD:
                        yield self._together(*ahead.popleft())
                while ahead:
                    yield self._together(*ahead.popleft())
            finally:
                pool.shutdown(cancel_futures=True)

    def _together(self, rows: np.ndarray, found: list[Future[np.ndarray | str]]) -> Fetched:
        images = [self._kept(row, each.result()) for row, each in zip(rows.tolist(), found, strict=True)]
        return Fetched(np.stack(images), np.array([row in self.broken for row in rows.tolist()]))

    def _kept(self, row: int, image: np.ndarray | str) -> np.ndarray:
        if not isinstance(image, str):
            return image
        self.broken[row] = image
        return np.full(self.shape[1:], 255, dtype=np.uint8)

    def _image(self, row: int) -> np.ndarray | str:
        return decoded_row(self.catalog, row, self.size, self.fit)


def decoded_row(catalog: Catalog, row: int, size: int, fit: Fit) -> np.ndarray | str:
    """A row's image, or the reason why there is none."""
    try:
        return decode(catalog.image_bytes(row), size=size, fit=fit)
    except DecodeError as error:
        return str(error)


AnyImages = UInt8[np.ndarray, "n s s 3"] | StreamedImages
"""Decoded images: an array, or what gives them when they are asked for."""

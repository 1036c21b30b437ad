"""Every image of a catalog decoded once, and from then on read from one memory-mapped file."""

import errno
import hashlib
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt64

from mscon.data.catalog import Catalog
from mscon.data.decode import DecodeError, Fit
from mscon.data.digests import digest_64
from mscon.data.eviction import PIXELS, in_use, make_room, used_now
from mscon.data.stored import stamp
from mscon.data.streamed import AnyImages, StreamedImages, decoded_row
from mscon.data.threads import in_threads
from mscon.errors import UserError
from mscon.files import cache_folder
from mscon.parsing import parse_json

# Raise it when `decode` gives other pixels for the same file: caches of an earlier version are then not used.
VERSION = 1
INDEX, DIGESTS = "index.json", "digests.bin"
# Bytes of a cache that are compared with their digests when it is opened, about: half a second's work.
COMPARED = 256 * 2**20
LISTED = 5


@dataclass(frozen=True)
class Skipped:
    """A row whose image can't be used, with its id and the reason."""

    row: int
    id: str
    reason: str


@dataclass(frozen=True, eq=False)
class Pixels:
    """A catalog's images as one array.

    - `array`: uint8, RGB, as (image, row, column, channel); a read-only memory map of the cached file, or, without a
      cache, images that are decoded when they are asked for.
    - `rows`: the catalog row of each image, ascending; without a cache all.
    - `skipped`: the rows that have no usable image; without a cache those that were found so far are in
      `array.broken`.
    - `digests`: 64 bits that tell each image from others; None without a cache.
    """

    array: AnyImages
    rows: Int64[np.ndarray, " n"]
    skipped: tuple[Skipped, ...]
    digests: UInt64[np.ndarray, " n"] | None = None


def load_pixels(
    catalog: Catalog,
    *,
    size: int,
    fit: Fit = "letterbox",
    folder: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    tolerance: float = 0.1,
    id: str | None = None,
) -> Pixels:
    """Decodes a catalog's images into a cache, or opens the cache that an earlier call has made.

    A cache belongs to its images and settings: to path, size and time of change of files, be they images or Parquet
    files with images in them, to the bytes of images in a table at hand, and to the address alone of images behind
    one. It is written aside and put in place whole: a build that is killed leaves nothing that is read, and of two
    builds at once the first to end counts. Memory holds a few images at a time. Where the caches come to more than they
    may (`mscon.data.eviction`), those that were not used for longest are removed, but none that is open.

    **Arguments:**

    - `size`, `fit`: side in pixels, and `"letterbox"` or `"crop"`; see `decode`.
    - `folder`: where caches are kept; left out, `pixels` in the folder that the environment variable `MSCON_CACHE`
      names, or else in the user's cache folder. Caches there may be removed whenever nothing reads them.
    - `progress`: called with the numbers of images done and in all, after each image and only while there is no cache
      yet.
    - `tolerance`: the share of images that may be unusable. They are skipped and listed.
    - `id`: the column of ids that these are listed by; see `Catalog.ids`.

    **Raises:**

    - `UserError`: more images than that are unusable, or all (the first few are named with row, id and reason); the
      catalog has no rows; the folder can't be written, or has no room.
    """
    if len(catalog) == 0:
        raise UserError(f"{catalog.source} has no rows left: there is no image to decode.")
    home = (Path(folder) if folder is not None else cache_folder() / "pixels") / fingerprint(catalog, size, fit)
    check = partial(check_broken, catalog, tolerance=tolerance, id=id)
    found = _open(home, size)
    if found is None:
        _build(catalog, size, fit, home, progress, check)
        found = _open(home, size)
    if found is None:
        raise UserError(f"The cache {home} was removed as soon as it was made: is something cleaning its folder?")
    check(found[1], seen=len(catalog))
    return _pixels(catalog, id, *found)


def kept_pixels(catalog: Catalog, images: str, *, size: int, id: str | None = None) -> Pixels | None:
    """A catalog's images where an earlier `load_pixels` has left them, however many are unusable; None if none has.

    **Arguments:** `images`: their `fingerprint` at this size; `id`: as in `load_pixels`.
    """
    found = _open(cache_folder() / "pixels" / images, size)
    return None if found is None else _pixels(catalog, id, *found)


def streamed_pixels(catalog: Catalog, *, size: int, fit: Fit, open: int) -> Pixels:
    """A catalog's images without a cache: see `StreamedImages`."""
    return Pixels(StreamedImages(catalog, size, fit, open=open), np.arange(len(catalog)), ())


def _pixels(
    catalog: Catalog, id: str | None, array: np.memmap, broken: dict[int, str], digests: UInt64[np.ndarray, " n"]
) -> Pixels:
    rows = np.setdiff1d(np.arange(len(catalog)), list(broken))
    ids = catalog.ids(id) if broken else []
    return Pixels(array, rows, tuple(Skipped(row, ids[row], reason) for row, reason in broken.items()), digests)


def fingerprint(catalog: Catalog, size: int, fit: Fit) -> str:
    """What tells a catalog's decoded images from others', by their bytes, or by their files' sizes and times."""
    if catalog.stored is not None and (stamps := catalog.stored.stamps) is not None:
        # One more: at version 1 Parquet files were known by their images' bytes.
        told = "\n".join([f"{VERSION + 1} {size} {fit}", catalog.root, catalog.stored.reader.column, *stamps])
        places = hashlib.blake2b(catalog.stored.places.tobytes())
        return hashlib.blake2b(told.encode() + places.digest(), digest_size=16).hexdigest()
    digest = hashlib.blake2b(f"{VERSION} {size} {fit}".encode(), digest_size=16)
    for row in range(len(catalog)):
        digest.update(image_key(catalog, row))
    return digest.hexdigest()


def image_key(catalog: Catalog, row: int) -> bytes:
    """What changes when a row's image does: its bytes, its file's place, size and time of change, or its address."""
    try:
        source = catalog.image_source(row)
    except DecodeError:
        source = None
    if isinstance(source, bytes):
        kind, content = b"bytes", source
    else:
        kind, content = b"place", os.fsencode(_trace(source))
    # The length parts each image from the next: moving a byte over the border makes another key.
    return kind + len(content).to_bytes(8, "little") + content


def _trace(place: str | None) -> str:
    """What changes when the image at a place does, found without reading it."""
    if place is None or "://" in place:
        return place or ""
    try:
        return stamp(place)
    except (OSError, ValueError):
        return place


def _open(home: Path, size: int) -> tuple[np.memmap, dict[int, str], UInt64[np.ndarray, " n"]] | None:
    """The images, the reasons by row and the images' digests, or None where the cache is missing, has lost a file or is
    damaged.
    """
    try:
        index = parse_json((home / INDEX).read_text(encoding="utf-8"))
        with (home / PIXELS).open("rb") as file:
            if os.fstat(file.fileno()).st_size != index["images"] * size * size * 3 or not in_use(file):
                return None
            array = np.memmap(file, np.uint8, "r", shape=(index["images"], size, size, 3))
        digests = np.fromfile(home / DIGESTS, np.uint64)
        if len(digests) != index["images"] or not _as_written(array, digests):
            return None
        used_now(home)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return array, dict(index["skipped"]), digests


def _as_written(array: np.memmap, digests: UInt64[np.ndarray, " n"]) -> bool:
    """Whether images are those that were decoded: all, or as many at equal distances as can be compared quickly."""
    compared = np.linspace(0, len(array) - 1, min(len(array), COMPARED // array[0].nbytes + 1) if len(array) else 0)
    return all(digest_64(array[row].tobytes()) == digests[row] for row in compared.astype(int))


def _build(
    catalog: Catalog,
    size: int,
    fit: Fit,
    home: Path,
    progress: Callable[[int, int], None] | None,
    check: Callable[..., None],
) -> None:
    total = len(catalog)
    needed = total * size * size * 3
    draft = home.with_name(f".{uuid.uuid4().hex}")
    broken: dict[int, str] = {}
    digests: list[int] = []
    try:
        with _storing(home.parent, needed):
            draft.mkdir(parents=True)
            make_room(home.parent, needed)
            if shutil.disk_usage(draft).free < needed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            # Unbuffered: a buffer that a full disk has refused would be refused once more when the file closes.
            file = (draft / PIXELS).open("wb", buffering=0)
        # Pillow warns of odd metadata. A filter is the whole process's: it is set here once, not by each thread.
        with file, warnings.catch_warnings(), closing(decoded(catalog, size, fit)) as images:
            warnings.simplefilter("ignore")
            in_use(file)
            with _storing(home.parent, needed):
                file.truncate(needed)  # for others to see how much it will take
            for row, image in enumerate(images):
                if isinstance(image, str):
                    broken[row] = image
                    check(broken, seen=row + 1)
                else:
                    digests.append(digest_64(image.tobytes()))  # now, while it is at hand
                    with _storing(home.parent, needed):
                        _write(file, image)
                if progress is not None:
                    progress(row + 1, total)
            with _storing(home.parent, needed):
                file.truncate()
                os.fsync(file.fileno())
        with _storing(home.parent, needed):
            np.array(digests, np.uint64).tofile(draft / DIGESTS)
            index = {"images": total - len(broken), "skipped": list(broken.items())}
            (draft / INDEX).write_text(json.dumps(index), encoding="utf-8")
            _put(draft, home, size)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _storing(folder: Path, needed: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"The decoded images can't be kept in {folder}: {error.strerror}. They need {needed:,} bytes: make room, "
            "let MSCON_CACHE name a folder that has it, or do without it: image.cache = false."
        ) from error


def _write(file: FileIO, image: np.ndarray) -> None:
    rest = image.reshape(-1).data
    while rest:
        rest = rest[file.write(rest) :]


def _put(draft: Path, home: Path, size: int) -> None:
    try:
        draft.rename(home)
    except OSError:
        if not home.exists():
            raise
        # The name is taken: by another build that was faster, or by a cache that lost a file and gives way.
        if _open(home, size) is None:
            shutil.rmtree(home)
            draft.rename(home)


def decoded(catalog: Catalog, size: int, fit: Fit) -> Generator[np.ndarray | str, None, None]:
    """Each row's image, or the reason why there is none, in order."""
    return in_threads(lambda row: decoded_row(catalog, row, size, fit), len(catalog))


def check_broken(
    catalog: Catalog, broken: Mapping[int, str], *, tolerance: float, seen: int | None = None, id: str | None = None
) -> None:
    """**Raises** `UserError`, which lists the first ones, for more unusable images than that share of all, or all.

    **Arguments:** `seen`: how many were read, where that is known; `id`: as in `load_pixels`.
    """
    total = len(catalog)
    if len(broken) < total and len(broken) <= tolerance * total:
        return
    ids = catalog.ids(id)
    listed = "".join(f"\n  row {row} ({ids[row]}): {reason}" for row, reason in list(broken.items())[:LISTED])
    counted = f"{len(broken)} images" if seen is None else f"{len(broken)} of {seen} images read"
    raise UserError(
        f"{catalog.source}: {counted} can't be used; {tolerance:.0%} of all {total} may be "
        f"skipped. The first, rows counted from 0:{listed}\nMend these images, or take their rows out of the table."
    )

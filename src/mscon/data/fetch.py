"""An image file from where a cell says that it is: a path, or an address."""

import stat
import time
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from mscon.data.decode import DecodeError

# A file larger than this is no photograph: 100 megapixels of 16-bit RGB, uncompressed, are 600 MB.
MAX_BYTES = 600_000_000
PATIENCE = 60
"""Seconds that one image may take to come from a web server."""
PAUSES = (0.5, 3)
"""Seconds until a web server is asked again, where that may help."""
TOO_MANY = (408, 425, 429)
"""What web servers answer somebody who asked at a wrong moment."""
ADDRESSES = (
    *("http", "https", "ftp", "sftp", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "hf", "hdfs"),
    *("file", "memory"),
)
"""Kinds of addresses that a cell may hold. A catalog may be a stranger's, and fsspec has kinds that carry out what they
read, as `reference` does templates.
"""


def fetch(place: str) -> bytes:
    """The bytes of the file at an absolute path or an address.

    A web server that breaks off, or answers that it is busy or unwell, is asked three times in all; other stores' file
    systems try again by themselves.

    **Raises:**

    - `DecodeError`: it is not there, is no file, has more than 600 MB, can't be read, comes from no kind of address
      that cells may hold, or takes a web server more than a minute.
    """
    if "://" not in place:
        return _read_file(place)
    kind = place.partition("://")[0].lower()
    if kind not in ADDRESSES or "::" in place:
        raise DecodeError(f"{place} is not fetched: addresses in cells are one of {', '.join(ADDRESSES)}, without ::")
    try:
        files, path = fsspec.core.url_to_fs(place)
        if isinstance(files, LocalFileSystem):
            return _read_file(path)
        web = kind in ("http", "https")
        some = _from_web(files, path) if web else files.cat_file(path, start=0, end=MAX_BYTES + 1)
    except DecodeError:
        raise
    # Each file system has errors of its own: of the network, of a login, of a package that is missing.
    except Exception as error:
        raise DecodeError(f"{place} can't be read: {error!r}") from error
    if len(some) > MAX_BYTES:
        raise DecodeError(f"{place} has more than {MAX_BYTES} bytes, and more are not read")
    return some


def _from_web(files: Any, path: str) -> bytes:
    for pause in PAUSES:
        try:
            return _streamed(files, path)
        except Exception as error:
            if not _may_pass(error):
                raise
            time.sleep(pause)
    return _streamed(files, path)


def _may_pass(error: Exception) -> bool:
    """Whether a server may be well again a moment later: it was reached, and broke off or says so."""
    from aiohttp import (
        ClientConnectorError,
        ClientOSError,
        ClientPayloadError,
        ClientResponseError,
        ServerDisconnectedError,
    )

    if isinstance(error, ClientResponseError):
        return error.status >= 500 or error.status in TOO_MANY
    broke_off = isinstance(error, (ClientPayloadError, ServerDisconnectedError, ClientOSError))
    return broke_off and not isinstance(error, ClientConnectorError)


def _streamed(files: Any, path: str) -> bytes:
    """No more than are read, from a server that may send without end. With a size fsspec asks for none beforehand."""
    from aiohttp import ClientTimeout  # which fsspec needs for these addresses

    found = bytearray()
    with files.open(path, "rb", block_size=0, size=1, timeout=ClientTimeout(total=PATIENCE)) as file:
        while len(found) <= MAX_BYTES and (part := file.read(2**20)):
            found += part
    return bytes(found)


def _read_file(path: str) -> bytes:
    try:
        about = Path(path).stat()
        if not stat.S_ISREG(about.st_mode):
            raise DecodeError(f"{path} is no file")
        if about.st_size > MAX_BYTES:
            raise DecodeError(f"{path} has {about.st_size} bytes: more than {MAX_BYTES} are not read")
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise DecodeError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:  # A NUL in a path is a ValueError.
        raise DecodeError(f"{path} can't be read: {error}") from error

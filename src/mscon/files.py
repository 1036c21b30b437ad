"""Files written whole or not at all, and the folder for what can be made again."""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

import platformdirs
from polars.exceptions import PolarsError
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from mscon.errors import UserError

NO_ROOM = 2**20
"""Bytes: a disk that has less left is full."""


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, put it on the disk, and only then give it that name.

    Whatever happens half-way, `path` holds what it held before. **Raises** `UserError` when the disk refuses.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.partial")  # two processes may write the same file
    try:
        write(aside)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except (OSError, PolarsError) as error:
        reason = _reason(error, path.parent)
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise UserError(
            f"{path}: could not be written ({reason}); what was there before is intact. Make room or choose another"
            " folder, then give the command again, a training with --resume"
        ) from error


def _reason(error: Exception, folder: Path) -> str:
    """What the disk says; polars speaks of a broken file format where there was no room for the file."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return os.strerror(errno.ENOSPC) if shutil.disk_usage(folder).free < NO_ROOM else str(error)


def remove_drafts(path: Path) -> None:
    """Remove what killed processes have left of `path` half-written, while no other process writes it."""
    for left in path.parent.glob(f"{escape(path.name)}.*.partial"):
        left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`write_whole` for text."""
    write_whole(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where they are not there. **Raises** `UserError` when the disk refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}. Choose another folder") from None


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to be filled, which then gets that name, on the disk; after an exception it is gone.

    **Raises** `UserError` for a folder that holds something, and when the disk refuses.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already: name a folder that is empty or not there")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}") from None
    try:
        yield aside
        for path in aside.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        aside.chmod(0o755)  # a temporary folder is its owner's alone
        aside.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: could not be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """A safetensors file. **Raises** `OSError` when the disk refuses, which safetensors reports in an exception of
    its own.
    """
    try:
        path.touch()
        mode = path.stat().st_mode  # as other files have it; safetensors makes its own for their owner alone
        save_file(tensors, path, metadata=metadata)
        path.chmod(mode)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def digest(path: Path) -> str:
    """What tells a file's bytes from others', in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def cache_folder() -> Path:
    """What the environment variable MSCON_CACHE names, or else the user's cache folder for mscon."""
    return Path(os.environ.get("MSCON_CACHE") or platformdirs.user_cache_dir("mscon"))

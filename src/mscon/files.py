"""Files written whole or not at all, and the folder for what can be made again."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import platformdirs
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from mscon.errors import UserError


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
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise UserError(
            f"{path}: could not be written ({error.strerror or error}); what was there before is intact."
            " Make room or choose another folder, then go on with --resume"
        ) from error


def write_text(path: Path, text: str) -> None:
    """`write_whole` for text."""
    write_whole(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """A safetensors file. **Raises** `OSError` when the disk refuses, which safetensors reports in an exception of
    its own.
    """
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def digest(path: Path) -> str:
    """What tells a file's bytes from others', in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def cache_folder() -> Path:
    """What the environment variable MSCON_CACHE names, or else the user's cache folder for mscon."""
    return Path(os.environ.get("MSCON_CACHE") or platformdirs.user_cache_dir("mscon"))

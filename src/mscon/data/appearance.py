"""How pictures look, in few numbers: the principal components of their classical features."""

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from mscon.data.cache import Pixels
from mscon.data.classical import classical_features
from mscon.data.eviction import make_room
from mscon.data.streamed import AnyImages
from mscon.errors import UserError
from mscon.files import write_whole

# Raise it when the same images and training items get other features: what was kept by then is not used.
VERSION = 1
KEPT = "appearance.bin"
MARK = 32
"""Bytes before the features, that tell whether they are those asked for, and whole."""
COMPONENTS = 512
SAMPLE = 8_192
"""Training items by which the components are found, evenly taken."""
TOGETHER = 4_096
"""Images whose features are held at a time."""
ROUNDING = 1e-10
"""Of the largest variance: what is below is none."""


def kept_appearance_features(pixels: Pixels, train: Int64[np.ndarray, " m"]) -> Float[Tensor, "n d"]:
    """`appearance_features`, found beside the cached images where an earlier call has left them.

    A cache keeps those of one set of training images, the last that was asked for, as a part of its size. Without a
    cache, or without room for them in it, they are made anew.
    """
    if not (isinstance(pixels.array, np.memmap) and pixels.array.filename):
        return appearance_features(pixels.array, train)
    home = Path(pixels.array.filename).parent
    found = _read(home / KEPT, len(pixels.array), train)
    if found is None:
        found = appearance_features(pixels.array, train)
        with suppress(UserError, OSError):
            make_room(home.parent, MARK + found.numpy().nbytes)
            write_whole(home / KEPT, lambda aside: _write(aside, found.numpy(), train))
    return found


def _read(path: Path, images: int, train: Int64[np.ndarray, " m"]) -> Float[Tensor, "n d"] | None:
    """None where there are none, those of others, or damaged ones."""
    try:
        stored = np.fromfile(path, np.uint8)
    except OSError:
        return None
    mark, features = stored[:MARK], stored[MARK:]
    if len(features) != 4 * images * COMPONENTS or mark.tobytes() != _mark(features, train):
        return None
    return torch.from_numpy(features.view(np.float32).reshape(images, COMPONENTS))


def _write(path: Path, features: np.ndarray, train: Int64[np.ndarray, " m"]) -> None:
    with path.open("wb") as file:
        file.write(_mark(features.reshape(-1).view(np.uint8), train))
        features.tofile(file)


def _mark(features: UInt8[np.ndarray, " b"], train: Int64[np.ndarray, " m"]) -> bytes:
    told = hashlib.blake2b(f"{VERSION} {len(train)}\n".encode(), digest_size=MARK)
    told.update(train.astype("<i8").tobytes())
    told.update(features.data)
    return told.digest()


def appearance_features(images: AnyImages, train: Int64[np.ndarray, " m"]) -> Float[Tensor, "n d"]:
    """Every image's `classical_features` about their mean, on their 512 foremost principal components, each divided by
    the root of its standard deviation.

    So a component counts by its standard deviation, and not by its square, by which the first few would be all that
    counts. Mean and components are those of the training images, or of some thousands of them; components that so few
    images do not have are 0.

    **Arguments:** `images`, such as `Pixels.array`, read in batches; `train`: the training images among them.
    """
    sample = classical_features(images[train[:: -(-len(train) // SAMPLE)]]).double()
    mean = sample.mean(dim=0)
    variance, axes = torch.linalg.eigh((sample - mean).T @ (sample - mean) / len(sample))
    variance, axes = variance[-COMPONENTS:].flip(0), axes[:, -COMPONENTS:].flip(1)
    there = variance > ROUNDING * variance[0]
    scaled = axes * variance.clamp(min=ROUNDING).pow(-0.25).where(there, 0.0)
    parts = (images[first : first + TOGETHER] for first in range(0, len(images), TOGETHER))
    return torch.cat([((classical_features(part).double() - mean) @ scaled).float() for part in parts])

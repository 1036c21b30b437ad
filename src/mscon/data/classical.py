"""Features that nobody learned: what a model must beat before its training has shown anything, and can learn from."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mscon.data.streamed import AnyImages

THUMBNAIL = 16
# The gradient histogram's picture, so that it means the same for every image size in the cache: 8 × 8 cells.
SIDE = 64
CELL = 8
ORIENTATIONS = 9
# Added to a block's squared length: a blank block stays blank instead of blowing up its noise.
BLANK = 1e-6
# Images at a time: their votes (9 × 64 × 64 each) stay in the processor's cache.
BATCH = 32


def pixel_features(images: AnyImages) -> Float[Tensor, "n d"]:
    """The plain pixels: a 16 × 16 thumbnail in colour, flattened to d = 768 numbers in [0, 1].

    **Arguments:** `images`, such as `Pixels.array`; read in batches.
    """
    return _batched(_thumbnail, images)


def classical_features(images: AnyImages) -> Float[Tensor, "n d"]:
    """The classical floor: the thumbnail of `pixel_features` beside a histogram of oriented gradients (HOG), d = 2,532.

    The image is brought to 64 × 64. Every pixel votes with the length of its gradient, in the colour channel where that
    is longest, for the two nearest of 9 orientations in [0°, 180°) in the four nearest of 8 × 8 cells, linearly by its
    distance from their centres. Each block of 2 × 2 neighbouring cells is divided by its Euclidean length, and the
    7 × 7 blocks' values are the features.

    **Arguments:** `images`, such as `Pixels.array`; read in batches.

    Source: Dalal & Triggs, *Histograms of Oriented Gradients for Human Detection*, CVPR 2005 (blocks normalised by L2).
    """
    return _batched(lambda batch: torch.cat([_thumbnail(batch), _gradient_histogram(batch)], dim=1), images)


def _batched(extract: Callable[[Float[Tensor, "b 3 s s"]], Tensor], images: AnyImages) -> Float[Tensor, "n d"]:
    # The copy: a memory map is read-only, which torch does not take.
    batches = (torch.from_numpy(np.array(images[first : first + BATCH])) for first in range(0, len(images), BATCH))
    return torch.cat([extract(batch.permute(0, 3, 1, 2).float() / 255) for batch in batches])


def _thumbnail(images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b d"]:
    return _resize(images, THUMBNAIL).flatten(1)


def _resize(images: Float[Tensor, "b 3 s s"], side: int) -> Float[Tensor, "b 3 t t"]:
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def _gradient_histogram(images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b d"]:
    padded = F.pad(_resize(images, SIDE), (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    squared, channel = (across.square() + down.square()).max(dim=1, keepdim=True)
    angle = torch.atan2(down.gather(1, channel), across.gather(1, channel)) / math.pi
    # A vote is full at a bin's centre and none at its neighbours' centres; the last bin is the first one's neighbour.
    position = angle.remainder(1) * ORIENTATIONS - torch.arange(ORIENTATIONS)[:, None, None] - 0.5
    distance = (position + ORIENTATIONS / 2).remainder(ORIENTATIONS) - ORIENTATIONS / 2
    votes = (1 - distance.abs()).clamp(min=0) * squared.sqrt()
    # The same along either side of the picture, from cell centre to cell centre: (cells, pixels), a mean over a cell.
    offset = (torch.arange(SIDE) + 0.5) / CELL - (torch.arange(SIDE // CELL)[:, None] + 0.5)
    spread = (1 - offset.abs()).clamp(min=0) / CELL
    cells = spread @ votes @ spread.T
    blocks = torch.cat([cells[..., :-1, :-1], cells[..., :-1, 1:], cells[..., 1:, :-1], cells[..., 1:, 1:]], dim=1)
    return (blocks / (blocks.square().sum(1, keepdim=True) + BLANK).sqrt()).flatten(1)

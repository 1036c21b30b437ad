"""Which colours a picture holds, wherever they stand: features that nobody learned and no label can have spoilt."""

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from mscon.data.streamed import AnyImages

# Levels per channel: 216 colours, far enough apart that a photograph's shading does not scatter one over many.
LEVELS = 6
BATCH = 128


def colour_features(images: AnyImages, *, rows: Int64[np.ndarray, " m"] | None = None) -> Float[Tensor, "m d"]:
    """The square roots of a colour histogram's shares, d = 216.

    Every pixel votes for the eight nearest of 6 × 6 × 6 colours, linearly by its distance from them in red, green and
    blue. Of square roots the inner product is the Bhattacharyya coefficient of two histograms, so a rare colour counts
    for more than its area.

    **Arguments:** `images`, such as `Pixels.array`, or those of them in `rows`; read in batches.
    """
    rows = np.arange(len(images)) if rows is None else rows
    return torch.cat([_histogram(images[rows[first : first + BATCH]]) for first in range(0, len(rows), BATCH)])


def _histogram(images: UInt8[np.ndarray, "b s s 3"]) -> Float[Tensor, "b d"]:
    position = torch.from_numpy(images).flatten(1, 2).float() / 255 * (LEVELS - 1)
    lower = position.floor().clamp(max=LEVELS - 2)
    share = torch.stack([1 - (position - lower), position - lower])
    votes = torch.zeros(len(images), LEVELS**3)
    for red, green, blue in np.ndindex(2, 2, 2):
        level = lower.long() + torch.tensor([red, green, blue])
        bin_ = (level[..., 0] * LEVELS + level[..., 1]) * LEVELS + level[..., 2]
        votes.scatter_add_(1, bin_, share[red, ..., 0] * share[green, ..., 1] * share[blue, ..., 2])
    return (votes / position.shape[1]).sqrt()

"""How pictures look, in few numbers: the principal components of their classical features."""

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from mscon.data.classical import classical_features

COMPONENTS = 64
SAMPLE = 8_192
"""Training items by which the components are found, evenly taken."""
TOGETHER = 4_096
"""Images whose features are held at a time."""


def look_of(images: UInt8[np.ndarray, "n s s 3"], train: Int64[np.ndarray, " m"]) -> Float[Tensor, "n d"]:
    """Every image's `classical_features` about their mean, on their 64 foremost principal components.

    Mean and components are those of the training images, or of some thousands of them.

    **Arguments:** `images`, such as `Pixels.array`, read in batches; `train`: the training images among them.
    """
    sample = classical_features(images[train[:: -(-len(train) // SAMPLE)]]).double()
    mean = sample.mean(dim=0)
    _, axes = torch.linalg.eigh((sample - mean).T @ (sample - mean))
    foremost = axes[:, -COMPONENTS:].flip(1)
    parts = (images[first : first + TOGETHER] for first in range(0, len(images), TOGETHER))
    return torch.cat([((classical_features(part).double() - mean) @ foremost).float() for part in parts])

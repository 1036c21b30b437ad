"""How pictures look, in few numbers: the principal components of their classical features."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mscon.data.classical import classical_features
from mscon.data.streamed import AnyImages

COMPONENTS = 512
SAMPLE = 8_192
"""Training items by which the components are found, evenly taken."""
TOGETHER = 4_096
"""Images whose features are held at a time."""
ROUNDING = 1e-10
"""Of the largest variance: what is below is none."""


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

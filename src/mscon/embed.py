"""Embeddings of images: the shared one, as a model gives it."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mscon.data.streamed import AnyImages
from mscon.data.views import ViewParameters, apply_views
from mscon.memory import freed_memory_kept
from mscon.model import MSConModel

BATCH = 256


def embed_pixels(
    model: MSConModel,
    pixels: AnyImages,
    *,
    rows: Int64[np.ndarray, " m"] | None = None,
    views: ViewParameters | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, "m d"]:
    """The shared embedding of each image, on the CPU, in batches that bound the memory.

    **Arguments:**

    - `model`: a model on any device.
    - `pixels`: RGB images in [0, 255], such as `Pixels.array`.
    - `rows`: the images to embed, in this order; left out, all as they stand.
    - `views`: of each of these images; left out, it is embedded as it is.
    - `progress`: called with images done and images in all.
    """
    count = len(pixels) if rows is None else len(rows)
    embeddings = torch.empty(count, model.architecture.embedding_dim)
    with freed_memory_kept():
        for start in range(0, count, BATCH):
            here = slice(start, start + BATCH)
            batch = torch.from_numpy(np.array(pixels[here if rows is None else rows[here]])).permute(0, 3, 1, 2)
            if views is not None:
                batch = apply_views(batch.to(next(model.parameters()).device), views[here])
            embeddings[here] = model.embed(batch)
            if progress:
                progress(start + len(batch), count)
    return embeddings

"""An item's vectors: one of unit length under each similarity, and the shared embedding's."""

import numpy as np
from jaxtyping import Float32, UInt8

from mscon.embed import embed_pixels
from mscon.model import MSConModel
from mscon.settings import SHARED


def blocks_of_images(model: MSConModel, images: UInt8[np.ndarray, "n s s 3"]) -> dict[str, Float32[np.ndarray, "n d"]]:
    """`shared` and each similarity → the images' vectors."""
    h = embed_pixels(model, images)
    blocks = {name: model.project_embedding(h, name).cpu().numpy() for name in model.similarities}
    return {SHARED: unit(h.numpy())} | blocks


def unit(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)

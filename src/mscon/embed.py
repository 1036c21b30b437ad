"""Embeddings of a catalog: the shared one, and one vector per similarity."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from mscon.data.cache import Skipped, load_pixels
from mscon.data.catalog import Catalog
from mscon.data.views import ViewParameters, apply_views
from mscon.errors import UserError
from mscon.files import write_whole
from mscon.memory import freed_memory_kept
from mscon.model import MSConModel
from mscon.run import Run

BATCH = 256


def embed_pixels(
    model: MSConModel,
    pixels: UInt8[np.ndarray, "n h w 3"],
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


def embed_catalog(
    run: Run,
    source: str,
    out: Path,
    *,
    image: str | None = None,
    id: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pl.DataFrame, tuple[Skipped, ...]]:
    """Embed any catalog with a run's model and write one Parquet file, whole or not at all.

    **Arguments:**

    - `run`: a trained run.
    - `source`: the catalog; it needs no labels.
    - `out`: the file to write: columns `id`, `embedding` and `z_<similarity>` (unit length), float32 lists; with an
      uncertainty head also `uncertainty_<similarity>`, see `MSConModel.item_uncertainty`.
    - `image`, `id`: the catalog's columns, found by name when left out.
    - `progress`: called with images done and images in all.

    **Returns:** the table written, and the rows left out of it because their image could not be read.

    **Raises:** `UserError` for a catalog that cannot be used, a run without a model, or a file that cannot be written.
    """
    if out.suffix != ".parquet":
        raise UserError(f"{out}: embeddings are written as Parquet; name a file that ends in .parquet")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out.parent}: cannot be made: {error.strerror}") from None
    model = run.model()
    catalog = Catalog.read(source, image=image)
    settings = run.recipe.image
    pixels = load_pixels(catalog, size=settings.size, fit=settings.fit, tolerance=settings.tolerance)
    h = embed_pixels(model, pixels.array, progress=progress)
    ids = catalog.take(pixels.rows).ids(id)
    vectors = {"embedding": h} | {f"z_{name}": model.project_embedding(h, name) for name in model.similarities}
    vectors |= {f"uncertainty_{name}": each for name, each in model.item_uncertainty(h).items()}
    table = pl.DataFrame({"id": ids} | {name: each.numpy() for name, each in vectors.items()})
    write_whole(out, lambda aside: table.write_parquet(aside))
    return table, pixels.skipped

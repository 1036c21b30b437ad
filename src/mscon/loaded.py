"""A trained run at hand in code: images in, vectors and neighbours out."""

import os
from collections.abc import Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
import torch
from jaxtyping import Float32
from PIL import Image
from torch import Tensor

from mscon.data.cache import decoded
from mscon.data.catalog import Catalog
from mscon.data.decode import DecodeError, decode
from mscon.data.given import GivenImage, as_file, as_images
from mscon.data.sources import as_polars
from mscon.embed import embed_pixels
from mscon.errors import UserError
from mscon.model import MSConModel
from mscon.run import Run
from mscon.search import SHARED, Collection, Hits, Space, Weights, query_of
from mscon.search.show import records

if TYPE_CHECKING:
    import pandas as pd

Frames = Literal["polars", "pandas"]
Id = int | np.integer[Any]
"""An item's id where it is a whole number; others are texts."""


def load(folder: str | Path, *, device: str | torch.device | None = None) -> "LoadedRun":
    """A trained run, ready for use.

        run = mscon.load("runs/shoes")
        vectors = run.embed(["a.jpg", "b.jpg"])
        alike = run.search("photo.jpg", weights={"closure": 1.0, "colour": 0.2}, where="gender = 'Women'")

    **Arguments:** `folder`: a run's. `device`: where to compute; a CUDA device where there is one, when left out.

    **Raises:** `UserError` for a folder that holds no run, or none that is trained.
    """
    return LoadedRun(Run.open(Path(folder)), device=device)


class LoadedRun:
    """A run with its model loaded and, once they are asked for, the vectors of its catalog.

    - `run`: its folder, recipe and labels; `model`: the trained model, in evaluation mode.
    """

    def __init__(self, run: Run, *, device: str | torch.device | None = None):
        self.run = run
        self.model: MSConModel = run.model().to(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    @property
    def similarities(self) -> list[str]:
        """Those that the run was trained on."""
        return list(self.model.similarities)

    @cached_property
    def catalog(self) -> Space:
        """The run's own catalog, embedded once; the vectors are kept in its folder."""
        return Space.of(self.run)

    def embed(self, images: Any, *, similarity: str | None = None) -> Any:
        """The shared embedding of images, or their projections under a similarity, which are of unit length.

        **Arguments:**

        - `images`: a Pillow image, an array of uint8 (H, W, 3), a file's path or its bytes; a sequence of these; an
          array (N, H, W, 3); or a table of polars or pandas with a column of images as a catalog has, the run's own
          where it is there.
        - `similarity`: whose projections; the shared embedding when left out.

        **Returns:** (N, D) float32. Of a table, the table with columns added, `embedding` and `z_<similarity>` for all
        or, if one is named, for that one; null where an image cannot be read.

        **Raises:** `UserError` for an image that cannot be read, named by its number, and an unknown similarity.
        """
        if (table := as_polars(images)) is not None:
            found = self._with_vectors(table, similarity)
            return found if isinstance(images, pl.DataFrame) else found.to_pandas()
        settings = self.run.recipe.image
        pixels: list[np.ndarray] = []
        for number, image in enumerate(as_images(images)):
            try:
                pixels.append(decode(as_file(image), size=settings.size, fit=settings.fit))
            except (DecodeError, UserError) as error:
                raise UserError(f"image {number}: {error}") from None
        empty = np.empty((0, settings.size, settings.size, 3), np.uint8)
        return self._vectors(embed_pixels(self.model, np.stack(pixels) if pixels else empty), similarity or SHARED)

    def search(
        self,
        images: GivenImage | Id | Sequence[GivenImage | Id],
        *,
        weights: Weights | None = None,
        k: int = 10,
        where: str | None = None,
        among: Collection | None = None,
        frame: Frames = "polars",
    ) -> "pl.DataFrame | pd.DataFrame":
        """What is alike under any mix of similarities, best first: see `mscon.search`.

        **Arguments:**

        - `images`: a picture as in `embed`, or an item's id, which may be a whole number; of several, what lies between
          them is looked for.
        - `weights`: similarity, or `shared`, → how much it counts, negative for what shall not be alike; without any,
          every similarity counts 1.
        - `k`: at most so many items. `where`: a condition on the columns in SQL, such as `"year > 2012"`.
        - `among`: what to search; the run's own catalog when left out. `Space.of(run.run, "other.parquet")` is another
          catalog, `Index.open("shop.lance")` an index.
        - `frame`: whose table to return.

        **Returns:** a row for each item: `id`, `score`, `cos_<similarity>` and the run's labels.

        **Raises:** `UserError` as `mscon search` does.
        """
        items = among if among is not None else self.catalog
        hits = self.hits(images, weights=weights, k=k, where=where, among=items)
        rows = [
            {"id": each["id"], "score": each["score"]}
            | {f"cos_{name}": cosine for name, cosine in each["cosines"].items()}
            | each["labels"]
            for each in records(self.run, items, hits)
        ]
        names = ["id", "score", *(f"cos_{name}" for name in hits.cosines)]
        found = pl.DataFrame(rows, infer_schema_length=None) if rows else pl.DataFrame({name: [] for name in names})
        return found.to_pandas() if frame == "pandas" else found

    def hits(
        self,
        images: GivenImage | Id | Sequence[GivenImage | Id],
        *,
        weights: Weights | None = None,
        k: int = 10,
        where: str | None = None,
        among: Collection | None = None,
    ) -> Hits:
        """The same as arrays, with rows of what was searched."""
        items = among if among is not None else self.catalog
        asked = as_images(_named(images))
        words = [each if isinstance(each, str | bytes | Path) else as_file(each) for each in asked]
        return items.search(query_of(self.run, items, words, model=self.model), weights, k=k, where=where)

    def pictures(self, ids: Sequence[str], *, among: Collection | None = None) -> list[Image.Image]:
        """The pictures of items, by their ids, in this order. **Raises** `UserError` for an id that is not there."""
        items = among if among is not None else self.catalog
        rows = items.rows_of(ids)
        if missing := [each for each in ids if each not in rows]:
            raise UserError(f"{items.source} has no item {missing[0]!r}")
        return [Image.open(BytesIO(data)) for data in items.images_of([rows[each] for each in ids])]

    def _vectors(self, h: Float32[Tensor, "n e"], name: str) -> Float32[np.ndarray, "n d"]:
        return (h if name == SHARED else self.model.project_embedding(h, name).cpu()).numpy()

    def _with_vectors(self, frame: pl.DataFrame, similarity: str | None) -> pl.DataFrame:
        settings, own = self.run.recipe.image, self.run.recipe.catalog.image
        catalog = Catalog.read(frame, image=own if own in frame.columns else None)
        images = list(decoded(catalog, settings.size, settings.fit))
        there = [row for row, image in enumerate(images) if not isinstance(image, str)]
        if not there:
            raise UserError(f"no image of the table can be read; the first: {images[0]}")
        h = embed_pixels(self.model, np.stack([images[row] for row in there]))
        rows = pl.DataFrame({"row": range(len(frame))}, schema={"row": pl.Int64})
        for name in [similarity] if similarity else [SHARED, *self.similarities]:
            column = "embedding" if name == SHARED else f"z_{name}"
            known = pl.DataFrame({"row": there, column: self._vectors(h, name)}, schema_overrides={"row": pl.Int64})
            frame = frame.with_columns(rows.join(known, on="row", how="left", maintain_order="left")[column])
        return frame


def _named(images: GivenImage | Id | Sequence[GivenImage | Id]) -> GivenImage | Sequence[GivenImage]:
    """The same, ids that are numbers as the texts that they are in every table of mscon's."""
    if isinstance(images, int | np.integer):
        return str(images)
    if isinstance(images, Image.Image | np.ndarray | bytes | str | os.PathLike):
        return images
    return [str(each) if isinstance(each, int | np.integer) else each for each in images]

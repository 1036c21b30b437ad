"""A catalog's items as a search sees them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32

from mscon.data.catalog import Catalog
from mscon.embed_catalog import embed_catalog
from mscon.errors import UserError
from mscon.run import Run
from mscon.search.mix import SHARED


@dataclass(frozen=True, eq=False)
class Space:
    """A vector of unit length for each item under each similarity and by the shared embedding, all in memory.

    A mix of similarities is one inner product: of the items' [z_1 … z_C] with the query's [w_1 q_1 … w_C q_C].

    - `ids`: a name per item; `catalog`: the items' rows, whose images could be read.
    - `blocks`: similarity, or `shared`, → vectors.
    """

    ids: list[str]
    catalog: Catalog
    blocks: dict[str, Float32[np.ndarray, "n d"]]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def similarities(self) -> list[str]:
        """Those that the run was trained on."""
        return [name for name in self.blocks if name != SHARED]

    @classmethod
    def of(
        cls,
        run: Run,
        source: str | None = None,
        *,
        image: str | None = None,
        id: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> "Space":
        """A catalog embedded by a run's model, once: its vectors are kept in the run's folder.

        **Arguments:** `source`, `image`, `id`: the catalog and its columns; the run's own when left out. `progress`: as
        in `embed_catalog`.

        **Raises:** `UserError` as `embed_catalog` does, and for a similarity called `shared`.
        """
        if SHARED in run.recipe.similarities:
            raise UserError(f"a similarity called {SHARED!r} cannot be told from the shared embedding: rename it")
        settings = run.recipe.catalog
        if source is None:
            source, image, id = settings.source, image or settings.image, id or settings.id
        catalog = Catalog.read(source, image=image)
        told = hashlib.blake2b(str(source).encode(), digest_size=4).hexdigest()  # catalogs of one name from one another
        kept = run.folder / "vectors" / f"{Path(catalog.source).stem or 'catalog'}-{told}.parquet"
        made = embed_catalog(run, catalog, kept, id=id, progress=progress)
        there = np.setdiff1d(np.arange(len(catalog)), [each.row for each in made.skipped])
        table = pl.read_parquet(kept)
        names = {SHARED: "embedding"} | {name: f"z_{name}" for name in run.recipe.similarities}
        blocks = {name: unit(table[column].to_numpy()) for name, column in names.items()}
        return cls(table["id"].to_list(), catalog.take(there), blocks)


def unit(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)

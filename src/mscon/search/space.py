"""A catalog's items in memory: exact search, the mix of every item."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32

from mscon.data.catalog import Catalog
from mscon.data.labels import as_learned
from mscon.embed_catalog import embed_catalog
from mscon.errors import first_line
from mscon.run import Run
from mscon.search.blocks import unit
from mscon.search.collection import Hits, Query, best, check_count
from mscon.search.condition import check_condition, no_condition, not_read
from mscon.search.mix import Weights, mix
from mscon.settings import SHARED


@dataclass(frozen=True, eq=False)
class Space:
    """A vector of unit length for each item under each similarity and by the shared embedding, all in memory.

    A mix of similarities is one inner product: of the items' [z_1 … z_C] with the query's [w_1 q_1 … w_C q_C].

    - `ids`: a name per item; `catalog`: the items' rows, whose images could be read, numbers where the run read text
      as numbers.
    - `unreadable`: id → why, of the others.
    - `blocks`: similarity, or `shared`, → vectors.
    """

    ids: list[str]
    catalog: Catalog
    blocks: dict[str, Float32[np.ndarray, "n d"]]
    unreadable: dict[str, str] = field(default_factory=dict)

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
        """A catalog embedded by a run's model, once: its vectors are kept, see `Run.kept`.

        **Arguments:** `source`, `image`, `id`: the catalog and its columns; the run's own when left out. `progress`: as
        in `embed_catalog`.

        **Raises:** `UserError` as `embed_catalog` does.
        """
        settings = run.recipe.catalog
        if source is None:
            source, image, id = settings.source, image or settings.image, id or settings.id
        catalog = Catalog.read(source, image=image)
        told = hashlib.blake2b(str(source).encode(), digest_size=4).hexdigest()  # catalogs of one name from one another
        kept = run.kept / "vectors" / f"{Path(catalog.source).stem or 'catalog'}-{told}.parquet"
        made = embed_catalog(run, catalog, kept, id=id, progress=progress)
        there = np.setdiff1d(np.arange(len(catalog)), [each.row for each in made.skipped])
        table = pl.read_parquet(kept, glob=False, hive_partitioning=False)
        names = {SHARED: "embedding"} | {name: f"z_{name}" for name in run.recipe.similarities}
        blocks = {name: unit(table[column].to_numpy()) for name, column in names.items()}
        found, unreadable = catalog.take(there), {each.id: each.reason for each in made.skipped}
        learned = replace(found, table=as_learned(found.table, run.labels))
        return cls(table["id"].to_list(), learned, blocks, unreadable)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def source(self) -> str:
        """What the user calls the catalog."""
        return self.catalog.source

    @property
    def similarities(self) -> list[str]:
        """Those that the run was trained on."""
        return [name for name in self.blocks if name != SHARED]

    def rows_of(self, ids: Sequence[str]) -> dict[str, int]:
        """The rows of the items with these names, of those that there are; of a name's several the first."""
        return {each: self._rows[each] for each in ids if each in self._rows}

    def blocks_of(self, rows: Sequence[int]) -> dict[str, Float32[np.ndarray, "n d"]]:
        """Similarity, or `shared`, → the vectors of some rows."""
        return {name: block[list(rows)] for name, block in self.blocks.items()}

    def images_of(self, rows: Sequence[int]) -> list[bytes]:
        """Their pictures, as files hold them."""
        return [self.catalog.image_bytes(row) for row in rows]

    def values_of(self, rows: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Their ids, as `id`, and what they have in those of the columns that there are, as `labels`."""
        whole = self.catalog.table
        table = whole.select(whole[name] for name in columns if name in whole.columns)
        return [{"id": self.ids[row], "labels": table.row(row, named=True) if table.width else {}} for row in rows]

    def search(self, query: Query, weights: Weights | None = None, *, k: int = 10, where: str | None = None) -> Hits:
        """The k items with the highest Σ_c w_c cos(z_c, q_c), those that the query is made of left out. Of equals, the
        catalog's first come first.

        **Arguments:**

        - `weights`: see `mix`.
        - `k`: at most so many; fewer where fewer pass.
        - `where`: a condition on the catalog's columns in SQL, such as `gender = 'Women' AND year > 2012`.

        **Raises:** `UserError` for weights or a condition that cannot be, and k below 1.
        """
        check_count(k)
        weighed = mix(weights, self.similarities)
        return self.ranked(query, self.cosines(query, weighed), weighed, k=k, where=where)

    def cosines(self, query: Query, names: Iterable[str] | None = None) -> dict[str, Float32[np.ndarray, " n"]]:
        """How near every item is to the query under each similarity, or under those named."""
        return {name: self.blocks[name] @ query.blocks[name] for name in (self.blocks if names is None else names)}

    def ranked(
        self,
        query: Query,
        cosines: Mapping[str, Float32[np.ndarray, " n"]],
        weighed: Mapping[str, float],
        *,
        k: int,
        where: str | None = None,
    ) -> Hits:
        """`search` where the cosines of all that weighs are known: another mix of them costs a sum."""
        score = np.zeros(len(self), dtype=np.float32)
        for name, weight in weighed.items():
            score += np.float32(weight) * cosines[name]
        allowed = self.passing(where)
        allowed[list(query.rows)] = False
        candidates = np.flatnonzero(allowed)
        rows = candidates[best(score[candidates], k)]
        near = {
            name: cosines[name][rows] if name in cosines else block[rows] @ query.blocks[name]
            for name, block in self.blocks.items()
        }
        return Hits(rows, score[rows], near, dict(weighed))

    def passing(self, where: str | None) -> Bool[np.ndarray, " n"]:
        """Which items a condition lets pass. **Raises** `UserError` for one that cannot be read, or is none."""
        if where is None:
            return np.ones(len(self), dtype=bool)
        check_condition(where)
        table = self.catalog.table
        try:
            found = table.select(pl.sql_expr(where).alias("passing"))["passing"]
        # A decimal of 200 digits makes polars panic.
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError) as error:
            told = first_line(error).partition("; valid columns")[0]
            raise not_read(where, told, table.columns) from None
        if found.dtype != pl.Boolean:
            raise no_condition(where)
        passed = np.array(found.fill_null(value=False))
        return passed if len(passed) == len(self) else np.full(len(self), passed[0])

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in reversed(list(enumerate(self.ids)))}

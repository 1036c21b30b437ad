"""The table of an index, opened: its items by id, and search under any mix."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from mscon.errors import UserError, first_line
from mscon.files import digest
from mscon.run import Run
from mscon.search.collection import Hits, Query, best, check_count
from mscon.search.condition import check_condition, no_condition, not_read, whole
from mscon.search.index.kinds import kind_of
from mscon.search.index.layout import ABOUT, HEADS, About, matrix
from mscon.search.index.scan import scan
from mscon.search.mix import Weights, mix
from mscon.settings import SHARED

FEW = 20_000
"""Rows that a condition lets pass, up to which all of them are looked at, whatever approximate index there is."""

REFINED = 4
"""Times as many candidates as are asked for, whose score is then taken from the vectors themselves."""


@dataclass(frozen=True, eq=False)
class Index:
    """A table of items with a vector under each similarity, on a disk or in an object store.

    - `source`: its folder or address.
    - `table`: LanceDB's, as it was when it was opened; `about`: what it is of.
    """

    source: str
    table: Any
    about: About

    @classmethod
    def open(cls, source: str, run: Run | None = None) -> "Index":
        """**Raises** `UserError` where there is none, or, with a `run`, for one that another model has made."""
        if "://" not in source and not Path(source).exists():  # connecting would make the folder
            raise UserError(f"{source}: there is no index: make one with mscon index")
        database = connect(source)
        try:
            text = database.open_table(ABOUT).to_arrow()["json"][0].as_py()
            about = About.from_json(text, source)
            index = cls(source, database.open_table(about.items), about)
            about.check(index.table.schema)
        except (ValueError, KeyError, IndexError, RuntimeError, OSError) as error:
            raise UserError(f"{source}: there is no index: make one with mscon index ({first_line(error)})") from None
        if run is not None and index.about.model != digest(run.model_path):
            raise UserError(
                f"{source} was made by another model than that of {run.folder}, with whose vectors its own cannot be"
                " compared: name the run that made it, or make the index anew with mscon index … --replace"
            )
        return index

    def __len__(self) -> int:
        return self.table.count_rows()

    @property
    def similarities(self) -> list[str]:
        """Those that the run was trained on."""
        return list(self.about.heads)

    @property
    def ids(self) -> list[str]:
        """The names of all items."""
        with self._reading():
            return self.table.search().select(["id"]).to_arrow()["id"].to_pylist()

    def rows_of(self, ids: Sequence[str]) -> dict[str, int]:
        """The rows of the items with these names, of those that there are."""
        known = [name for name in ids if name.encode(errors="ignore").decode() == name]  # a file's may be no UTF-8
        if not known:
            return {}
        with self._reading():
            found = self.table.search().where(among(known)).select(["id"]).with_row_id(True).to_arrow()
        return dict(zip(found["id"].to_pylist(), found["_rowid"].to_pylist(), strict=True))

    def blocks_of(self, rows: Sequence[int]) -> dict[str, Float32[np.ndarray, "n d"]]:
        """Similarity, or `shared`, → the vectors of some rows."""
        columns = [HEADS, SHARED] if self.about.shared else [HEADS]
        found = self._take(rows, columns)
        heads = matrix(found[HEADS])
        blocks = {SHARED: matrix(found[SHARED])} if self.about.shared else {}
        return blocks | {name: np.ascontiguousarray(heads[:, place]) for name, place in self.about.places.items()}

    def images_of(self, rows: Sequence[int]) -> list[bytes]:
        """Their pictures, small, as JPEG files."""
        return self._take(rows, ["picture"])["picture"].to_pylist()

    def values_of(self, rows: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Their ids, as `id`, and what they have in those of the columns that there are, as `labels`."""
        wanted = {name: here for name in columns if (here := self.about.column(name)) is not None}
        found = self._take(rows, ["id", *wanted.values()]).select(["id", *wanted.values()]).to_pylist()
        return [{"id": each["id"], "labels": {name: each[here] for name, here in wanted.items()}} for each in found]

    def search(self, query: Query, weights: Weights | None = None, *, k: int = 10, where: str | None = None) -> Hits:
        """The k items with the highest Σ_c w_c cos(z_c, q_c), those that the query is made of left out.

        By the approximate index where the weights are of a kind for which it was measured to find what an exact search
        finds, and scores are exact all the same; else by looking at every row, or every one that passes.

        **Arguments:**

        - `weights`: see `mix`.
        - `k`: at most so many; fewer where fewer pass.
        - `where`: a condition on the columns in SQL, such as `gender = 'Women' AND year > 2012`.

        **Raises:** `UserError` for weights or a condition that cannot be, and k below 1.
        """
        check_count(k)
        weighed = mix(weights, self.similarities)
        if SHARED in weighed and not self.about.shared:
            raise UserError(f"--weight {SHARED}: {self.source} was made without the shared embedding")
        passing = self.count(where)
        wanted = min(k + len(query.rows), passing)
        chosen = self.about.approximate
        probes = chosen.probes.get(kind_of(weighed, self.similarities), 0) if chosen else 0
        rows: list[int] = []
        if chosen and probes and wanted and (where is None or passing > FEW):
            # The fewer pass, the farther apart they lie: as many that pass are looked at as of all without a condition.
            wider = min(chosen.partitions, ceil(probes * len(self) / passing))
            rows = self.near(query, weighed, wanted, probes=wider, where=where)
        if len(rows) < wanted:
            heads = self.heads_vector(query, weighed)[None] if set(weighed) - {SHARED} else None
            shared = np.float32(weighed[SHARED]) * query.blocks[SHARED][None] if SHARED in weighed else None
            with self._reading():
                rows = scan(self.table, heads, shared, wanted, where)[0][0].tolist()
        rows = [row for row in rows if row not in query.rows]
        blocks = self.blocks_of(rows)
        cosines = {name: block @ query.blocks[name] for name, block in blocks.items()}
        score = np.zeros(len(rows), dtype=np.float32)
        for name, weight in weighed.items():
            score += np.float32(weight) * cosines[name]
        order = best(score, k)
        numbers = np.array(rows, dtype=np.int64)[order]
        return Hits(numbers, score[order], {name: each[order] for name, each in cosines.items()}, weighed)

    def count(self, where: str | None) -> int:
        """How many rows a condition lets pass. **Raises** `UserError` for one that cannot be read, or is none."""
        if where is not None:
            check_condition(where)
        try:
            return self.table.count_rows(whole(where))
        except Exception as error:  # some conditions make LanceDB panic, which it passes on as an error of its own
            told = first_line(error)
            if where is None:
                raise self._unreadable(error) from None
            if "boolean" in told:
                raise no_condition(where) from None
            why = told.partition(". Valid fields")[0]
            raise not_read(where, why, ["id", *self.about.labels]) from None

    def near(
        self, query: Query, weighed: dict[str, float], count: int, *, probes: int, where: str | None = None
    ) -> list[int]:
        """So many rows by an approximate index, best first: by a similarity's own where it is the only one."""
        only = next(iter(weighed)) if len(weighed) == 1 else None
        if only is not None and self.about.apart:
            column, vector = self.about.own[only], query.blocks[only]
        else:
            column, vector = HEADS, self.heads_vector(query, weighed)
        asking = self.table.search(vector, vector_column_name=column).distance_type("dot").nprobes(probes)
        asking = asking.refine_factor(REFINED).limit(count).select(["_distance"]).with_row_id(True)
        if where is not None:
            asking = asking.where(whole(where), prefilter=True)
        with self._reading():
            return asking.to_arrow()["_rowid"].to_pylist()

    def heads_vector(self, query: Query, weighed: dict[str, float]) -> Float32[np.ndarray, " z"]:
        """[w_1 q_1 … w_C q_C], with which `z` is multiplied."""
        return np.concatenate([np.float32(weighed.get(name, 0.0)) * query.blocks[name] for name in self.about.heads])

    def _take(self, rows: Sequence[int], columns: list[str]) -> Any:
        """Some rows, in the order asked for."""
        with self._reading():
            if len(rows) == 0:
                return self.table.search().select(columns).limit(1).to_arrow().slice(0, 0)
            found = self.table.take_row_ids(list(rows)).select(columns).with_row_id().to_arrow()
        place = {row: number for number, row in enumerate(found["_rowid"].to_pylist())}
        return found.take([place[row] for row in rows])

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """**Raises** `UserError` for what LanceDB raises of files that are gone, cut or hurt."""
        try:
            yield
        except (RuntimeError, OSError, ValueError) as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> UserError:
        return UserError(
            f"{self.source}: the index cannot be read ({first_line(error)}). If its files are hurt, make it anew: mscon"
            " index … --replace"
        )


def connect(source: str) -> Any:
    """LanceDB on a folder or an address. **Raises** `UserError` without the extra, and where it cannot be."""
    os.environ.setdefault("LANCEDB_LOG", "error")  # it warns of a table that is not there before it makes it
    try:
        import lancedb
    except ImportError:
        raise UserError('an index needs LanceDB: pip install "mscon[search]"') from None
    try:
        return lancedb.connect(source)
    except (ValueError, RuntimeError, OSError) as error:
        raise UserError(f"{source}: no index can be there: {first_line(error)}") from None


def among(ids: Sequence[str]) -> str:
    """A condition that lets the items of these names pass."""
    quoted = ", ".join("'" + each.replace("'", "''") + "'" for each in ids)
    return f"id IN ({quoted})"

"""Columns, values and ids that are called as nothing should be come out of an index, and of its dumps, as they are."""

from pathlib import Path

import polars as pl
import pytest

from mscon.data import Catalog
from mscon.run import Run
from mscon.search import Space

COLUMNS = (
    *("shared", "z_x", "z", "score", "embedding", "stamp", "picture", "_rowid", "_distance", "rowid", "ID", "Id"),
    *("", ".", "..", "a/b", "a.b", "a_b", "a`b", "x y", '"q"', "ünï", "a\nb", "<b>"),
)
VALUE = "v\u202e\"'\n<b>;--"


def test_odd_names_come_out_right(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="the extra `search` is not installed")
    from mscon.search.index import Index, index_catalog
    from mscon.search.index.dump import dump_pgvector, dump_qdrant

    run = Run.open(two_runs[1])
    table = pl.read_parquet(run.recipe.catalog.source).head(12)
    ids = [f"<i>{row}' ; \n\u202e/../" for row in range(len(table))]
    odd = [pl.Series(name, [f"{VALUE}{row % 3}" for row in range(len(table))]) for name in COLUMNS]
    path = tmp_path / "odd.parquet"
    table.with_columns(pl.Series("id", ids), *odd).write_parquet(path)
    assert Space.of(run, str(path)).ids == ids
    index_catalog(run, Catalog.read(str(path)), str(tmp_path / "odd.lance"))
    index = Index.open(str(tmp_path / "odd.lance"), run)
    assert index.ids == ids
    names = index.about.labels[-len(COLUMNS) :]
    (second,) = index.values_of([index.rows_of([ids[1]])[ids[1]]], names)
    assert second == {"id": ids[1], "labels": dict.fromkeys(names, f"{VALUE}1")}
    for name in names:
        column, value = name.replace('"', '""'), f"{VALUE}1".replace("'", "''")
        assert index.count(f"\"{column}\" = '{value}'") == 4
    dump_qdrant(index, tmp_path / "qdrant")
    dump_pgvector(index, tmp_path / "pgvector")
    assert index_catalog(run, Catalog.read(str(path)), str(tmp_path / "odd.lance")).same == len(ids)

"""What an index refuses, what it can hold, and what is left when it is killed while it replaces another."""

import datetime as dt
import os
import signal
import subprocess
import sys
from dataclasses import replace as replaced
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from mscon.data import Catalog
from mscon.errors import UserError
from mscon.run import Run
from mscon.search import query_of
from mscon.search.index import Index, delete_items, index_catalog
from mscon.search.index.kinds import EVEN
from mscon.search.index.layout import ANEW, ITEMS, Approximate
from mscon.search.index.place import alone
from mscon.search.index.table import connect


def shop(catalog: Path, rows: int = 5) -> pl.DataFrame:
    """A few items of the catalog, by absolute paths."""
    return pl.read_parquet(catalog).head(rows).with_columns(image=pl.lit(f"{catalog.parent}/") + pl.col("image"))


def written(table: pl.DataFrame, path: Path) -> Catalog:
    table.write_parquet(path)
    return Catalog.read(str(path), image="image")


def test_odd_columns_are_kept(run: Run, catalog: Path, tmp_path: Path) -> None:
    odd = {
        "a.b": pl.Series([1, 2, None, 4, 5]),
        "back`tick": pl.Series(["x"] * 5),
        "Heel Height": pl.Series([1.5, 2.5, None, 4.5, 5.5]),
        'it\'s "so"': pl.Series([1] * 5),
        "tags": pl.Series([["a", "it's"], [], None, ["b"], ["c"]]),
        "nothing": pl.Series([[], [], [], [], []]),
        "struct": pl.Series([{"x.y": 1, "z": None}, None, {"x.y": 2, "z": None}, None, None]),
        "price": pl.Series([Decimal("1.50"), None, Decimal("2.25"), None, None]),
        "true": pl.Series([True, None, False, None, True]),
        "day": pl.Series([dt.date(2024, 2, 29)] * 5),
        "when": pl.Series([1_000_000_123] * 5).cast(pl.Datetime("ns")),
        "huge": pl.Series([1] * 5, dtype=pl.Int128),
        "kinds": pl.Series([["a"], ["b"], None, [], ["a"]], dtype=pl.List(pl.Categorical)),
    }
    place = str(tmp_path / "odd.lance")
    table = shop(catalog).with_columns(**odd)
    source = written(table, tmp_path / "odd.parquet")
    assert index_catalog(run, source, place).added == 5
    index = Index.open(place)
    rows = list(index.rows_of(["sku 0"]).values())
    found = index.values_of(rows, list(odd))[0]["labels"]
    assert (found["a.b"], found["back`tick"]) == (1, "x")
    assert found["struct"] == {"x.y": 1, "z": None}
    assert found["when"] == dt.datetime(1970, 1, 1, 0, 0, 1)
    assert (found["tags"], found["kinds"], found["price"]) == (["a", "it's"], ["a"], Decimal("1.50"))
    for where, count in (('"Heel Height" > 2', 3), ("array_has(tags, 'it''s')", 1), ('"true"', 2), ("a_b IS NULL", 1)):
        assert index.count(where) == count
    assert index_catalog(run, source, place).same == 5
    turned = written(table.select(reversed(table.columns)), tmp_path / "odd.parquet")
    assert index_catalog(run, turned, place).same == 5, "the order of columns is no change"


def test_odd_ids(run: Run, catalog: Path, tmp_path: Path) -> None:
    names = ["it's", "nul\0", "鞋 'ü\"", "a\\b", "; DROP TABLE items"]
    place = str(tmp_path / "odd.lance")
    index_catalog(run, written(shop(catalog).with_columns(id=pl.Series(names)), tmp_path / "odd.parquet"), place)
    index = Index.open(place)
    assert set(index.rows_of(names)) == set(names)
    assert delete_items(place, [names[0], names[1]]) == 3
    assert set(Index.open(place).ids) == set(names[2:])


def test_ids_that_mean_nothing_elsewhere_are_not_mixed(run: Run, catalog: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "bytes.lance")
    pictures = [(catalog.parent / f"{row}.png").read_bytes() for row in range(4)]
    first, second = (pl.DataFrame({"image": each}) for each in (pictures[:2], pictures[2:]))
    once = written(first, tmp_path / "first.parquet")
    assert index_catalog(run, once, place).added == 2
    assert index_catalog(run, once, place).same == 2, "the same catalog again is no other"
    with pytest.raises(UserError, match=r"their places in .*second.parquet, but .*first.parquet.*--id"):
        index_catalog(run, written(second, tmp_path / "second.parquet"), place)
    with pytest.raises(UserError, match="by a column of ids, but"):
        index_catalog(run, written(shop(catalog), tmp_path / "shop.parquet"), place)
    gap = shop(catalog).with_columns(id=pl.when(pl.col("id") != "sku 3").then("id"))
    with pytest.raises(UserError, match="row 3 has no id in column 'id'"):
        index_catalog(run, written(gap, tmp_path / "gap.parquet"), str(tmp_path / "gap.lance"))


def test_columns_of_another_type_and_empty_catalogs_are_refused(run: Run, catalog: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "shop.lance")
    index_catalog(run, written(shop(catalog), tmp_path / "shop.parquet"), place)
    worded = shop(catalog).with_columns(year=pl.lit("soon"))
    with pytest.raises(UserError, match=r"column 'year' holds String, which .* cannot hold as int64"):
        index_catalog(run, written(worded, tmp_path / "worded.parquet"), place)
    with pytest.raises(UserError, match="has no rows: there is nothing to index"):
        index_catalog(run, Catalog.read(str(catalog)).take([]), place)
    database = connect(str(tmp_path / "own.lance"))
    database.create_table(ITEMS, pl.DataFrame({"mine": [1]}).to_arrow())
    for replace in (False, True):
        with pytest.raises(UserError, match="was not made by mscon"):
            index_catalog(run, Catalog.read(str(catalog)), str(tmp_path / "own.lance"), replace=replace)
    assert database.open_table(ITEMS).count_rows() == 1


def test_an_index_without_items_finds_nothing(mscon, run: Run, catalog: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "empty.lance")
    index_catalog(run, written(shop(catalog), tmp_path / "shop.parquet"), place)
    assert delete_items(place, [f"sku {row}" for row in range(5)]) == 0
    code, out, err = mscon("search", run.folder, catalog.parent / "3.png", "--index", place)
    assert (code, out.strip()) == (0, "nothing found: there is no other item"), err
    index = Index.open(place)
    built = replaced(index.about, approximate=Approximate(60_000, 244, {EVEN: 8}))
    query = query_of(run, index, [catalog.parent / "3.png"])
    assert len(Index(place, index.table, built).search(query).rows) == 0
    for to in ("qdrant", "pgvector"):
        assert mscon("export-index", place, "--to", to, "-o", tmp_path / to)[0] == 0
    code, _, err = mscon("explore", run.folder, "--index", place)
    assert code == 2
    assert "empty.lance holds no items: there is nothing to look at" in err


def test_a_search_makes_no_folder(mscon, run: Run, tmp_path: Path) -> None:
    for words in (["search", run.folder, "sku 3", "--index"], ["index", run.folder, "--delete", "sku 3", "--to"]):
        code, _, err = mscon(*words, tmp_path / "typo.lance")
        assert code == 2
        assert "there is no index" in err
        assert not (tmp_path / "typo.lance").exists()


def test_one_command_writes_at_a_time(run: Run, catalog: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "shop.lance")
    source = written(shop(catalog), tmp_path / "shop.parquet")
    index_catalog(run, source, place)
    with alone(place):
        for work in (lambda: index_catalog(run, source, place), lambda: delete_items(place, ["sku 1"])):
            with pytest.raises(UserError, match="another command is writing into it"):
                work()
    assert delete_items(place, ["sku 1", "sku 1"]) == 4


REPLACED = """
import os, signal, sys
from pathlib import Path
from mscon.data import Catalog
from mscon.run import Run
from mscon.search.index import index_catalog, place, update

update.ROWS = 2
folder, source, to = sys.argv[1:]
written = place.Place.add
def killed(self, table, *rest, **more):
    if table is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return written(self, table, *rest, **more)
place.Place.add = killed
index_catalog(Run.open(Path(folder)), Catalog.read(source), to, half=True, replace=True)
"""


def test_an_index_is_replaced_only_by_a_whole_one(run: Run, catalog: Path, tmp_path: Path) -> None:
    to, source = str(tmp_path / "shop.lance"), tmp_path / "shop.parquet"
    index_catalog(run, written(shop(catalog), source), to)
    shop(catalog, 7).write_parquet(source)
    words = [sys.executable, "-c", REPLACED, str(run.folder), str(source), to]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, env=os.environ)
    assert done.returncode == -signal.SIGKILL, done.stderr
    old = Index.open(to, run)
    assert (len(old), old.about.half) == (5, False), "what was there is there"
    catalog_now = Catalog.read(str(source))
    for items, other in ((ANEW, ITEMS), (ITEMS, ANEW)):
        assert index_catalog(run, catalog_now, to, half=True, replace=True).rows == 7
        new = Index.open(to, run)
        assert (new.about.items, new.about.half, len(new)) == (items, True, 7)
        assert other not in connect(to).list_tables().tables
    assert index_catalog(run, catalog_now, to, half=True).same == 7

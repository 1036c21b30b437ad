"""A catalog in a database: found as in memory, changed by id, killed at any moment."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mscon.data import Catalog
from mscon.data.labels import LabelColumn
from mscon.errors import UserError
from mscon.model import build_model
from mscon.run import Run
from mscon.search import SHARED, Query, Space, query_of
from mscon.search.index import Index, approximate, delete_items, index_catalog
from mscon.search.index.kinds import EVEN, NEGATIVE, OTHER, UNEVEN, kind_of, samples
from mscon.search.index.layout import ABOUT, ITEMS, About, arrow
from mscon.search.index.place import Place
from mscon.search.index.table import connect

COUNT = 60


@pytest.fixture(scope="module")
def table(run: Run, catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("lance") / "shop.lance")
    found = index_catalog(run, Catalog.read(str(catalog)), place)
    assert (found.added, found.changed, found.same, found.rows) == (COUNT - 1, 0, 0, COUNT - 1)
    assert [(each.row, each.id) for each in found.skipped] == [(7, "sku 7")]
    return place


@settings(max_examples=30, deadline=None)
@given(
    weights=st.dictionaries(st.sampled_from([SHARED, "colour", "form"]), st.floats(-2, 2), min_size=1).filter(
        lambda weights: any(abs(each) > 1e-3 for each in weights.values())
    ),
    row=st.integers(0, COUNT - 2),
    k=st.integers(1, COUNT + 5),
    where=st.sampled_from([None, "year > 2005", "colour = 'g' AND year <> 2003", "year > 3000"]),
)
def test_it_finds_what_the_catalog_in_memory_finds(
    run: Run, space: Space, table: str, weights: dict[str, float], row: int, k: int, where: str | None
) -> None:
    index = Index.open(table, run)
    name = space.ids[row]
    wanted = space.search(query_of(run, space, [name]), weights, k=k, where=where)
    found = index.search(query_of(run, index, [name]), weights, k=k, where=where)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-5)
    assert found.weights == wanted.weights
    ids = [each["id"] for each in index.values_of(found.rows.tolist(), [])]
    there = {space.ids[each]: place for place, each in enumerate(wanted.rows)}
    assert len(ids) == len(there)
    for place, each in enumerate(ids):
        if each in there:  # of those that are as good as the last, either may have another
            for name, cosines in found.cosines.items():
                assert cosines[place] == pytest.approx(wanted.cosines[name][there[each]], abs=1e-5)
    assert sum(each not in there for each in ids) <= 1


DATES = (
    *("day >= DATE '2024-01-31'", "day BETWEEN DATE '2024-01-31' AND DATE '2024-02-03'", "day IN (DATE '2024-02-01')"),
    *("moment < TIMESTAMP '2024-01-31 12:00:00'", "moment >= DATE '2024-02-01'", "zoned >= DATE '2024-02-01'"),
)


def test_dates_and_text_learned_as_numbers_are_compared_as_such_in_memory_and_in_an_index(
    run: Run, catalog: Path, tmp_path: Path
) -> None:
    days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 2, 29), eager=True)
    moments = days.cast(pl.Datetime) + timedelta(hours=12)
    table = pl.read_parquet(catalog).with_columns(
        image=pl.lit(f"{catalog.parent}/") + pl.col("image"),
        price=pl.lit(" ") + pl.int_range(pl.len()).cast(pl.String),
        day=days,
        moment=moments.cast(pl.Datetime("ns")),
        zoned=moments.dt.replace_time_zone("UTC"),
    )
    table.write_parquet(tmp_path / "dated.parquet")
    learned = replace(run, labels=run.labels | {"price": LabelColumn("price", "continuous")})
    space = Space.of(learned, str(tmp_path / "dated.parquet"))
    index_catalog(learned, Catalog.read(str(tmp_path / "dated.parquet")), str(tmp_path / "dated.lance"))
    index = Index.open(str(tmp_path / "dated.lance"), learned)
    rest = table.with_row_index().filter(pl.col("index") != 7)  # which has no image
    number = pl.col("price").str.strip_chars().cast(pl.Float64)
    assert space.passing("price > 9.5").sum() == index.count("price > 9.5") == len(rest.filter(number > 9.5))
    for where in DATES:
        assert 0 < space.passing(where).sum() == index.count(where) < len(rest), where
    for where in ("day >= '2024-01-31'", "moment = '2024-01-31'"):
        for count in (space.passing, index.count):
            with pytest.raises(UserError, match="a date, too, behind DATE"):
                count(where)


def test_labels_and_pictures_are_in_it(run: Run, space: Space, table: str) -> None:
    index = Index.open(table, run)
    rows = list(index.rows_of(["sku 3", "sku 40", "nothing"]).values())
    assert index.values_of(rows, ["form", "year", "price"]) == [
        {"id": "sku 3", "labels": {"form": "<b>round</b>", "year": 2003}},
        {"id": "sku 40", "labels": {"form": "[red]square", "year": 2000}},
    ]
    assert all(picture.startswith(b"\xff\xd8") for picture in index.images_of(rows))
    by_picture = query_of(run, index, [Path(space.catalog.root) / "3.png"])
    best = index.search(by_picture, k=1)
    assert best.rows.tolist() == rows[:1]
    assert best.scores[0] == pytest.approx(2, abs=1e-4), "a picture is found as the item it is"


def test_what_is_there_is_left_alone_and_what_changed_is_not(run: Run, catalog: Path, tmp_path: Path) -> None:
    place, folder = str(tmp_path / "shop.lance"), catalog.parent
    shop = pl.read_parquet(catalog).with_columns(image=pl.lit(f"{folder}/") + pl.col("image"))
    own = tmp_path / "own.png"
    own.write_bytes((folder / "5.png").read_bytes())
    first = shop.with_columns(image=pl.when(pl.col("id") == "sku 5").then(pl.lit(str(own))).otherwise("image"))

    def write(table: pl.DataFrame) -> tuple[int, int, int, int]:
        table.write_parquet(tmp_path / "shop.parquet")
        found = index_catalog(run, Catalog.read(str(tmp_path / "shop.parquet")), place)
        return found.added, found.changed, found.same, found.rows

    assert write(first.head(30)) == (29, 0, 0, 29)
    version = Index.open(place).table.version
    assert write(first.head(30)) == (0, 0, 29, 29)
    assert Index.open(place).table.version == version, "nothing is written where nothing has changed"
    assert write(first.slice(20, 20)) == (10, 0, 10, 39), "items that a catalog does not name are kept"
    repriced = first.head(30).with_columns(form=pl.when(pl.col("id") == "sku 2").then(pl.lit("oval")).otherwise("form"))
    assert write(repriced) == (0, 1, 28, 39)
    before = Index.open(place).blocks_of([Index.open(place).rows_of(["sku 5"])["sku 5"]])
    Image.new("RGB", (9, 9), "red").save(own)
    assert write(repriced) == (0, 1, 28, 39)
    index = Index.open(place)
    rows = index.rows_of(["sku 2", "sku 5"])
    assert index.values_of([rows["sku 2"]], ["form"])[0]["labels"] == {"form": "oval"}
    assert not np.allclose(index.blocks_of([rows["sku 5"]])[SHARED], before[SHARED]), "another picture, another vector"
    assert delete_items(place, ["sku 2", "sku 5"], run) == 37
    assert Index.open(place).rows_of(["sku 2", "sku 5", "sku 6"]).keys() == {"sku 6"}
    assert write(repriced) == (2, 0, 27, 39)
    extra = first.tail(3).with_columns(price=pl.lit(3.5)).drop("year")
    extra.write_parquet(tmp_path / "extra.parquet")
    found = index_catalog(run, Catalog.read(str(tmp_path / "extra.parquet")), place)
    assert (found.added, found.left_out) == (3, ("price",))
    index = Index.open(place)
    assert index.values_of(list(index.rows_of(["sku 59"]).values()), ["year"])[0]["labels"] == {"year": None}


def test_half_precision_and_heads_alone(run: Run, space: Space, catalog: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "small.lance")
    index_catalog(run, Catalog.read(str(catalog)), place, half=True, heads_only=True)
    index = Index.open(place)
    query = query_of(run, space, ["sku 3"])
    found = index.search(Query(query.blocks, (), ()), {"colour": 1.0}, k=5)
    wanted = space.search(Query(query.blocks, (), ()), {"colour": 1.0}, k=5)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=2e-3)
    with pytest.raises(UserError, match="made without the shared embedding"):
        index.search(query, {SHARED: 1.0})
    plain = str(tmp_path / "plain.lance")
    index_catalog(run, Catalog.read(str(catalog)), plain)
    with pytest.raises(UserError, match="are for a new index"):
        index_catalog(run, Catalog.read(str(catalog)), plain, half=True)


def test_a_column_named_like_one_of_its_own_gives_way(run: Run, catalog: Path, tmp_path: Path) -> None:
    table = pl.read_parquet(catalog).with_columns(
        image=pl.lit(f"{catalog.parent}/") + pl.col("image"),
        z=pl.lit("Z"),
        stamp=pl.lit(7),
        shared=pl.lit(value=True),
        kind=pl.col("form").cast(pl.Categorical),
        blob=pl.lit(b"\0"),
        long=pl.lit(None),
    )
    table.head(4).write_parquet(tmp_path / "odd.parquet")
    index_catalog(run, Catalog.read(str(tmp_path / "odd.parquet"), image="image"), str(tmp_path / "odd.lance"))
    index = Index.open(str(tmp_path / "odd.lance"))
    assert index.count("z_ = 'Z' AND stamp_ = 7 AND shared_ AND kind = '[red]square' AND long IS NULL") == 2
    assert "blob" not in index.about.labels


def test_mistakes_are_explained(run: Run, catalog: Path, table: str, tmp_path: Path) -> None:
    index = Index.open(table)
    query = query_of(run, index, ["sku 3"])
    for where, message in (("prize > 3", "No field named prize.*Columns: id, colour"), ("year", "is no condition")):
        with pytest.raises(UserError, match=message):
            index.search(query, where=where)
    for where in ("year > 2001 price > 1", "year > 2001, price > 1", "year > 2001 LIMIT 1"):
        with pytest.raises(UserError, match="--where"):  # of which LanceDB would read the beginning alone
            index.search(query, where=where)
    with pytest.raises(UserError, match="at least one item"):
        index.search(query, k=0)
    with pytest.raises(UserError, match=r"neither an id of .*Did you mean 'sku 3'"):
        query_of(run, index, ["sku3"])
    with pytest.raises(UserError, match="there is no index: make one with mscon index"):
        Index.open(str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="has no item 'sku 99', nor 1 more"):
        delete_items(table, ["sku 3", "sku 99", "sku 98"])
    assert len(Index.open(table)) == COUNT - 1, "then nothing is deleted"
    twice = pl.concat([pl.read_parquet(catalog)] * 2).with_columns(image=pl.lit(f"{catalog.parent}/") + pl.col("image"))
    twice.write_parquet(tmp_path / "twice.parquet")
    with pytest.raises(UserError, match="rows 0 and 60 have the same id, 'sku 0'"):
        index_catalog(run, Catalog.read(str(tmp_path / "twice.parquet")), str(tmp_path / "twice.lance"))
    other = Run(tmp_path / "other", run.recipe, run.labels)
    other.folder.mkdir()
    build_model("test_resnet", {"colour": 8, "form": 8}, image_size=16, stages=[], head_width=16).save(other.model_path)
    with pytest.raises(UserError, match="made by another model"):
        Index.open(table, other)
    with pytest.raises(UserError, match="made by another model"):
        index_catalog(other, Catalog.read(str(catalog)), table)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="no index can be there"):
        index_catalog(run, Catalog.read(str(catalog)), str(tmp_path / "file"))


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from mscon.data import Catalog
from mscon.run import Run
from mscon.search.index import index_catalog, update

folder, source, out, times = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
update.ROWS = 8
rng = random.Random(0)

def child(place):
    pid = os.fork()  # before LanceDB is loaded, whose threads a child would not have
    if pid == 0:
        index_catalog(Run.open(Path(folder)), Catalog.read(source), str(place))
        os._exit(0)
    return pid

started = time.monotonic()
os.waitpid(child(out.with_name("whole.lance")), 0)
whole = time.monotonic() - started
killed = finished = 0
while killed < times:
    pid = child(out)
    time.sleep(rng.uniform(0, whole))
    os.kill(pid, signal.SIGKILL)
    cut_short = os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    killed += cut_short
    if not cut_short and killed < times:
        finished += 1
        out.rename(out.with_name(f"finished-{finished}.lance"))
os.waitpid(child(out), 0)
print(killed)
"""


@pytest.mark.timeout(900)  # of a machine with other work
def test_killed_again_and_again_it_ends_with_the_same_rows(run: Run, catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.lance"
    words = [sys.executable, "-c", KILLED, str(run.folder), str(catalog), str(out), "8"]
    environment = os.environ | {"MSCON_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(words, capture_output=True, text=True, timeout=800, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 8
    tables = [
        connect(str(place)).open_table(ITEMS).to_arrow().sort_by("id") for place in (out, *tmp_path.glob("*.lance"))
    ]
    assert len(tables) >= 2
    for each in tables[1:]:
        assert each.equals(tables[0])


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, np.ndarray]]:
    """3,000 items in clusters that differ from similarity to similarity."""
    place = str(tmp_path_factory.mktemp("synthetic") / "items.lance")
    rng = np.random.default_rng(0)
    blocks: dict[str, np.ndarray] = {}
    for name, clusters, width in (("colour", 12, 16), ("form", 40, 16), ("use", 5, 8), (SHARED, 20, 24)):
        centres = rng.normal(size=(clusters, width))
        z = centres[rng.integers(clusters, size=3000)] + 0.4 * rng.normal(size=(3000, width))
        blocks[name] = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
    heads = {name: block.shape[1] for name, block in blocks.items() if name != SHARED}
    about = About(model="", heads=heads, shared=24, half=False, apart=True, labels=["number"])
    ids = [str(row) for row in range(3000)]
    rows = arrow(about, ids, blocks, pl.DataFrame({"number": range(3000)}), [b""] * 3000, [""] * 3000)
    Place(place, connect(place), None).add(None, rows, about, changed=False)
    return place, blocks


def test_an_approximate_index_is_used_where_it_finds_enough(synthetic: tuple[str, dict[str, np.ndarray]]) -> None:
    place, blocks = synthetic
    index = Index.open(place)
    found, measured = approximate(index)
    assert found.rows == 3000
    assert [each.kind for each in measured] == ["colour alone", "form alone", "use alone", EVEN, UNEVEN, NEGATIVE]
    assert found.probes == {each.kind: each.probes for each in measured if each.serves}
    chance = np.random.default_rng(1)
    for each in measured:
        assert 0 <= each.recall <= 1
        assert each.serves == (each.recall - each.error >= 0.95 and each.milliseconds < each.exact_milliseconds)
        hits = []
        for row in chance.choice(3000, 40, replace=False):
            mix = samples(index.similarities)[each.kind](chance)
            query = Query({name: block[row] for name, block in blocks.items()}, (), ())
            score = np.sum([weight * (blocks[name] @ query.blocks[name]) for name, weight in mix.items()], axis=0)
            best = set(np.argsort(-score, kind="stable")[:10].tolist())
            rows = index.near(query, mix, 10, probes=each.probes)
            hits.append(len(best & {int(one["id"]) for one in index.values_of(rows, [])}) / 10)
        assert np.mean(hits) == pytest.approx(each.recall, abs=0.1), f"{each.kind}: what was measured holds"


def test_scores_by_an_approximate_index_are_exact(synthetic: tuple[str, dict[str, np.ndarray]]) -> None:
    place, blocks = synthetic
    index = Index.open(place)
    found, _ = approximate(index)
    every = dict.fromkeys(samples(index.similarities), found.partitions)
    about = About(**{**vars(index.about), "approximate": type(found)(found.rows, found.partitions, every)})
    looking = Index(place, index.table, about)
    query = Query({name: block[5] for name, block in blocks.items()}, (5,), ())
    for mix in ({"form": 1.0}, {"colour": 1.0, "form": 1.0, "use": 1.0}, {"colour": 1.0, "use": -0.5}):
        hits = looking.search(query, mix, k=10)
        score = np.sum([weight * (blocks[name] @ query.blocks[name]) for name, weight in mix.items()], axis=0)
        score[5] = -9
        np.testing.assert_allclose(hits.scores, np.sort(score)[::-1][:10], atol=1e-5)
        assert 5 not in hits.rows


def test_kinds_of_weights() -> None:
    names = ["a", "b", "c"]
    assert kind_of({"b": 3.0}, names) == "b alone"
    assert kind_of({"a": 1.0, "b": 2.0, "c": 1.5}, names) == EVEN
    assert kind_of({"a": 1.0, "b": 1.0}, names) == UNEVEN, "one of three counts nothing"
    assert kind_of({"a": 1.0, "b": 0.1, "c": 0.1}, names) == UNEVEN
    assert kind_of({"a": 1.0, "b": -0.5}, names) == NEGATIVE
    for odd in ({"a": -1.0}, {"a": 1.0, "b": -1.0, "c": -1.0}, {"a": 1.0, SHARED: 1.0}):
        assert kind_of(odd, names) == OTHER
    assert list(samples(["a"])) == ["a alone"]
    for kind, draw in samples(names).items():
        for seed in range(20):
            assert kind_of(draw(np.random.default_rng(seed)), names) == kind


def test_the_command_writes_searches_and_deletes(mscon, run: Run, catalog: Path, tmp_path: Path) -> None:
    code, out, err = mscon("index", run.folder, catalog, "--to", "shop.lance")
    assert code == 0, err
    assert "59 added, 0 changed, 0 as they were: 59 items in shop.lance" in out
    assert "left out: row 7 (sku 7)" in out
    code, out, err = mscon(
        "search",
        run.folder,
        "sku 3",
        "--index",
        "shop.lance",
        "-w",
        "form=1",
        "--format",
        "json",
        "--sheet",
        tmp_path / "sheet.png",
        "--where",
        "year < 2010",
    )
    assert code == 0, err
    assert '"form"' in out
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    code, out, err = mscon("index", run.folder, "--to", "shop.lance", "--delete", "sku 3", "--delete", "sku 4")
    assert (code, out.strip()) == (0, "2 deleted, 57 left: shop.lance"), err
    for words, message in (
        (["index", run.folder, "--to", "shop.lance"], "name the catalog"),
        (["index", run.folder, catalog, "--to", "shop.lance", "--delete", "sku 9"], "leave out the catalog"),
        (["index", run.folder, "--to", "shop.lance", "--delete", "sku 9", "--replace"], "every option but --to"),
        (["search", run.folder, "sku 9", "--index", "shop.lance", "--catalog", catalog], "in place of a catalog"),
    ):
        code, _, err = mscon(*words)
        assert code == 2
        assert message in " ".join(err.split())


def test_about_is_of_this_format(tmp_path: Path) -> None:
    import pyarrow as pa

    database = connect(str(tmp_path / "old.lance"))
    database.create_table(ITEMS, pa.table({"id": ["a"]}))
    for text, message in (('{"format": 0}', "another version of mscon"), ("{}", "not an index of mscon")):
        database.create_table(ABOUT, pa.table({"json": [text]}), mode="overwrite")
        with pytest.raises(UserError, match=message):
            Index.open(str(tmp_path / "old.lance"))


def test_an_index_whose_files_are_cut_is_told_with_what_to_do(run: Run, table: str, tmp_path: Path) -> None:
    cut = shutil.copytree(table, tmp_path / "cut.lance")
    query = query_of(run, Index.open(table, run), ["sku 3"])
    for file in cut.rglob("*.lance"):
        if file.is_file() and file.relative_to(cut).parts[0].startswith(ITEMS):
            os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(UserError, match=r"cut\.lance.* index .*--replace"):
        Index.open(str(cut), run).search(query)

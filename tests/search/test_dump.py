"""An index as files for other databases: what they hold scores as the index does, and real databases read it."""

import datetime as dt
import getpass
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from mscon.errors import UserError
from mscon.search import SHARED, Query
from mscon.search.index import Index
from mscon.search.index.dump import dump_pgvector, dump_qdrant, pgvector, qdrant
from mscon.search.index.layout import About, arrow, label_names
from mscon.search.index.place import Place
from mscon.search.index.table import connect

HEADS, COUNT = {"colour": 4, 'odd "name"': 3}, 50
MIXES = ({"colour": 1.0}, {"colour": 1.0, 'odd "name"': -0.5}, {SHARED: 1.0})

ODD: dict[str, list[Any]] = {
    "text": ['it\'s "so"', "tab\tline\nback\\slash \\N", None, "", r"\.", "ünï → 鞋"],
    "mix": ["a label of that name", *[None] * 5],
    "tags": [["a", 'q"uo,te', "b\\s", None, "NULL", ""], [], None, ["x"], ["{", "}"], [" "]],
    "nested": [{"x": 1, "y": ["p", None]}, None, {"x": None, "y": []}, {"x": 4, "y": ["\\u0000"]}, None, None],
    "when": [dt.datetime(2024, 2, 29, 13, 1, 2, 345), None, *[dt.datetime(1970, 1, 1)] * 4],
    "day": [dt.date(2024, 2, 29), None, *[dt.date(1970, 1, 1)] * 4],
    "price": [Decimal("12.50"), None, *[Decimal("-0.01")] * 4],
    "ratio": [float("nan"), None, float("inf"), 1e-300, -0.5, 3.0],
    "true": [True, False, None, True, True, False],
    "large": [2**63 - 1, None, -(2**63), 0, 1, 2],
    "a name of " + "ü" * 40 + " 1": [1, 2, 3, 4, 5, 6],
    "a name of " + "ü" * 40 + " 2": [6, 5, 4, 3, 2, 1],
    "select": ["order by", *[None] * 5],
}


def made(folder: Path, labels: pl.DataFrame, *, half: bool = False, heads: dict[str, int] = HEADS) -> Index:
    """An index of drawn vectors."""
    rng = np.random.default_rng(0)
    blocks = {name: rng.normal(size=(len(labels), width)) for name, width in (heads | {SHARED: 5}).items()}
    blocks = {
        name: (block / np.linalg.norm(block, axis=1, keepdims=True)).astype(np.float32)
        for name, block in blocks.items()
    }
    labels = labels.rename(label_names(labels.columns, list(heads)))
    about = About(model="", heads=heads, shared=5, half=half, apart=False, labels=labels.columns)
    ids = [f"sku '{row}'\t\\" for row in range(len(labels))]
    rows = arrow(about, ids, blocks, labels, [b""] * len(ids), [""] * len(ids))
    Place(str(folder), connect(str(folder)), None).add(None, rows, about, changed=False)
    return Index.open(str(folder))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    labels = pl.DataFrame({name: [values[row % 6] for row in range(COUNT)] for name, values in ODD.items()})
    return made(tmp_path_factory.mktemp("dump") / "odd.lance", labels)


def wanted(index: Index, row: int, mix: dict[str, float]) -> tuple[list[float], dict[str, float]]:
    """The vector of a mix around an item, by which `mix` or `shared` is asked; and the ten best, by the index."""
    blocks = {name: block[0] for name, block in index.blocks_of([row]).items()}
    hits = index.search(Query(blocks, (), ()), mix, k=10)
    ids = [each["id"] for each in index.values_of(hits.rows.tolist(), [])]
    heads = np.concatenate([mix.get(name, 0.0) * blocks[name] for name in HEADS])
    asked = blocks[SHARED] if SHARED in mix else heads
    return asked.tolist(), dict(zip(ids, hits.scores.tolist(), strict=True))


def points_of(folder: Path) -> list[dict[str, Any]]:
    return [each for path in sorted(folder.glob("points-*.json")) for each in json.loads(path.read_text())["points"]]


def test_qdrants_points_score_as_the_index_does(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant, "BYTES", 5_000)
    seen: list[tuple[int, int]] = []
    dump_qdrant(index, tmp_path / "q", progress=lambda done, count: seen.append((done, count)))
    assert seen[-1] == (COUNT, COUNT)
    assert len(list((tmp_path / "q").glob("points-*.json"))) > 3
    assert all(path.stat().st_size < 8_000 for path in (tmp_path / "q").glob("points-*.json"))
    vectors = json.loads((tmp_path / "q" / "collection.json").read_text())["vectors"]
    points = points_of(tmp_path / "q")
    assert len({each["id"] for each in points}) == COUNT
    for each in points:
        assert each["id"] == str(uuid.uuid5(uuid.NAMESPACE_OID, each["payload"]["id"]))
        assert {name: len(vector) for name, vector in each["vector"].items()} == {
            name: about["size"] for name, about in vectors.items()
        }
    first = points[0]["payload"]
    assert first["text"] == ODD["text"][0]
    assert first["tags"] == ODD["tags"][0]
    assert (first["price"], first["ratio"], first["when"]) == (12.5, None, "2024-02-29T13:01:02.000345")
    for mix in MIXES:
        asked, best = wanted(index, 7, mix)
        name = SHARED if SHARED in mix else "mix"
        scores = {each["payload"]["id"]: float(np.dot(each["vector"][name], asked)) for each in points}
        assert sorted(scores.values(), reverse=True)[:10] == pytest.approx(list(best.values()), abs=1e-5)
        assert all(scores[id] == pytest.approx(score, abs=1e-5) for id, score in best.items())


def test_qdrant_reads_them(index: Index, tmp_path: Path) -> None:
    client_of = pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
    dump_qdrant(index, tmp_path / "q")
    client, models = client_of.QdrantClient(":memory:"), client_of.models
    vectors = json.loads((tmp_path / "q" / "collection.json").read_text())["vectors"]
    client.create_collection("items", {name: models.VectorParams(**each) for name, each in vectors.items()})
    client.upsert("items", [models.PointStruct(**each) for each in points_of(tmp_path / "q")])
    for mix in MIXES:
        asked, best = wanted(index, 7, mix)
        using = SHARED if SHARED in mix else "mix"
        found = client.query_points("items", query=asked, using=using, limit=10).points
        assert [each.score for each in found] == pytest.approx(list(best.values()), abs=1e-5)


def test_copys_lines_give_back_every_value(index: Index, tmp_path: Path) -> None:
    dump_pgvector(index, tmp_path / "p")
    lines = (tmp_path / "p" / "items.copy").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    assert len(lines) == COUNT
    place = 1 + list(pgvector.column_names(index)).index("text")
    unescaped = {r"\\": "\\", r"\t": "\t", r"\n": "\n"}
    for row in range(6):
        cell = lines[row].split("\t")[place]
        value = ODD["text"][row]
        assert (cell == r"\N") == (value is None)
        for short, plain in sorted(unescaped.items(), key=lambda each: each[0] != r"\\"):
            cell = cell.replace(short, "\0" if plain == "\\" else plain)
        assert value is None or cell.replace("\0", "\\") == value
    names = pgvector.column_names(index)
    assert len(set(names.values())) == len(names)
    assert all(len(name.encode()) <= 63 for name in names.values())
    assert names["mix"] == "mix_"


@pytest.mark.parametrize(
    ("width", "half", "line"),
    [
        (1996, False, 'USING hnsw ("mix" vector_ip_ops)'),
        (1997, False, 'USING hnsw (("mix"::halfvec(2001)) halfvec_ip_ops)'),
        (1997, True, 'USING hnsw ("mix" halfvec_ip_ops)'),
        (3997, False, '-- "mix" has 4001 numbers'),
    ],
)
def test_wide_vectors_are_indexed_as_pgvector_can(width: int, half: bool, line: str, tmp_path: Path) -> None:
    wide = made(tmp_path / "wide.lance", pl.DataFrame({"n": [1, 2]}), half=half, heads={"a": width, "b": 4})
    dump_pgvector(wide, tmp_path / "p")
    assert line in (tmp_path / "p" / "indexes.sql").read_text()
    assert ("halfvec" in (tmp_path / "p" / "schema.sql").read_text()) == half


def test_types() -> None:
    for kind, name in (
        (pa.list_(pa.list_(pa.string())), "jsonb"),
        (pa.list_(pa.int64()), "bigint[]"),
        (pa.struct({"a": pa.int8()}), "jsonb"),
        (pa.uint64(), "numeric(20)"),
        (pa.uint8(), "smallint"),
        (pa.timestamp("us", "UTC"), "timestamptz"),
        (pa.decimal128(9, 2), "numeric(9,2)"),
        (pa.binary(), "jsonb"),
    ):
        assert pgvector.sql_type(kind) == name


def test_mistakes_are_explained_and_leave_nothing(index: Index, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    for dump in (dump_qdrant, dump_pgvector):
        with pytest.raises(UserError, match="is there already: name a folder that is empty or not there"):
            dump(index, tmp_path / "full")
    for bad in ("a\0b", ["a\0b"], {"x": "a\0b"}):
        nul = made(tmp_path / f"nul {type(bad).__name__}", pl.DataFrame({"fine": [1], "bad": [bad]}))
        with pytest.raises(UserError, match="column 'bad': there is a NUL"):
            dump_pgvector(nul, tmp_path / "nul out")
        assert not list(tmp_path.glob("*nul out*"))


def test_the_command(index: Index, mscon, tmp_path: Path) -> None:
    for to in ("qdrant", "pgvector"):
        code, out, err = mscon("export-index", index.source, "--to", to, "-o", tmp_path / to)
        assert code == 0, err
        assert f"{COUNT} items written: " in out
        text = (tmp_path / to / "README.md").read_text()
        assert "colour" in text
        assert "{{" not in text
    code, _, err = mscon("export-index", tmp_path / "nothing", "--to", "qdrant", "-o", tmp_path / "more")
    assert code == 2
    assert "there is no index" in err


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A PostgreSQL of our own, as the words that psql is called with."""
    programs = [shutil.which(name) for name in ("initdb", "pg_ctl", "psql")]
    if None in programs:
        pytest.skip("PostgreSQL's initdb, pg_ctl and psql are not on the path")
    initdb, pg_ctl, psql = map(str, programs)
    folder = tmp_path_factory.mktemp("pg")
    user: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        if shutil.which("runuser") is None or subprocess.run(["id", "postgres"], capture_output=True).returncode:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        user = ["runuser", "-u", "postgres", "--"]
        folder = Path(subprocess.run([*user, "mktemp", "-d"], capture_output=True, text=True).stdout.strip())
    data = str(folder / "data")
    begun = subprocess.run([*user, initdb, "-D", data, "-A", "trust", "-E", "UTF8"], capture_output=True, cwd="/")
    if begun.returncode:
        pytest.skip(f"initdb does not run here: {begun.stderr.decode()[-200:]}")
    options = f"-c listen_addresses='' -k {folder} -c fsync=off"
    subprocess.run(
        [*user, pg_ctl, "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start"], check=True, cwd="/"
    )
    name = "postgres" if user else getpass.getuser()
    words = [psql, "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-h", str(folder), "-U", name, "-d", "postgres"]
    try:
        asked = "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"
        if subprocess.run([*words, "-c", asked], capture_output=True, check=True).stdout.strip() != b"1":
            pytest.skip("this PostgreSQL has no pgvector")
        yield words
    finally:
        subprocess.run([*user, pg_ctl, "-D", data, "-m", "immediate", "stop"], check=True, cwd="/", capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def test_postgres_reads_them(index: Index, server: list[str], tmp_path: Path) -> None:
    dump_pgvector(index, tmp_path / "p")
    copy = "\\copy items FROM 'items.copy' WITH (ENCODING 'UTF8')"
    words = [*server, "-f", "schema.sql", "-c", copy, "-f", "indexes.sql"]
    loaded = subprocess.run(words, cwd=tmp_path / "p", capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr

    def ask(sql: str) -> list[Any]:
        told = f"SELECT coalesce(json_agg(x), '[]') FROM ({sql}) x"
        return json.loads(subprocess.run([*server, "-c", told], check=True, capture_output=True, text=True).stdout)

    rows = {each["id"]: each for each in ask("SELECT * FROM items")}
    assert len(rows) == COUNT
    for row in range(6):
        found = rows[f"sku '{row}'\t\\"]
        for name in ("text", "tags", "nested", "true", "large", "select"):
            assert found[name] == ODD[name][row], name
        assert found["price"] == (None if ODD["price"][row] is None else float(ODD["price"][row]))
        assert found["day"] == (ODD["day"][row] and ODD["day"][row].isoformat())
    for mix in MIXES:
        asked, best = wanted(index, 7, mix)
        by = f"{SHARED if SHARED in mix else 'mix'} <#> '{asked}'"
        found = ask(f"SELECT id, -({by}) AS score FROM items ORDER BY {by} LIMIT 10")
        assert [each["score"] for each in found] == pytest.approx(list(best.values()), abs=1e-5)

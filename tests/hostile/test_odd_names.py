"""Columns, values and ids that are called as nothing should be: every command takes them and leaves them as they are,
or the recipe says at once that it does not.
"""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import polars as pl
import pytest

from mscon.data import Catalog
from mscon.errors import UserError
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.search import Space
from shown_page import shown

COLUMNS = (
    *("shared", "z_x", "z", "score", "embedding", "stamp", "picture", "_rowid", "_distance", "rowid", "ID", "Id"),
    *(".", "..", "a.b", "a`b", "a_b", "", "a/b", "x y", '"q"', "ünï", "a\nb", "<b>", "*"),
)
VALUE = "v\u202e\"'\n<b>;--"

NAMES = (
    "*",
    "../a.b/`c`",
    '<script>alert("1")</script>',
    "it's a=b:c\n[/red]",
    "x" * 300,
    "Ab",
    "aB",
    "CON",
    "embedding",
)
"""Of similarities: like patterns, paths, markup, options, devices and columns of ours; too long, and alike but for
capitals.
"""


def test_odd_names_come_out_right(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="the extra `search` is not installed")
    from mscon.search.index import Index, index_catalog
    from mscon.search.index.dump import dump_pgvector, dump_qdrant

    run = Run.open(two_runs[1])
    table = pl.read_parquet(run.recipe.catalog.source).head(12)
    ids = [f"<i>{row}' ; \n\u202e/../" for row in range(len(table))]
    odd = [pl.Series(name, [f"{name}{VALUE}{row % 3}" for row in range(len(table))]) for name in COLUMNS]
    path = tmp_path / "odd.parquet"
    table.with_columns(pl.Series("id", ids), *odd).write_parquet(path)
    assert Space.of(run, str(path)).ids == ids
    index_catalog(run, Catalog.read(str(path)), str(tmp_path / "odd.lance"))
    index = Index.open(str(tmp_path / "odd.lance"), run)
    assert index.ids == ids
    (second,) = index.values_of([index.rows_of([ids[1]])[ids[1]]], COLUMNS)
    assert second == {"id": ids[1], "labels": {name: f"{name}{VALUE}1" for name in COLUMNS}}
    assert index.about.column("a_b") == "a_b"
    for name in COLUMNS:
        column, value = (index.about.column(name) or "").replace('"', '""'), f"{name}{VALUE}1".replace("'", "''")
        assert index.count(f"\"{column}\" = '{value}'") == 4
    dump_qdrant(index, tmp_path / "qdrant")
    dump_pgvector(index, tmp_path / "pgvector")
    assert index_catalog(run, Catalog.read(str(path)), str(tmp_path / "odd.lance")).same == len(ids)
    pl.read_parquet(path).rename({"a_b": "a__b"}).write_parquet(path)
    assert index_catalog(run, Catalog.read(str(path)), str(tmp_path / "odd.lance")).left_out == ("a__b",)


@pytest.fixture(scope="module")
def odd(letters: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table whose labels are called `NAMES`, and a run that has learned them."""
    from mscon.train import train

    folder = tmp_path_factory.mktemp("odd")
    table = pl.read_parquet(letters).filter(pl.col("character").is_in(list("aR"))).select("id", "image", "split")
    rows = pl.int_range(pl.len())
    labels = [pl.format("{} {}", pl.lit(name), rows // (place + 1) % 3).alias(name) for place, name in enumerate(NAMES)]
    table.with_columns(labels).write_parquet(folder / "odd.parquet")
    recipe = Recipe.of(
        {
            "catalog": {"source": str(folder / "odd.parquet"), "ood": [NAMES[-1]]},
            "similarities": {name: {} for name in NAMES[:-1]},
            "image": {"size": 16},
            "model": {"backbone": "test_resnet", "stages": [{"stage": -1, "grid": 1}], "head_dim": 4, "head_width": 8},
            "objective": {"item_uncertainty": True},
            "training": {"epochs": 1, "batch_size": 32, "precision": "32-true", "device": "cpu"},
        }
    )
    train(recipe, folder / "run")
    return folder


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.iterdir()}


def done(mscon, *words: object) -> str:
    code, out, err = mscon(*words)
    assert code == 0, err
    return out


def test_a_command_line_names_them_and_nothing_is_written_elsewhere(mscon, odd: Path, tmp_path: Path) -> None:
    first, more = NAMES[0], [f"--similarity={name}:categorical" for name in NAMES[2:-1]]
    column = NAMES[1].replace('"', '\\"')
    out = done(
        mscon, "inspect", odd / "odd.parquet", f"--similarity={first}", *more, "--ood", NAMES[-1],
        "-s", f'similarities."1=2.3".column="{column}"', "-s", "image.size=16",
    )  # fmt: skip
    assert all(name.split("\n")[0][:20] in out for name in (*NAMES[2:], "1=2.3", first))
    assert written(odd) == {"odd.parquet", "run"}
    assert written(tmp_path) == set()
    again = Recipe.read(odd / "run" / "recipe.toml")
    assert tuple(again.similarities) == NAMES[:-1]


def test_they_name_what_a_training_logs_and_an_embedding_holds(mscon, odd: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(odd / "run" / "tensorboard"))
    events.Reload()
    assert {f"train/loss/{name}" for name in NAMES[:-1]} <= set(events.Tags()["scalars"])
    done(mscon, "embed", odd / "run", odd / "odd.parquet", "-o", "vectors.parquet")
    columns = [f"{what}_{name}" for what in ("z", "uncertainty") for name in NAMES[:-1]]
    assert list(pl.read_parquet_schema(tmp_path / "vectors.parquet")) == ["id", "embedding", *columns]


def test_pages_show_them_as_words(mscon, odd: Path) -> None:
    done(mscon, "evaluate", odd / "run")
    done(mscon, "audit", odd / "run")
    assert set(json.loads((odd / "run" / "evaluation.json").read_text())["labels"]) == set(NAMES)
    assert set(pl.read_parquet(odd / "run" / "audit.parquet")["similarity"]) <= set(NAMES)
    for name in ("report.html", "audit.html"):
        page = Parsed((odd / "run" / name).read_text(encoding="utf-8"))
        assert not {"script", "img", "iframe"} & set(page.tags)
        assert len(set(page.ids)) == len(page.ids)
        words = " ".join(page.text.split())
        assert all(" ".join(each.split()) in words for each in NAMES[:-1])
    assert written(odd) == {"odd.parquet", "run"}


class Parsed(HTMLParser):
    """A page's elements, their ids, and its words, as a browser finds them."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.ids, self.text = list[str](), list[str](), ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [str(value) for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_they_weigh_in_searches_of_a_catalog_and_an_index(mscon, odd: Path, tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="the extra `search` is not installed")
    from mscon.search.index import Index
    from mscon.search.index.dump.pgvector import vector_names

    item = pl.read_parquet(odd / "odd.parquet")["id"][0]
    weights = [f"--weight={name}={0.5 + place}" for place, name in enumerate(NAMES[:-1])]
    asked = ["search", odd / "run", item, *weights, "--format", "json", "-k", 3]
    here = json.loads(done(mscon, *asked, "--sheet", "found.png"))
    assert here["weights"] == {name: 0.5 + place for place, name in enumerate(NAMES[:-1])}
    done(mscon, "index", odd / "run", odd / "odd.parquet", "--to", "odd.lance")
    there = json.loads(done(mscon, *asked, "--index", "odd.lance", "--where", f"\"Ab\" <> '' AND \"{NAMES[3]}\" <> ''"))
    assert [each["id"] for each in there["items"]] == [each["id"] for each in here["items"]]
    assert [each["labels"] for each in there["items"]] == [each["labels"] for each in here["items"]]
    assert set(there["items"][0]["labels"]) == set(NAMES)
    for to in ("qdrant", "pgvector"):
        done(mscon, "export-index", "odd.lance", "--to", to, "-o", to)
    named = vector_names(Index.open("odd.lance"))
    assert len(set(named.values())) == len(named) == len(NAMES) + 1
    assert max(len(name.encode()) for name in named.values()) <= 63
    in_table = re.findall(r'^    "((?:[^"]|"")*)" vector', (tmp_path / "pgvector" / "schema.sql").read_text(), re.M)
    assert [each.replace('""', '"') for each in in_table] == list(named.values())
    assert len(json.loads((tmp_path / "qdrant" / "collection.json").read_text())["vectors"]) == len(NAMES) + 1
    assert written(tmp_path) == {"found.png", "odd.lance", "qdrant", "pgvector"}


def test_they_name_the_outputs_of_an_exported_file(mscon, odd: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    done(mscon, "export", odd / "run", "-o", "run.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "run.onnx")
    columns = [f"{what}_{name}" for what in ("z", "uncertainty") for name in NAMES[:-1]]
    assert [each.name for each in session.get_outputs()] == ["embedding", *columns]


@pytest.fixture(scope="module")
def page(odd: Path) -> Iterator[str]:
    """The address of the run's page."""
    pytest.importorskip("gradio", reason="the extra `explore` is not installed")
    with shown(Run.open(odd / "run")) as page:
        yield page.address


def test_the_page_is_asked_by_them(page: str, odd: Path) -> None:
    with urlopen(page) as answer:
        assert b'<script>alert("1")' not in answer.read()
    for name in NAMES[:-1]:
        with urlopen(f"{page}maps?space={quote(name, safe='')}") as answer:
            assert answer.status in (200, 202)
    with urlopen(f"{page}tabs/training") as answer:
        drawn = Parsed(answer.read().decode())
    assert "script" not in drawn.tags
    assert NAMES[0] in drawn.text
    assert written(odd) == {"odd.parquet", "run"}


REFUSED = {
    "": "nobody sees",
    " \n": "nobody sees",
    "a\x1b[2J": r"U\+001B in its name",
    "a\0": r"U\+0000 in its name",
    "a\x9bb": r"U\+009B in its name",
    "a\u202eb": r"U\+202E in its name",
}


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_a_name_that_is_not_what_one_sees_is_refused_with_the_recipe(name: str) -> None:
    with pytest.raises(UserError, match=f"{REFUSED[name]}.*similarities.OTHER.column") as told:
        Recipe.of({"catalog": {"source": "x"}, "similarities": {name: {}}})
    assert "\x1b" not in str(told.value)
    with pytest.raises(UserError, match=f"{REFUSED[name]}.*rename the column"):
        Recipe.of({"catalog": {"source": "x", "ood": [name]}, "similarities": {"a": {}}})
    Recipe.of({"catalog": {"source": "x"}, "similarities": {"a": {"column": name}}})


def test_the_shared_embeddings_name_is_refused_with_the_recipe() -> None:
    with pytest.raises(UserError, match="'shared' cannot be told from the shared embedding"):
        Recipe.of({"catalog": {"source": "x"}, "similarities": {"shared": {}}})


def test_a_class_commands_no_terminal(mscon, letters: Path, tmp_path: Path) -> None:
    table = pl.read_parquet(letters).select("id", "image", "split")
    classes = pl.Series("look", ["\x1b]0;mine\x07red\x1b[2J", "b\u202elue", "\x9b1mgreen"])
    table = table.with_columns(classes.sample(len(table), with_replacement=True, seed=0))
    table.write_parquet(tmp_path / "look.parquet")
    out = done(mscon, "inspect", "look.parquet", "--similarity", "look", "-s", "image.size=16")
    assert "red�[2J" in out
    assert "b�lue" in out
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", out)

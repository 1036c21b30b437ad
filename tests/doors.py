"""The doors of the package: every place where a stranger's input comes in, what may be brought, and who answers.

The law of all: it is let in, or a `UserError` says in a sentence what is wrong. Never another exception, a hang, or
memory without end. `tests/hostile/test_doors.py` tries each for a moment, `benchmarks/fuzz.py` for as long as asked.
"""

import io
import json
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st
from PIL import Image

from mscon.errors import UserError
from mutation import changed_bytes, changed_json, changed_tree, scalars, texts


@dataclass(frozen=True, eq=False)
class House:
    """What stands behind the doors: two runs, and a folder for what is brought.

    - `runs`: trained and evaluated; `folder`: to write into.
    """

    runs: tuple[Path, Path]
    folder: Path

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder, which is gone afterwards."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            yield Path(name)

    @contextmanager
    def changed_run(self, changed: dict[str, bytes]) -> Iterator[Path]:
        """The first run with some of its files replaced."""
        with self.scratch() as folder:
            shutil.copytree(self.runs[0], folder / "run", ignore=shutil.ignore_patterns("tensorboard", "*.html"))
            for name, data in changed.items():
                (folder / "run" / name).write_bytes(data)
            yield folder / "run"

    @cached_property
    def space(self) -> Any:
        """The second run's catalog in memory."""
        from mscon.run import Run
        from mscon.search import Space

        return Space.of(Run.open(self.runs[1]))

    @cached_property
    def index(self) -> Any:
        """The second run's catalog as an index on the disk."""
        from mscon.data import Catalog
        from mscon.run import Run
        from mscon.search.index import Index, index_catalog

        run, where = Run.open(self.runs[1]), str(self.folder / "letters.lance")
        index_catalog(run, Catalog.read(run.recipe.catalog.source), where)
        return Index.open(where, run)


@dataclass(frozen=True)
class Door:
    """One way in: `brought`, what may come, and `enter`, which does with it what a user would."""

    name: str
    brought: Callable[[House], st.SearchStrategy[Any]]
    enter: Callable[[House, Any], object]


def knock(door: Door, house: House, given: Any) -> bool:
    """Whether what is given is let in; what is turned away is told why. Anything else is raised."""
    try:
        door.enter(house, given)
    except UserError as error:
        told = str(error)
        assert len(told) > 10, f"this says nothing: {told!r}"
        assert "Traceback" not in told
        assert " object at 0x" not in told
        return False
    return True


# ---------------------------------------------------------------- recipes


def _recipes(house: House) -> st.SearchStrategy[bytes]:
    import tomlkit

    text = (house.runs[0] / "recipe.toml").read_text(encoding="utf-8")

    def written(tree: Any) -> bytes:
        try:
            return tomlkit.dumps(tree).encode("utf-8", "replace")
        except (TypeError, ValueError, AttributeError, OverflowError):  # what TOML cannot hold
            return text.encode()

    huge = [b"a=" + b"[" * 50_000, b"a" + b".a" * 50_000 + b"=1", b"a=" + b"9" * 5_000, b"[a" + b".a" * 50_000 + b"]"]
    tables = st.recursive(scalars.filter(lambda each: each is not None), lambda inner: st.lists(inner, max_size=3))
    return (
        changed_tree(tomllib.loads(text), tables).map(written)
        | changed_bytes(text.encode())
        | st.sampled_from([*huge, b"", b"\xff\xfe"])
    )


def _read_recipe(house: House, data: bytes) -> None:
    from mscon.recipe import Recipe

    with house.scratch() as folder:
        (folder / "recipe.toml").write_bytes(data)
        recipe = Recipe.read(folder / "recipe.toml")
        (folder / "again.toml").write_text(recipe.to_toml(), encoding="utf-8")
        assert Recipe.read(folder / "again.toml") == recipe


def _overrides(_: House) -> st.SearchStrategy[tuple[str, str]]:
    keys = (
        "training.epochs",
        "similarities.a.kind",
        "catalog.ood",
        'similarities."a.b".kind',
        '"a"=1\nb',
        "image",
        "a..b",
    )
    values = ("3", "[1, 2]", "{a = 1}", "9" * 5000, "[" * 5000, "1\nb = 2", "1 # x", "1979-05-27", "")
    return st.tuples(st.sampled_from(keys) | texts, st.sampled_from(values) | texts)


def _set_value(_: House, given: tuple[str, str]) -> None:
    from mscon.recipe import Recipe, parse_value

    Recipe.of({"catalog": {"source": "x"}, "similarities": {"a": {}}}, {given[0]: parse_value(given[1])})


def _studies(_: House) -> st.SearchStrategy[bytes]:
    from mscon.experiments.tables import RECIPES

    text = (RECIPES / "studies" / "footwear.toml").read_bytes()
    huge = [b"a=" + b"[" * 50_000, b"like = ['footwear']", b"like = 1", b"like = 'footwear'\nfull = 3"]
    return changed_bytes(text) | st.sampled_from(huge)


def _read_study(house: House, data: bytes) -> None:
    from mscon.experiments.studies import study

    with house.scratch() as folder:
        (folder / "mine.toml").write_bytes(data)
        study(str(folder / "mine.toml"))


# ---------------------------------------------------------------- catalogs


def _picture(side: int = 6) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(side * side * 3, dtype=np.uint8).reshape(side, side, 3)).save(file, "PNG")
    return file.getvalue()


def _csv(_: House) -> st.SearchStrategy[bytes]:
    good = "id,image,colour,price,tags,split\n" + "".join(
        f'{row},{row % 2}.png,{"rgb"[row % 3]},{row}.5,"a,b",{"train" if row else "test"}\n' for row in range(8)
    )
    cells = st.lists(st.lists(texts, min_size=1, max_size=5), min_size=1, max_size=6)
    return changed_bytes(good.encode()) | cells.map(
        lambda rows: "\n".join(",".join(each) for each in rows).encode("utf-8", "replace")
    )


def _enter_folder(house: House, data: bytes) -> None:
    with house.scratch() as folder:
        for number in range(2):
            (folder / f"{number}.png").write_bytes(_picture())
        (folder / "metadata.csv").write_bytes(data)
        _use_catalog(str(folder))


def _parquet(house: House) -> st.SearchStrategy[bytes]:
    file = io.BytesIO()
    pl.read_parquet(house.runs[0].parent / "letters.parquet").head(12).write_parquet(file)
    return changed_bytes(file.getvalue())


def _enter_parquet(house: House, data: bytes) -> None:
    with house.scratch() as folder:
        (folder / "items.parquet").write_bytes(data)
        _use_catalog(str(folder / "items.parquet"))


def _use_catalog(source: object) -> None:
    """What a training does with a catalog before it trains: every column as a label, in every way it can be read."""
    from mscon.data import Catalog
    from mscon.data.items import known_by
    from mscon.data.splits import read_split

    catalog = Catalog.read(source)
    known_by(catalog)
    _or_told(lambda: read_split(catalog))
    for row in range(min(3, len(catalog))):
        _look_at(catalog, row)
    from mscon.data.labels import KINDS

    for name in catalog.table.columns[:6]:
        for kind in (None, *KINDS):
            _or_told(lambda name=name, kind=kind: _read_label(catalog, name, kind))


def _look_at(catalog: Any, row: int) -> None:
    from mscon.data.decode import DecodeError, decode

    with suppress(DecodeError):
        decode(catalog.image_bytes(row), size=8)


def _read_label(catalog: Any, name: str, kind: str | None) -> None:
    """A label that is read, and read again as a run has kept it, is the same."""
    from mscon.data.labels import LabelColumn, read_label

    label = read_label(catalog, name, kind)
    values, kept = label.read(catalog), LabelColumn.of_json(json.loads(json.dumps(vars(label))))
    assert len(values) == len(catalog)
    assert kept == label
    assert np.array_equal(values, kept.read(catalog), equal_nan=True)


def _or_told(work: Callable[[], Any]) -> Any:
    """What it returns; None where a `UserError` says why not."""
    with suppress(UserError):
        return work()
    return None


_COLUMNS: tuple[tuple[Any, st.SearchStrategy[Any]], ...] = (
    (pl.String, texts),
    (pl.Float64, st.floats()),
    (pl.Float32, st.floats(width=32)),
    (pl.Int64, st.integers(-(2**63), 2**63 - 1)),
    (pl.UInt8, st.integers(0, 255)),
    (pl.Boolean, st.booleans()),
    (pl.Binary, st.binary(max_size=5)),
    (pl.Date, st.dates()),
    (pl.Datetime("us"), st.datetimes()),
    (pl.Duration, st.timedeltas()),
    (pl.Time, st.times()),
    (pl.List(pl.String), st.lists(st.none() | texts, max_size=3)),
    (pl.List(pl.List(pl.Int8)), st.lists(st.lists(st.integers(0, 3), max_size=2), max_size=2)),
    (pl.Struct({"a": pl.Int64}), st.fixed_dictionaries({"a": st.integers(0, 3)})),
    (pl.Categorical, texts),
    (pl.Enum(["a", "b"]), st.sampled_from(["a", "b"])),
    (pl.Decimal(10, 2), st.decimals(-99, 99, places=2)),
    (pl.Null, st.none()),
)


def _columns(_: House) -> st.SearchStrategy[tuple[pl.Series, str | None]]:
    def column(dtype: Any, cells: st.SearchStrategy[Any]) -> st.SearchStrategy[pl.Series]:
        few = st.lists(st.none() | cells, min_size=1, max_size=4)
        rows = few.flatmap(lambda pool: st.lists(st.sampled_from(pool), min_size=1, max_size=12))
        return st.tuples(texts, rows).map(lambda both: pl.Series(both[0], both[1], dtype=dtype, strict=False))

    from mscon.data.labels import KINDS

    columns = st.one_of([column(dtype, cells) for dtype, cells in _COLUMNS])
    return st.tuples(columns, st.sampled_from([None, *KINDS]))


def _enter_column(_: House, given: tuple[pl.Series, str | None]) -> None:
    values, kind = given
    name = values.name if values.name != "image" else "label"
    table = pl.DataFrame({name: values, "image": [_picture()] * len(values)})
    from mscon.data import Catalog

    catalog = Catalog.read(table, image="image")
    _or_told(lambda: catalog.ids(name))
    _read_label(catalog, name, kind)


def _pairs(_: House) -> st.SearchStrategy[pl.DataFrame]:
    known, strengths = st.sampled_from(["0", "1", "2"]), st.sampled_from([1.0, 0.1, -0.3])
    good = st.lists(st.tuples(known, known, strengths), min_size=1, max_size=8)
    ids = known | st.sampled_from(["3"]) | st.none() | texts
    rows = good | st.lists(st.tuples(ids, ids, strengths | st.none() | st.floats()), min_size=1, max_size=8)
    names = st.permutations(["first", "second", "strength"]) | st.lists(texts, min_size=3, max_size=3, unique=True)
    schemas = st.tuples(names, st.integers(1, 3))
    return st.tuples(rows, schemas).map(
        lambda both: (
            pl.DataFrame(both[0], schema=["a", "b", "c"], orient="row", strict=False)
            .rename(dict(zip("abc", both[1][0], strict=True)))
            .select(both[1][0][: both[1][1]])
        )
    )


def _enter_pairs(_: House, table: pl.DataFrame) -> None:
    from mscon.data import Catalog
    from mscon.data.pairs import read_pairs

    items = pl.DataFrame({"id": ["0", "1", "2", "3", "3", None], "image": [_picture()] * 6})
    found = read_pairs(table, Catalog.read(items, image="image"))
    assert np.isfinite(found.strength).all()
    assert (found.strength > 0).all()
    assert (found.edges[:, 0] < found.edges[:, 1]).all()


# ---------------------------------------------------------------- images


def _images(_: House) -> st.SearchStrategy[bytes]:
    return st.sampled_from(_pictures()).flatmap(changed_bytes)


def _pictures() -> list[bytes]:
    """Files of every format, mode and oddity that is made in a moment."""
    colour = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8))
    made: list[tuple[Image.Image, str, dict[str, Any]]] = [
        *((colour, kind, {}) for kind in ("JPEG", "PNG", "WEBP", "GIF")),
        *((colour.convert("CMYK"), "JPEG", {"progressive": way}) for way in (False, True)),
        (colour.convert("RGBA"), "PNG", {"optimize": True}),
        (colour.convert("P"), "PNG", {"transparency": 0}),
        (Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100), "PNG", {}),
        (colour.convert("1"), "PNG", {}),
        (Image.new("RGB", (1, 1)), "PNG", {}),
        (Image.new("L", (1, 400)), "JPEG", {}),
        (colour, "GIF", {"save_all": True, "append_images": [colour.rotate(90), colour.rotate(180)]}),
        (colour, "WEBP", {"save_all": True, "append_images": [colour.rotate(90)], "lossless": True}),
    ]
    exif = Image.Exif()
    exif[0x0112] = 6
    made.append((colour, "JPEG", {"exif": exif}))
    files: list[bytes] = []
    for image, kind, options in made:
        file = io.BytesIO()
        image.save(file, kind, **options)
        files.append(file.getvalue())
    return files


def _enter_image(_: House, data: bytes) -> None:
    from mscon.data.decode import DecodeError, decode

    for fit in ("letterbox", "crop"):
        try:
            pixels = decode(data, size=16, fit=fit)
        except DecodeError as error:
            raise UserError(f"the picture: {error}") from error
        assert pixels.shape == (16, 16, 3)
        assert pixels.dtype == np.uint8


# ---------------------------------------------------------------- run folders

PAGES = ("evaluation.json", "metrics.jsonl", "ablation.json", "predictions.parquet")
"""Files that pages are drawn from, which takes some seconds."""

_JSON = ("labels.json", "evaluation.json")
_BINARY = ("model.safetensors", "split.parquet", "predictions.parquet")


def _run_files(house: House) -> st.SearchStrategy[tuple[str, bytes]]:
    one = house.runs[0]

    def of_json(name: str) -> st.SearchStrategy[tuple[str, bytes]]:
        found = json.loads((one / name).read_text(encoding="utf-8"))
        return changed_json(found).map(lambda text: (name, text.encode("utf-8", "replace")))

    lines = [json.loads(line) for line in (one / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    logged = changed_tree(lines).map(_lines).map(lambda text: ("metrics.jsonl", text.encode("utf-8", "replace")))
    ablated = {
        "scores": {"style": {"metric": "accuracy", "value": 0.5}},
        "effects": [{"label": "style", "without": "kind", "metric": "accuracy", "value": 0.1, "low": 0.0, "high": 0.2}],
        "notes": ["n"],
        "warnings": ["w"],
    }
    ablation = changed_json(ablated).map(lambda text: ("ablation.json", text.encode("utf-8", "replace")))
    names = st.sampled_from([*_BINARY, "recipe.toml"])
    binary = names.flatmap(lambda name: changed_bytes((one / name).read_bytes()).map(lambda data: (name, data)))
    return st.one_of(*map(of_json, _JSON), logged, ablation, binary, _weights(one / "model.safetensors"))


def _lines(records: Any) -> str:
    return "".join(json.dumps(each) + "\n" for each in (records if isinstance(records, list) else [records]))


def _weights(path: Path) -> st.SearchStrategy[tuple[str, bytes]]:
    """A model's file whose description says something else, or whose weights are others."""
    from safetensors import safe_open
    from safetensors.numpy import save

    with safe_open(path, framework="numpy") as file:
        metadata, weights = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    ((key, described),) = metadata.items()
    other = changed_json(json.loads(described)).map(lambda text: save(weights, {key: text}))

    def without(name: str, shape: tuple[int, ...] | None) -> bytes:
        rest = {each: value for each, value in weights.items() if each != name}
        return save(rest if shape is None else {**rest, name: np.zeros(shape, np.float32)}, metadata)

    shapes = st.none() | st.lists(st.integers(0, 9), max_size=4).map(tuple)
    broken = st.builds(without, st.sampled_from(sorted(weights)), shapes)
    return (other | broken).map(lambda data: ("model.safetensors", data))


def _enter_run(house: House, given: tuple[str, bytes]) -> None:
    """What opening, comparing, exploring and publishing a run read of its folder."""
    from mscon.explore.tabs import TABS, tab_page
    from mscon.export.card import model_card
    from mscon.report.compare import compare_runs, write_comparison
    from mscon.run import Run

    with house.changed_run(dict([given])) as folder:
        run = Run.open(folder)
        _or_told(run.items)
        model = _or_told(run.model)
        if model is not None:
            import torch

            side = model.architecture.image_size or 16
            _or_told(lambda: model.embed(torch.zeros(2, 3, min(side, 32), min(side, 32), dtype=torch.uint8)))
            _or_told(lambda: model_card(run, model, name="x"))
        if given[0] not in PAGES:
            return
        for name in TABS:
            tab_page(run, house.space, name)
        found = compare_runs([folder, house.runs[1]])
        write_comparison(found, folder / "page.html")


def _checkpoints(house: House) -> st.SearchStrategy[bytes]:
    path = max((house.runs[0] / "checkpoints").glob("*.safetensors"))
    return changed_bytes(path.read_bytes())


def _enter_checkpoint(house: House, data: bytes) -> None:
    import torch

    from mscon.checkpoint import load_checkpoint
    from mscon.run import Run

    model = Run.open(house.runs[0]).model()
    with house.scratch() as folder:
        (folder / "step.safetensors").write_bytes(data)
        load_checkpoint(folder / "step.safetensors", {"model": model}, torch.optim.AdamW(model.parameters()))


# ---------------------------------------------------------------- search

_CONDITIONS = (
    *("character = 'a'", "ink > 0.5", "style IS NULL", "weight IN ('bold', 'regular')", "NOT (ink BETWEEN 0 AND 1)"),
    *(
        "SELECT 1",
        "1; DROP TABLE items",
        "character = 'a'; --",
        "EXISTS (SELECT 1)",
        "ink > (SELECT max(ink) FROM self)",
    ),
    *("read_csv('/etc/passwd')", "character LIKE '%'", "character RLIKE '(a+)+$'", "regexp_like(character, '(a|a)*b')"),
    *("true", "1", "NULL", "*", "ink / 0 > 1", "CAST(character AS INT) = 1", "character = 1", "upper(character) = 'A'"),
    *("repeat(character, 1000000000) = 'a'", "array_has(style, 'a')", "ink = 'x' OR 1 = 1", '"', "`", "''", "(" * 300),
)


def _queries(_: House) -> st.SearchStrategy[tuple[str, list[str]]]:
    words = st.lists(
        st.sampled_from(["character=1", "style=-0.5", "shared=1", "a=nan", "=1", "x", "character=1e999"]) | texts,
        max_size=3,
    )
    wheres = (
        st.sampled_from(_CONDITIONS)
        | texts
        | st.sampled_from(_CONDITIONS).flatmap(
            lambda text: changed_bytes(text.encode()).map(lambda data: data.decode("utf-8", "replace"))
        )
    )
    return st.tuples(wheres, words)


def _search(collection: Any, given: tuple[str, list[str]]) -> None:
    from mscon.search import Query
    from mscon.search.mix import read_weights

    row = next(iter(collection.rows_of(collection.ids[:1]).values()))
    query = Query({name: block[0] for name, block in collection.blocks_of([row]).items()}, (), ())
    hits = collection.search(query, read_weights(given[1]), k=3, where=given[0])
    assert len(hits.rows) <= 3
    assert np.isfinite(hits.scores).all()


def _abouts(house: House) -> st.SearchStrategy[str]:
    return changed_json(json.loads(house.index.about.to_json()))


def _enter_about(house: House, text: str) -> None:
    import pyarrow as pa

    from mscon.search.index import Index
    from mscon.search.index.layout import ABOUT
    from mscon.search.index.table import connect

    where = house.index.source
    kept = house.index.about.to_json()
    connect(where).create_table(ABOUT, pa.table({"json": [text]}), mode="overwrite")
    try:
        _search(Index.open(where), ("true", []))
    finally:
        connect(where).create_table(ABOUT, pa.table({"json": [kept]}), mode="overwrite")


def _hub_configs(house: House) -> st.SearchStrategy[tuple[str, bytes]]:
    return _weights(house.runs[0] / "model.safetensors")


def _enter_hub(house: House, given: tuple[str, bytes]) -> None:
    from mscon.model import MSConModel

    with house.scratch() as folder:
        (folder / given[0]).write_bytes(given[1])
        (folder / "config.json").write_text('{"backbone": "other"}', encoding="utf-8")
        MSConModel.from_pretrained(folder)


DOORS = (
    Door("recipe", _recipes, _read_recipe),
    Door("--set", _overrides, _set_value),
    Door("study", _studies, _read_study),
    Door("folder with metadata.csv", _csv, _enter_folder),
    Door("Parquet", _parquet, _enter_parquet),
    Door("label column", _columns, _enter_column),
    Door("pairs", _pairs, _enter_pairs),
    Door("image", _images, _enter_image),
    Door("run folder", _run_files, _enter_run),
    Door("checkpoint", _checkpoints, _enter_checkpoint),
    Door("hub folder", _hub_configs, _enter_hub),
    Door("search in memory", _queries, lambda house, given: _search(house.space, given)),
    Door("search in an index", _queries, lambda house, given: _search(house.index, given)),
    Door("index", _abouts, _enter_about),
)

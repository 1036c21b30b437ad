"""The doors of catalogs: tables in files, columns of any type, pairs."""

import io
import json
from contextlib import suppress
from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st
from PIL import Image

from doors.house import House, or_told
from mutation import changed_bytes, texts


def _picture(side: int = 6) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(side * side * 3, dtype=np.uint8).reshape(side, side, 3)).save(file, "PNG")
    return file.getvalue()


def csv(_: House) -> st.SearchStrategy[bytes]:
    good = "id,image,colour,price,tags,split\n" + "".join(
        f'{row},{row % 2}.png,{"rgb"[row % 3]},{row}.5,"a,b",{"train" if row else "test"}\n' for row in range(8)
    )
    cells = st.lists(st.lists(texts, min_size=1, max_size=5), min_size=1, max_size=6)
    return changed_bytes(good.encode()) | cells.map(
        lambda rows: "\n".join(",".join(each) for each in rows).encode("utf-8", "replace")
    )


def enter_folder(house: House, data: bytes) -> None:
    with house.scratch() as folder:
        for number in range(2):
            (folder / f"{number}.png").write_bytes(_picture())
        (folder / "metadata.csv").write_bytes(data)
        _use_catalog(str(folder))


def parquet(house: House) -> st.SearchStrategy[bytes]:
    file = io.BytesIO()
    pl.read_parquet(house.runs[0].parent / "letters.parquet").head(12).write_parquet(file)
    return changed_bytes(file.getvalue())


def enter_parquet(house: House, data: bytes) -> None:
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
    or_told(lambda: read_split(catalog))
    for row in range(min(3, len(catalog))):
        _look_at(catalog, row)
    from mscon.data.labels import KINDS

    for name in catalog.table.columns[:6]:
        for kind in (None, *KINDS):
            or_told(lambda name=name, kind=kind: _read_label(catalog, name, kind))


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


def columns(_: House) -> st.SearchStrategy[tuple[pl.Series, str | None]]:
    def column(dtype: Any, cells: st.SearchStrategy[Any]) -> st.SearchStrategy[pl.Series]:
        few = st.lists(st.none() | cells, min_size=1, max_size=4)
        rows = few.flatmap(lambda pool: st.lists(st.sampled_from(pool), min_size=1, max_size=12))
        return st.tuples(texts, rows).map(lambda both: pl.Series(both[0], both[1], dtype=dtype, strict=False))

    from mscon.data.labels import KINDS

    columns = st.one_of([column(dtype, cells) for dtype, cells in _COLUMNS])
    return st.tuples(columns, st.sampled_from([None, *KINDS]))


def enter_column(_: House, given: tuple[pl.Series, str | None]) -> None:
    values, kind = given
    name = values.name if values.name != "image" else "label"
    table = pl.DataFrame({name: values, "image": [_picture()] * len(values)})
    from mscon.data import Catalog

    catalog = Catalog.read(table, image="image")
    or_told(lambda: catalog.ids(name))
    _read_label(catalog, name, kind)


def pairs(_: House) -> st.SearchStrategy[pl.DataFrame]:
    known, strengths = st.sampled_from(["0", "1", "2"]), st.sampled_from([1.0, 0.1, -0.3])
    good = st.lists(st.tuples(known, known, strengths), min_size=1, max_size=8)
    ids = known | st.sampled_from(["3"]) | st.none() | texts
    rows = good | st.lists(st.tuples(ids, ids, strengths | st.none() | st.floats()), min_size=1, max_size=8)
    names = st.permutations(["first", "second", "strength"]) | st.lists(texts, min_size=3, max_size=3, unique=True)
    schemas = st.tuples(names, st.integers(1, 3))
    return st.tuples(rows, schemas).map(
        lambda both: pl.DataFrame(both[0], schema=["a", "b", "c"], orient="row", strict=False).rename(
            dict(zip("abc", both[1][0], strict=True))
        )[both[1][0][: both[1][1]]]  # as they are called, where `select` would take a name for a pattern
    )


def enter_pairs(_: House, table: pl.DataFrame) -> None:
    from mscon.data import Catalog
    from mscon.data.pairs import read_pairs

    items = pl.DataFrame({"id": ["0", "1", "2", "3", "3", None], "image": [_picture()] * 6})
    found = read_pairs(table, Catalog.read(items, image="image"))
    assert np.isfinite(found.strength).all()
    assert (found.strength > 0).all()
    assert (found.edges[:, 0] < found.edges[:, 1]).all()

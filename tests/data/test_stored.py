import os
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mscon.data import stored
from mscon.data.cache import fingerprint
from mscon.data.catalog import Catalog
from mscon.data.decode import DecodeError
from mscon.data.digests import content_digests
from mscon.errors import UserError

CELLS = [bytes([number]) * (number + 1) for number in range(50)]


def catalog_of(folder: Path, rows: int = 7, **columns: object) -> Catalog:
    pl.DataFrame({"image": CELLS, **columns}).write_parquet(folder / "c.parquet", row_group_size=rows)
    return Catalog.read(folder / "c.parquet")


def images_of(catalog: Catalog) -> list[object]:
    return [catalog.image_bytes(row) for row in range(len(catalog))]


def test_images_are_left_in_their_file_and_found_there(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, kind=list(range(50)))
    assert catalog.table.columns == ["kind"]
    assert catalog.columns == ["image", "kind"]
    assert images_of(catalog) == CELLS
    assert images_of(catalog.take([49, 0, 7]).take([2, 0])) == [CELLS[7], CELLS[49]]
    assert Catalog.read(tmp_path / "c.parquet", whole=True).table["image"].to_list() == CELLS


def test_a_table_of_nothing_but_images_has_as_many_items(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path)
    assert len(catalog) == 50
    assert len(catalog.take([3, 4])) == 2
    assert catalog.ids()[:2] == ["0", "1"]


@pytest.mark.parametrize("order", ["forwards", "backwards", "mixed"])
def test_a_large_row_group_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    monkeypatch.setattr(stored, "PIECE", 100)
    catalog = catalog_of(tmp_path, rows=50)
    assert catalog.stored is not None
    assert len(catalog.stored.reader.pieces) > 5
    rows = {"mixed": np.random.default_rng(0).permutation(50).tolist(), "forwards": list(range(50))}.get(order)
    rows = rows or list(range(50))[::-1]
    assert [catalog.image_bytes(row) for row in rows] == [CELLS[row] for row in rows]
    with pytest.raises(UserError, match=r"c\.parquet has 0 MB of images in one row group.*row_group_size=\d+"):
        catalog.stored.check_groups(catalog.source)


@pytest.mark.parametrize("struct", [False, True])
def test_an_image_that_stands_in_many_rows_is_held_once(tmp_path: Path, struct: bool) -> None:
    image, rows = os.urandom(100_000), 5_000
    cells = pa.array([image, None]).take(pa.array([0] * (rows - 1) + [1]))
    if struct:
        cells = pa.StructArray.from_arrays([cells, pa.array(["x.png"] * rows)], ["bytes", "path"])
    pq.write_table(pa.table({"image": cells}), tmp_path / "c.parquet", row_group_size=rows)
    catalog = Catalog.read(tmp_path / "c.parquet")
    assert catalog.stored is not None
    assert catalog.stored.reader.cells(0).nbytes < 300_000
    assert catalog.image_bytes(rows - 2) == image
    with pytest.raises(DecodeError):
        catalog.image_bytes(rows - 1)
    assert len(set(content_digests(catalog).tolist())) == 2


def test_a_large_row_group_goes_on_after_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "PIECE", 1_000_000)
    monkeypatch.setattr(stored, "BUFFER", 10_000)
    cells = [np.random.default_rng(number).bytes(100_000) for number in range(30)]
    for name in "ab":
        pl.DataFrame({"image": cells}).write_parquet(tmp_path / f"{name}.parquet", row_group_size=30)
    catalog = Catalog.read(tmp_path)
    rows = [0, 31, 12, 13, 45, 59, 29]
    assert [catalog.image_bytes(row) for row in rows] == [cells[row % 30] for row in rows]


def test_a_large_row_group_is_fetched_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "PIECE", 1_000_000)
    monkeypatch.setattr(stored, "BUFFER", 10_000)
    cells = [np.random.default_rng(number).bytes(100_000) for number in range(300)]
    pl.DataFrame({"image": cells}).write_parquet(tmp_path / "c.parquet", row_group_size=300, compression="uncompressed")
    catalog = Catalog.read(tmp_path / "c.parquet")
    assert catalog.stored is not None
    fetched: list[int] = []
    opened = catalog.stored.reader.files.open

    def watched(path: str, mode: str, **options: object) -> object:
        file = opened(path, mode, **options)
        read = file.read
        file.read = lambda *count: fetched.append(len(got := read(*count))) or got
        return file

    monkeypatch.setattr(catalog.stored.reader.files, "open", watched)
    assert catalog.image_bytes(0) == cells[0]
    assert 1_000_000 < sum(fetched) < 10_000_000


def test_other_columns_of_bytes_are_no_labels(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, mask=CELLS)
    with pytest.raises(UserError, match=r"Column 'mask' of .* holds bytes"):
        catalog.column("mask")
    assert Catalog.read(tmp_path / "c.parquet", image="mask").image_bytes(3) == CELLS[3]


def test_parts_with_other_types_of_images_are_refused(tmp_path: Path) -> None:
    catalog_of(tmp_path)
    pl.DataFrame({"image": [3]}).write_parquet(tmp_path / "d.parquet")
    with pytest.raises(UserError, match=r"differ in a column's type: 'image' holds int64 in .*d\.parquet"):
        Catalog.read(tmp_path)


def test_null_in_one_part_is_an_empty_cell(tmp_path: Path) -> None:
    catalog_of(tmp_path)
    pq.write_table(pa.table({"image": pa.nulls(2)}), tmp_path / "d.parquet")
    catalog = Catalog.read(tmp_path)
    assert catalog.image_bytes(49) == CELLS[49]
    assert catalog.image_source(51) is None


def test_a_file_that_is_gone_makes_its_images_unreadable(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path)
    (tmp_path / "c.parquet").unlink()
    with pytest.raises(DecodeError, match=r"c\.parquet, row group 0, can't be read"):
        catalog.image_bytes(0)


def test_a_file_that_is_written_anew_has_another_fingerprint_and_touches_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = catalog_of(tmp_path)
    monkeypatch.setattr(stored.PieceReader, "_read", lambda *_: pytest.fail("an image was read"))
    first = fingerprint(catalog, 8, "crop")
    assert fingerprint(Catalog.read(tmp_path / "c.parquet"), 8, "crop") == first
    assert fingerprint(catalog.take([1, 0]), 8, "crop") != first
    os.utime(tmp_path / "c.parquet", ns=(1, 1))
    assert fingerprint(Catalog.read(tmp_path / "c.parquet"), 8, "crop") != first


def test_what_another_version_has_decoded_is_not_used_wherever_the_images_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = Catalog(pl.DataFrame({"image": CELLS}), "image", "/", "bytes")
    catalogs = (catalog_of(tmp_path), in_memory)
    before = [fingerprint(each, 8, "crop") for each in catalogs]
    monkeypatch.setattr("mscon.data.cache.VERSION", 7)
    assert not {*before} & {fingerprint(each, 8, "crop") for each in catalogs}


def test_digests_are_those_of_the_bytes_and_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog, rows = catalog_of(tmp_path), [4, 2]
    in_memory = Catalog(pl.DataFrame({"image": CELLS}), "image", str(tmp_path), "bytes")
    np.testing.assert_array_equal(content_digests(catalog), content_digests(in_memory))
    monkeypatch.setattr(stored.PieceReader, "_read", lambda *_: pytest.fail("an image was read"))
    again = Catalog.read(tmp_path / "c.parquet")
    np.testing.assert_array_equal(content_digests(again.take(rows)), content_digests(in_memory)[rows])


def test_an_image_behind_a_path_in_the_file_is_watched_too(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"one")
    cells = [{"bytes": CELLS[0], "path": "a.png"}, {"bytes": None, "path": "x.png"}]
    pl.DataFrame({"image": cells}).write_parquet(tmp_path / "c.parquet")
    catalog = Catalog.read(tmp_path / "c.parquet")
    assert images_of(catalog) == [CELLS[0], b"one"]
    assert catalog.ids() == ["a.png", "x.png"]
    first = fingerprint(catalog, 8, "crop")
    (tmp_path / "x.png").write_bytes(b"another")
    assert fingerprint(catalog, 8, "crop") != first


def test_a_file_that_has_changed_since_is_not_read_with_its_old_footer(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path)
    pl.DataFrame({"image": CELLS[::-1]}).write_parquet(tmp_path / "c.parquet")
    with pytest.raises(DecodeError, match="it has changed since the catalog was read"):
        catalog.image_bytes(0)

import io
from pathlib import Path

import datasets
import fsspec
import polars as pl
import pytest

from mscon.data.catalog import Catalog
from mscon.data.sources import read_source
from mscon.errors import UserError

TABLE = pl.DataFrame(
    {"image": ["a.png", "b.png", "c.png"], "colour": ["red", None, "blau"], "height": [1.5, None, 2.0]}
)


def test_a_csv_file_keeps_nulls_and_its_folder(tmp_path: Path) -> None:
    TABLE.write_csv(tmp_path / "shoes.csv")
    read = read_source(tmp_path / "shoes.csv")
    assert read.table.equals(TABLE)
    assert (read.root, read.name) == (str(tmp_path), str(tmp_path / "shoes.csv"))


def test_a_tsv_file_with_a_mark_at_its_start_is_read(tmp_path: Path) -> None:
    (tmp_path / "shoes.TSV").write_bytes(b"\xef\xbb\xbfimage\tname\na.png\tone, two\n")
    assert read_source(str(tmp_path / "shoes.TSV")).table.rows() == [("a.png", "one, two")]


def test_whole_numbers_that_begin_with_zero_stay_text_and_others_do_not(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,count,size\n007,1,0.5\n12,0,1\n,10,nan\nnan,2,\n")
    table = read_source(tmp_path / "t.csv").table
    assert table.to_dict(as_series=False) == {
        "id": ["007", "12", None, None],
        "count": [1, 0, 10, 2],
        "size": [0.5, 1.0, None, None],
    }


def test_a_column_called_like_a_pattern_of_all_is_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,*\n1,01\n2,02\n")
    assert read_source(tmp_path / "t.csv").table.to_dict(as_series=False) == {"a": [1, 2], "*": ["01", "02"]}


def test_a_column_that_is_a_whole_pattern_is_refused(tmp_path: Path) -> None:
    table = pl.DataFrame({"a": [1, 2], "^S$": [3, 4]})
    table.write_csv(tmp_path / "t.csv")
    table.write_parquet(tmp_path / "t.parquet")
    for source in (table, tmp_path / "t.csv", tmp_path / "t.parquet"):
        with pytest.raises(UserError, match=r"column '\^S\$' is called like a pattern, from \^ to \$: give it another"):
            read_source(source)


def test_types_are_guessed_over_all_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("size\n" + "1\n" * 5000 + "xl\n")
    assert read_source(tmp_path / "t.csv").table["size"][-1] == "xl"


@pytest.mark.parametrize("form", ["folder", "glob"])
def test_parquet_files_are_stacked_in_order_of_name(tmp_path: Path, form: str) -> None:
    parts = tmp_path / "parts[1]"
    parts.mkdir()
    TABLE[2:].select("height", "image", "colour").write_parquet(parts / "b.parquet")
    TABLE[:2].write_parquet(parts / "a.parquet")
    (parts / "_SUCCESS").touch()
    (parts / "._a.parquet").write_bytes(b"what another system leaves")
    read = read_source(parts) if form == "folder" else read_source(f"{tmp_path}/*/[ab].parquet")
    assert read.table.equals(TABLE)
    assert read.root == str(parts if form == "folder" else tmp_path)


def test_a_column_that_is_null_in_one_part_takes_the_type_of_the_others(tmp_path: Path) -> None:
    TABLE[1:2].with_columns(colour=pl.lit(None)).write_parquet(tmp_path / "a.parquet")
    TABLE[2:].write_parquet(tmp_path / "b.parquet")
    assert read_source(tmp_path).table["colour"].to_list() == [None, "blau"]


def test_a_file_whose_name_looks_like_a_glob_is_read_itself(tmp_path: Path) -> None:
    TABLE.write_parquet(tmp_path / "shoes[1].parquet")
    assert read_source(tmp_path / "shoes[1].parquet").table.equals(TABLE)


def test_a_folder_with_metadata_is_the_root_of_its_paths(tmp_path: Path) -> None:
    TABLE.rename({"image": "file_name"}).write_csv(tmp_path / "metadata.csv")
    read = read_source(tmp_path)
    assert read.table["file_name"].to_list() == ["a.png", "b.png", "c.png"]
    assert read.root == str(tmp_path)


@pytest.mark.parametrize("name", ["shoes.csv", "shoes.parquet"])
def test_tables_are_read_over_the_web(tmp_path: Path, server: str, name: str) -> None:
    TABLE.write_csv(tmp_path / "shoes.csv")
    TABLE.write_parquet(tmp_path / "shoes.parquet")
    read = read_source(f"{server}/{name}?signed=by/someone")
    assert read.table.equals(TABLE)
    assert read.root == server


def test_an_address_that_does_not_answer_is_named(tmp_path: Path, server: str) -> None:
    with pytest.raises(UserError, match=r"nothing\.csv does not exist or can't be reached"):
        read_source(f"{server}/nothing.csv")


def test_a_table_in_another_file_system_keeps_its_protocol() -> None:
    file = io.BytesIO()
    TABLE.write_parquet(file)
    fsspec.filesystem("memory").pipe_file("/shop/shoes.parquet", file.getvalue())
    read = read_source("memory://shop/*.parquet")
    assert read.table.equals(TABLE)
    assert read.root == "memory:///shop"


def test_a_protocol_that_is_not_known_is_refused() -> None:
    with pytest.raises(UserError, match=r"nosuch://x\.csv can't be opened: Protocol not known"):
        read_source("nosuch://x.csv")


def hugging_face(rows: int = 3) -> datasets.Dataset:
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "kind": datasets.ClassLabel(names=["boot", "shoe"]),
            "tags": datasets.List(datasets.Value("string")),
        }
    )
    data = {"image": ["a.png", "b.png", None], "kind": [1, None, 0], "tags": [["x"], None, []]}
    return datasets.Dataset.from_dict({name: values[:rows] for name, values in data.items()}, features=features)


def test_a_hugging_face_dataset_gives_class_names_and_keeps_nulls_and_selection() -> None:
    read = read_source(hugging_face().select([2, 1, 0]))
    assert read.table["kind"].to_list() == ["boot", None, "shoe"]
    assert read.table["tags"].to_list() == [[], None, ["x"]]
    assert read.table["image"].to_list() == [None, {"bytes": None, "path": "b.png"}, {"bytes": None, "path": "a.png"}]
    assert (read.root, read.name) == (str(Path.cwd()), "Hugging Face Dataset")


def test_the_keys_of_a_dictionary_become_the_split() -> None:
    parts = datasets.DatasetDict({"train": hugging_face(), "validation": hugging_face(1)})
    assert read_source(parts).table["split"].to_list() == ["train"] * 3 + ["validation"]


@pytest.mark.parametrize("dictionary", [False, True])
def test_a_saved_hugging_face_dataset_is_read_from_its_folder(tmp_path: Path, dictionary: bool) -> None:
    data = hugging_face().remove_columns("image")
    kept = datasets.DatasetDict({"train": data, "test": data}) if dictionary else data
    kept.save_to_disk(str(tmp_path / "saved"))
    read = read_source(tmp_path / "saved")
    assert read.table["kind"].to_list() == ["shoe", None, "boot"] * (2 if dictionary else 1)
    assert read.root == str(tmp_path / "saved")


def test_a_damaged_saved_dataset_is_refused(tmp_path: Path) -> None:
    hugging_face().remove_columns("image").save_to_disk(str(tmp_path / "saved"))
    next((tmp_path / "saved").glob("*.arrow")).write_bytes(b"no arrow")
    with pytest.raises(UserError, match="saved can't be read as a saved Hugging Face dataset"):
        read_source(tmp_path / "saved")


def test_the_word_glyphs_is_the_embedded_catalog() -> None:
    assert {"image", "character", "typeface"} <= set(read_source("glyphs").table.columns)


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    TABLE.write_csv(tmp_path / "shoes.csv")
    with pytest.raises(UserError, match=r"shoe\.csv does not exist\. Did you mean 'shoes\.csv'\?"):
        read_source(tmp_path / "shoe.csv")
    with pytest.raises(UserError, match=r"nowhere/x\.csv does not exist"):
        read_source(tmp_path / "nowhere" / "x.csv")


@pytest.mark.parametrize("text", ["image,colour\n", "image\n"])
def test_a_table_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "empty.csv").write_text(text)
    with pytest.raises(UserError, match=r"empty\.csv has no rows"):
        read_source(tmp_path / "empty.csv")


def test_parquet_and_dictionary_without_rows_are_refused(tmp_path: Path) -> None:
    TABLE.clear().write_parquet(tmp_path / "empty.parquet")
    with pytest.raises(UserError, match=r"empty\.parquet has no rows"):
        read_source(tmp_path / "empty.parquet")
    with pytest.raises(UserError, match="DatasetDict has no rows"):
        read_source(datasets.DatasetDict())


def test_a_csv_file_of_no_bytes_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    with pytest.raises(UserError, match=r"empty\.csv is empty"):
        read_source(tmp_path / "empty.csv")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"image,a\nx.png,1\ny.png,2,3\n", "line 3, has 3 cells, and the first line 2: put texts that hold a ','"),
        (b'image,a\nx.png,"1\n2"\ny.png,2,3\n', "line 4, has 3 cells"),
        ("image,a\nx.png,1\ny.png,café\n".encode("latin-1"), "line 3, is not UTF-8 .* save it as UTF-8"),
        ("image,a\nx.png,1\n".encode("utf-16"), "in UTF-16: save it as UTF-8"),
        (b"image;a\nx.png;1\n", "parted by ',', and these seem to be by ';'"),
        (b"image;price\nx.png;1,5\n", "has one column, 'image;price': .* parted by ',', and these seem to be by ';'"),
        (b"image\ta\nx.png\t1\n", r"parted by ',', and these seem to be by '\\t'"),
        (b'image,a\nx.png,1\ny.png,"2\nz.png,3\n', "line 3, .* is a double quote left open"),
    ],
)
def test_a_csv_file_that_is_none_is_refused_with_its_line(tmp_path: Path, text: bytes, told: str) -> None:
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(UserError, match=told):
        Catalog.read(tmp_path / "t.csv")


def test_a_name_that_looks_like_a_pattern_or_a_chain_is_one(tmp_path: Path) -> None:
    table = pl.DataFrame({"image": [b"1", b"2"], "a": ["x", "y"]})
    for folder in ("d[1]", "d1", "a::b"):
        (tmp_path / folder).mkdir()
    table.write_parquet(tmp_path / "d[1]" / "p.parquet")
    table.rename({"a": "b"}).write_parquet(tmp_path / "d1" / "p.parquet")
    table.write_parquet(tmp_path / "a::b" / "p.parquet")
    for folder in ("d[1]", "a::b"):
        assert Catalog.read(str(tmp_path / folder / "p.parquet")).columns == ["image", "a"]
        assert Catalog.read(str(tmp_path / folder)).image_bytes(1) == b"2"


def test_more_rows_than_memory_holds_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 100_000
    one = pl.DataFrame({"image": ["x.png"], "a": ["same"], "b": [1]})
    pl.concat([one] * rows).write_parquet(tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < rows / 10
    monkeypatch.setattr("mscon.data.sources._memory", lambda: 5e6)
    with pytest.raises(UserError, match=r"100,000 rows of 3 columns.* 0 GB of memory"):
        Catalog.read(tmp_path / "t.parquet")


@pytest.mark.parametrize("damage", ["truncated", "zeros", "empty"])
@pytest.mark.parametrize("form", ["file", "folder"])
def test_damaged_parquet_is_refused_and_its_file_named(tmp_path: Path, damage: str, form: str) -> None:
    TABLE.write_parquet(tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    parts = {
        "truncated": whole[: len(whole) // 2],
        "zeros": whole[:8] + bytes(len(whole) - 16) + whole[-8:],
        "empty": b"",
    }
    (tmp_path / "b.parquet").write_bytes(parts[damage])
    with pytest.raises(UserError, match=r"b\.parquet can't be read as parquet: .* Is it whole"):
        read_source(tmp_path / "b.parquet" if form == "file" else tmp_path)


def test_parts_with_other_columns_are_refused_by_name(tmp_path: Path) -> None:
    TABLE.write_parquet(tmp_path / "a.parquet")
    TABLE.rename({"colour": "color"}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet and .*a\.parquet differ in their columns \(color, colour\)"):
        read_source(tmp_path)


def test_parts_whose_types_do_not_fit_are_refused(tmp_path: Path) -> None:
    TABLE.write_parquet(tmp_path / "a.parquet")
    TABLE.with_columns(height=pl.lit([1])).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(UserError, match="differ in a column's type"):
        read_source(tmp_path)


def test_a_folder_without_a_catalog_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no metadata\.csv, no \.parquet file and no saved Hugging Face dataset"):
        read_source(tmp_path)


def test_another_suffix_is_refused_with_what_a_table_is(tmp_path: Path) -> None:
    (tmp_path / "shoes.xlsx").touch()
    with pytest.raises(UserError, match=r"shoes\.xlsx is a \.xlsx: a table is a \.csv, \.tsv or \.parquet file"):
        read_source(tmp_path / "shoes.xlsx")


@pytest.mark.parametrize("source", [3, TABLE["image"], None, b"shoes.csv"])
def test_another_object_is_refused_with_its_type(source: object) -> None:
    with pytest.raises(UserError, match=f"An object of type {type(source).__name__} is no catalog"):
        read_source(source)


@pytest.mark.parametrize("name", ["", "\0", "x" * 5000, "~nobody/x.csv", "a::b.csv"])
def test_no_text_at_all_makes_anything_but_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        read_source(name)


def test_tables_of_polars_and_pandas_are_catalogs() -> None:
    pytest.importorskip("pandas")
    for table in (TABLE, TABLE.to_pandas()):
        read = read_source(table)
        assert read.table.equals(TABLE)
        assert read.root == str(Path.cwd())
    assert read_source(TABLE.to_pandas()).name == "the pandas table"

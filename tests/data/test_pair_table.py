"""How a table of pairs is read, what is refused, and which pairs a training may know."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mscon.data import Catalog
from mscon.data.pairs import PairTable, read_pairs, training_pairs
from mscon.data.splits import Split
from mscon.errors import UserError

IDS = ["shoe-a", "shoe-b", "boot-c", "boot-d", "clog-e", "clog-f"]


def catalog_of(ids: list) -> Catalog:
    table = pl.DataFrame({"id": ids, "image": [b"a picture"] * len(ids)})
    return Catalog(table=table, image="image", root="/", source="shoes.csv")


def written(folder: Path, text: str, name: str = "pairs.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def contents(table: PairTable) -> tuple[dict[tuple[int, int], float], list[list[int]]]:
    return {(a, b): s for (a, b), s in zip(table.edges.tolist(), table.strength, strict=True)}, table.apart.tolist()


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


@pytest.mark.parametrize("form", ["csv", "tsv", "parquet"])
def test_pairs_become_row_numbers_and_strengths_of_one_pair_add_up(tmp_path: Path, form: str) -> None:
    table = pl.DataFrame(
        {"one": ["shoe-b", "boot-c", "shoe-a"], "two": ["shoe-a", "clog-e", "shoe-b"], "times": [2.0, 0.5, 3.0]}
    )
    path = tmp_path / f"pairs.{form}"
    table.write_parquet(path) if form == "parquet" else table.write_csv(path, separator="," if form == "csv" else "\t")
    read = read_pairs(path, catalog_of(IDS))
    assert contents(read) == ({(0, 1): 5.0, (2, 4): 0.5}, [])
    assert len(read) == 2


def test_below_zero_is_judged_different_and_what_adds_up_to_zero_is_left_out(tmp_path: Path) -> None:
    text = "a,b,strength\nshoe-a,shoe-b,1\nboot-d,boot-c,-2\nshoe-b,shoe-a,-0.25\n"
    text += "".join(f"clog-e,clog-f,{each}\n" for each in (0.1, 0.2, -0.3))
    assert contents(read_pairs(written(tmp_path, text), catalog_of(IDS))) == ({(0, 1): 0.75}, [[2, 3]])


def test_without_strengths_every_row_counts_one(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\nshoe-a,shoe-b\nshoe-a,shoe-b\nboot-c,shoe-b\n")
    assert contents(read_pairs(path, catalog_of(IDS)))[0] == {(0, 1): 2.0, (1, 2): 1.0}


def test_columns_are_found_by_place_and_by_name(tmp_path: Path) -> None:
    path = written(tmp_path, "day,left,right,strength,clicks\n1,shoe-a,boot-c,2,9\n")
    read = read_pairs(path, catalog_of(IDS), first="left", second="right")
    assert contents(read)[0] == {(0, 2): 2.0}
    read = read_pairs(path, catalog_of(IDS), first="left", second="right", strength="clicks")
    assert contents(read)[0] == {(0, 2): 9.0}
    path = written(tmp_path, "left,right,day,clicks\nshoe-a,boot-c,1,9\n")
    with pytest.raises(UserError, match=r"has 4 columns, left, right, day, clicks: which is the strength .* Name it"):
        read_pairs(path, catalog_of(IDS))


def test_ids_may_be_whole_numbers(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    pl.DataFrame({"a": [30.0, 10.0], "b": [10, 20]}).write_parquet(path)
    assert contents(read_pairs(path, catalog_of([10, 20, 30])))[0] == {(0, 2): 1.0, (0, 1): 1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a,b\nshoe-a,shoe-b\nshoe-a,boot-cc\n",
            r"'b', row 1 \(from 0\): no item of shoes.csv has the id 'boot-cc'. .*'boot-c'\?",
        ),
        (
            "a,b\nxshoe-a,shoe-b\nyy,shoe-b\n",
            r"row 0 \(from 0\): .*'xshoe-a'. .*'shoe-a'\? Rows of this column that name unknown items: 2.",
        ),
        ("a,b\nshoe-a,shoe-b\nclog-e,clog-e\n", r"row 1 \(from 0\): 'clog-e' is paired with itself"),
        ("a,b\nshoe-a,shoe-b\n,clog-e\n", r"'a', row 1 \(from 0\): the cell is empty"),
        ("a,b,s\nshoe-a,shoe-b,1\nshoe-a,clog-e,0\n", r"'s', row 1 \(from 0\): a strength of 0 says nothing"),
        ("a,b,s\nshoe-a,shoe-b,1\nshoe-a,clog-e,\n", r"'s', row 1 \(from 0\): a strength of None"),
        ("a,b,s\nshoe-a,shoe-b,inf\n", r"'s', row 0 \(from 0\): a strength of inf"),
        ("a,b,s\nshoe-a,shoe-b,much\n", r"'s', row 0 \(from 0\): a strength of 'much'"),
        ("a,b,s\nshoe-a,shoe-b,true\n", "'s' holds Boolean"),
        ("a,b,s\nshoe-a,shoe-b,-1\n", "no pair is left"),
        ("a\nshoe-a\n", "has one column, 'a'"),
        ("shoe-a,shoe-b\nboot-c,shoe-b\n", "called 'shoe-a' and 'shoe-b', which are items"),
    ],
)
def test_what_is_no_table_of_pairs_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_pairs(written(tmp_path, text), catalog_of(IDS))


def test_columns_that_are_not_there_are_refused_with_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, "left,right\nshoe-a,boot-c\n")
    with pytest.raises(UserError, match=r"no column 'rihgt'. Did you mean 'right'\?"):
        read_pairs(path, catalog_of(IDS), second="rihgt")
    with pytest.raises(UserError, match=r"two columns of items are needed, .* left, right. Name those of the items"):
        read_pairs(path, catalog_of(IDS), first="right", second="right")
    with pytest.raises(UserError, match=r"two columns of items are needed, apart from the strength"):
        read_pairs(path, catalog_of(IDS), strength="left")
    assert contents(read_pairs(path, catalog_of(IDS), first="right"))[0] == {(0, 2): 1.0}


def test_the_strength_may_stand_first(tmp_path: Path) -> None:
    path = written(tmp_path, "strength,left,right\n3,shoe-a,boot-c\n")
    assert contents(read_pairs(path, catalog_of(IDS)))[0] == {(0, 2): 3.0}


def test_an_id_of_several_items_is_refused_only_where_a_pair_names_it(tmp_path: Path) -> None:
    twice = catalog_of(["shoe-a", "shoe-b", "boot-c", "boot-c"])
    assert len(read_pairs(written(tmp_path, "a,b\nshoe-a,shoe-b\n"), twice)) == 1
    with pytest.raises(UserError, match=r"'b', row 0 \(from 0\): 2 items of shoes.csv have the id 'boot-c'"):
        read_pairs(written(tmp_path, "a,b\nshoe-a,boot-c\n"), twice)


TABLE = PairTable(
    edges=np.array([[0, 1], [0, 4], [1, 2], [3, 5]]),
    strength=np.array([1.0, 2.0, 3.0, 4.0]),
    apart=np.array([[0, 2], [4, 5]]),
    name="pairs.csv",
)


def test_pairs_of_skipped_images_are_dropped_and_the_others_renumbered() -> None:
    assert contents(TABLE.at(rows(0, 1, 3, 4, 5))) == ({(0, 1): 1.0, (0, 3): 2.0, (2, 4): 4.0}, [[3, 4]])
    assert contents(TABLE.at(np.arange(9))) == contents(TABLE)
    assert contents(TABLE.at(rows())) == ({}, [])


def test_only_pairs_within_one_part_are_known() -> None:
    assert contents(TABLE.within(rows(0, 1, 2))) == ({(0, 1): 1.0, (1, 2): 3.0}, [[0, 2]])
    split = Split(train=rows(0, 1), val=rows(3, 5), test=rows(2, 4))
    assert contents(training_pairs(TABLE, split)) == ({(0, 1): 1.0, (3, 5): 4.0}, [])


def test_a_training_without_pairs_is_refused() -> None:
    with pytest.raises(UserError, match="of its 4 pairs none lies within the 2 training items"):
        training_pairs(TABLE, Split(train=rows(0, 2), val=rows(3, 5), test=rows(1, 4)))


def test_ids_that_are_floats_are_written_as_whole_numbers_and_empty_ones_are_no_row_number(tmp_path: Path) -> None:
    catalog = catalog_of([10.0, 20.0, 30.0, None])
    assert read_pairs(written(tmp_path, "a,b\n10,20\n30.0,10\n"), catalog).edges.tolist() == [[0, 1], [0, 2]]
    with pytest.raises(UserError, match=r"no item of shoes\.csv has the id '3'"):
        read_pairs(written(tmp_path, "a,b\n10,3\n"), catalog)

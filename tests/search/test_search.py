"""Search under any mix of similarities, on real files, in code and from the command line."""

import json
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from mscon.errors import UserError
from mscon.prepare import prepare
from mscon.run import Run
from mscon.search import SHARED, Hits, Query, Space, mix, query_of
from mscon.search.mix import read_weights
from mscon.search.sheet import ACROSS, GAP, SIDE, sheet
from mscon.search.show import as_table, records

COUNT = 60
NAMES = ("colour", "form")


def test_a_space_holds_unit_vectors_of_the_items_that_can_be_read(run: Run, space: Space) -> None:
    assert list(space.blocks) == [SHARED, *NAMES]
    assert space.similarities == list(NAMES)
    assert len(space) == COUNT - 1 == len(space.catalog)
    assert "sku 7" not in space.ids
    assert space.catalog.table["id"].to_list() == space.ids
    for block in space.blocks.values():
        np.testing.assert_allclose(np.linalg.norm(block, axis=1), 1, atol=1e-6)
    images = [torch.from_numpy(prepare(run.recipe).pixels.array[3:4].copy()).permute(0, 3, 1, 2)]
    z = run.model().project(images[0], "form").numpy()[0]
    np.testing.assert_allclose(space.blocks["form"][3], z, atol=1e-5)


WEIGHTS = st.dictionaries(st.sampled_from([SHARED, *NAMES]), st.floats(-3, 3, width=32), min_size=1)


@given(weights=WEIGHTS, row=st.integers(0, COUNT - 2), k=st.integers(1, 70))
@settings(deadline=None, max_examples=40)
def test_the_best_are_those_with_the_largest_sum_of_weighted_cosines(
    run: Run, space: Space, weights: dict[str, float], row: int, k: int
) -> None:
    query = query_of(run, space, [space.ids[row]])
    if not any(weights.values()):
        with pytest.raises(UserError, match="all weights are 0"):
            space.search(query, weights, k=k)
        return
    hits = space.search(query, weights, k=k)
    score = np.sum(
        [weight * (space.blocks[name] @ space.blocks[name][row]) for name, weight in weights.items()], axis=0
    )
    others = np.setdiff1d(np.arange(len(space)), [row])
    assert len(hits.rows) == min(k, len(others))
    np.testing.assert_allclose(hits.scores, np.sort(score[others])[::-1][:k], atol=1e-5)
    np.testing.assert_allclose(hits.scores, score[hits.rows], atol=1e-5)
    for name, block in space.blocks.items():
        np.testing.assert_allclose(hits.cosines[name], block[hits.rows] @ block[row], atol=1e-5)


def test_of_equals_the_first_come_first(space: Space) -> None:
    same = {name: np.ones((len(space), 1), np.float32) for name in space.blocks}
    alike = Space(space.ids, space.catalog, same)
    query = Query({name: np.ones(1, np.float32) for name in same}, (2,), ())
    assert alike.search(query, k=4).rows.tolist() == [0, 1, 3, 4]


def test_without_weights_every_similarity_counts_the_same_and_the_shared_embedding_nothing() -> None:
    assert mix(None, NAMES) == {"colour": 1.0, "form": 1.0}
    assert mix({"form": -0.5, "colour": 0.0}, NAMES) == {"form": -0.5}
    assert read_weights(["form=-0.5", "shared=2"]) == {"form": -0.5, "shared": 2.0}
    for weights, message in (
        ({"frm": 1.0}, "--weight frm: there is no such similarity. Did you mean 'form'"),
        ({"form": float("nan")}, "--weight form=nan: a weight is a number from -1,000,000 to 1,000,000"),
        ({"form": -1e39}, "--weight form=-1e[+]39: a weight is a number from"),
    ):
        with pytest.raises(UserError, match=message):
            mix(weights, NAMES)


def test_a_picture_is_found_as_the_item_it_is_and_several_lie_between(run: Run, space: Space) -> None:
    path = Path(space.catalog.root) / "3.png"
    by_file, by_id = query_of(run, space, [path]), query_of(run, space, ["sku 3"])
    for name in space.blocks:
        np.testing.assert_allclose(by_file.blocks[name], by_id.blocks[name], atol=1e-5)
    assert space.search(by_file, k=1).rows.tolist() == [3], "a file may be an item's own"
    assert 3 not in space.search(by_id, k=COUNT).rows
    assert query_of(run, space, [path.read_bytes()]).images == (path.read_bytes(),)
    both = query_of(run, space, ["sku 3", Path(space.catalog.root) / "5.png"])
    middle = space.blocks["form"][3] + space.blocks["form"][5]
    np.testing.assert_allclose(both.blocks["form"], middle / np.linalg.norm(middle), atol=1e-5)
    assert both.rows == (3,)


def test_a_condition_keeps_what_passes(run: Run, space: Space) -> None:
    query = query_of(run, space, ["sku 3"])
    hits = space.search(query, k=COUNT, where="colour = 'g' AND year > 2005")
    table = space.catalog.table
    wanted = table.with_row_index().filter((pl.col("colour") == "g") & (pl.col("year") > 2005))["index"]
    assert sorted(hits.rows) == wanted.to_list()
    assert len(space.search(query, where="year > 3000").rows) == 0
    for where, message in (
        ("yeer > 2000", 'unable to find column "yeer". Columns: id, image, colour, form, year'),
        ("colour = g", "Text stands in single quotes"),
        ("year + 1", "is no condition; write one such as"),
        ("year >", "--where 'year >': "),
        ("least() = 1", "'least' is given nothing"),
        ("CAST(year AS DECIMAL(200, 3)) = 1", "Columns: id, image, colour, form, year"),
        ("year = '2004-01-31'", "a date, too, behind DATE: day >= DATE '2024-01-31'"),
    ):
        with pytest.raises(UserError, match=message):
            space.search(query, where=where)
    with pytest.raises(UserError, match="-k 0: at least one"):
        space.search(query, k=0)


def test_a_query_that_is_none_is_explained(run: Run, space: Space, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    for words, message in (
        ([], "there is nothing to search for"),
        (["sku 33x"], "neither an id of .*shop.parquet nor a file that can be read. Did you mean 'sku 33'"),
        ([tmp_path], "neither an id .* An id there is 'sku 0'"),
        ([tmp_path / "text.jpg"], "text.jpg: "),
        ([b"hello"], "the picture: "),
        (["nul\0"], "neither an id"),
        (["sku 7"], r"sku 7: an item of .*shop.parquet whose image could not be read: ."),
    ):
        with pytest.raises(UserError, match=message):
            query_of(run, space, words)


def test_an_id_stays_in_one_piece_on_a_narrow_terminal() -> None:
    names = ("category", "kids", "lightness", "sender")
    ids = [f"444fbfed-93d4-4cc7-9fcf-9ec20e3a970{row}" for row in range(3)]
    found = [
        {"id": each, "score": 1.0, "cosines": dict.fromkeys(names, 0.5), "labels": dict.fromkeys(names, "T-Shirt")}
        for each in ids
    ]
    ones = np.ones(3, np.float32)
    hits = Hits(np.arange(3), ones, dict.fromkeys(names, ones), {"kids": 1.0})
    printed = StringIO()
    Console(width=80, file=printed).print(as_table(found, hits))
    assert all(each in printed.getvalue() for each in ids)


def test_the_sheet_shows_every_picture(run: Run, space: Space) -> None:
    query = query_of(run, space, ["sku 3", "sku 4"])
    hits = space.search(query, {"colour": 1.0}, k=9)
    page = sheet(space, query, hits, records(run, space, hits))
    assert page.width == GAP + ACROSS * (SIDE + GAP)
    drawn = np.array(page).reshape(page.height, page.width, 3)
    for place in range(12):
        left, top = GAP + place % ACROSS * (SIDE + GAP), GAP + place // ACROSS * ((page.height - GAP) // 2)
        spread = drawn[top + 40 : top + 120, left + 60 : left + 100].std()
        assert (spread > 10) == (place < 11), f"picture {place}"


def test_the_command_finds_prints_and_draws(mscon, run: Run, catalog: Path, tmp_path: Path) -> None:
    words = ["search", run.folder, "sku 3", "-w", "form=1", "-w", "colour=-0.5", "-k", 4]
    code, out, err = mscon(*words, "--format", "json", "--sheet", tmp_path / "sheet.png", "--where", "year < 2015")
    assert code == 0, err
    found = json.loads(out)
    assert found["weights"] == {"form": 1.0, "colour": -0.5}
    assert len(found["items"]) == 4
    first = found["items"][0]
    assert first["score"] == pytest.approx(first["cosines"]["form"] - 0.5 * first["cosines"]["colour"], abs=2e-6)
    assert first["labels"].keys() == {"colour", "form", "year"}
    with Image.open(tmp_path / "sheet.png") as drawn:
        assert drawn.size == (GAP + ACROSS * (SIDE + GAP), drawn.height)
    before = {path: path.stat().st_mtime_ns for path in (run.folder / "vectors").iterdir()}
    code, out, err = mscon(*words)
    assert code == 0, err
    assert "cos form" in " ".join(out.split())
    assert "[red]square" in out, "a label is no markup"
    assert before == {path: path.stat().st_mtime_ns for path in (run.folder / "vectors").iterdir()}, "embedded once"
    code, out, err = mscon("search", run.folder, "sku 3", "--where", "year > 3000")
    assert (code, out.strip()) == (0, "nothing found: no other item passes --where")
    other = tmp_path / "shop.parquet"
    pl.read_parquet(catalog).with_columns(image=pl.lit(str(catalog.parent)) + "/" + pl.col("image")).head(
        5
    ).write_parquet(other)
    code, out, err = mscon("search", run.folder, catalog.parent / "9.png", "--catalog", other, "--format", "json")
    assert code == 0, err
    assert {each["id"] for each in json.loads(out)["items"]} == {f"sku {row}" for row in range(5)}
    assert len({*(run.folder / "vectors").glob("*.parquet")} - {*before}) == 1
    for words, message in (
        (["sku 3", "-w", "form"], "--weight form: write NAME=NUMBER"),
        (["sku 3", "-w", "form=1", "-w", "form=0"], "--weight form is given twice"),
        (["sku 3", "--sheet", "x.jpg"], "name a file that ends in .png"),
        (["sku 3", "-w", "from=1"], "Did you mean 'form'"),
    ):
        code, _, err = mscon("search", run.folder, *words)
        assert code == 2
        assert message in " ".join(err.split())

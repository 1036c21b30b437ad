"""Training without a cache of decoded images: from row groups of Parquet files, read as batches need them."""

import json
from pathlib import Path

import polars as pl
import pytest

from mscon.data.stored import PieceReader
from mscon.errors import UserError
from mscon.evaluate.audit_run import audit_run
from mscon.evaluate.evaluation import evaluate_run
from mscon.files import cache_folder
from mscon.inspection import inspect
from mscon.interrupt import InterruptedRun
from mscon.lightning import Fabric
from mscon.prepare import Prepared, prepare
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.train import train
from mscon.unreadable import Unreadable

STREAMED = {"image.cache": False, "image.open": 3, "training.epochs": 2}


@pytest.fixture(scope="module")
def shards(letters: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The letters in four files of row groups of 32 rows, with ids."""
    folder = tmp_path_factory.mktemp("shards")
    table = pl.read_parquet(letters).drop("id", strict=False)
    table = table.filter(pl.col("character").is_in(list("aRg"))).with_row_index("id")
    rows = -(-table.height // 4)
    for part in range(4):
        table[part * rows : (part + 1) * rows].write_parquet(folder / f"{part}.parquet", row_group_size=32)
    return folder


@pytest.fixture
def recipe(tiny: dict, shards: Path) -> Recipe:
    return Recipe.of(tiny, {"catalog.source": str(shards), **STREAMED})


def pixel_caches() -> set[str]:
    return {each.name for each in (cache_folder() / "pixels").glob("*")}


def test_a_streamed_run_is_resumed_in_mid_epoch_to_the_same_bits(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pixel_caches()
    whole = train(recipe, tmp_path / "whole")
    steps = [record["step"] for record in whole.metrics() if record["kind"] == "val"]
    assert steps[-1] % 2 == 0
    stop_at, seen = steps[-1] // 2 + 3, []

    def stopping() -> bool:
        seen.append(1)
        return len(seen) == stop_at

    with monkeypatch.context() as patch:
        from contextlib import nullcontext

        patch.setattr("mscon.train.stop_signals", lambda: nullcontext(stopping))
        with pytest.raises(InterruptedRun):
            train(recipe, tmp_path / "stopped")
    resumed = train(recipe, tmp_path / "stopped", resume=True)
    assert resumed.model_path.read_bytes() == whole.model_path.read_bytes()
    assert pixel_caches() == before


def test_it_starts_without_reading_images_but_those_of_its_first_row_groups(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[object] = []
    read = PieceReader._read

    def noted(reader: PieceReader, piece: object) -> object:
        pieces.append(piece)
        return read(reader, piece)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(PieceReader, "_read", noted)
    data = prepare(recipe)
    assert not pieces
    run = train(
        Recipe.of(recipe.model_dump(exclude_none=True), {"training.steps": 1, "image.open": 2}), tmp_path / "run"
    )
    trained_and_validated = 2 * len({(each.part, each.group) for each in pieces})  # pyright: ignore
    assert len(pieces) <= trained_and_validated
    assert len(run.items() or ()) == len(data.catalog)


def test_it_learns_what_a_cached_run_learns(recipe: Recipe, tmp_path: Path) -> None:
    cached = Recipe.of(recipe.model_dump(exclude_none=True), {"image.cache": True})
    scores = []
    for name, each in {"streamed": recipe, "cached": cached}.items():
        run = train(each, tmp_path / name)
        scores.append([record["total"] for record in run.metrics() if record["kind"] == "val"][-1])
    assert scores[0] == pytest.approx(scores[1], abs=0.1)


def test_rows_that_turn_out_unreadable_take_no_part_and_are_listed(tiny: dict, shards: Path, tmp_path: Path) -> None:
    bad = [3, 70, 200]
    table = pl.concat([pl.read_parquet(each) for each in sorted(shards.glob("*.parquet"))])
    image = table["image"].to_list()
    for row in bad:
        image[row] = b"no image"
    (tmp_path / "bad").mkdir()
    table.with_columns(image=pl.Series(image)).write_parquet(tmp_path / "bad" / "0.parquet", row_group_size=64)
    recipe = Recipe.of(tiny, {"catalog.source": str(tmp_path / "bad"), **STREAMED, "training.epochs": 1})
    run = train(recipe, tmp_path / "run")
    listed = json.loads((run.folder / "skipped.json").read_text())
    trained_or_validated = [row for row in bad if table["split"][row] != "test"]
    assert [each["row"] for each in listed if each["row"] in trained_or_validated] == trained_or_validated
    assert {each["id"] for each in listed} <= {str(row) for row in bad}
    found = evaluate_run(run)
    assert sum(found.evaluation["rows"].values()) == table.height - len(bad)
    parts = [found.data.split.train, found.data.split.val, found.data.split.test]
    assert not {*bad} & {row for part in parts for row in part.tolist()}
    assert (audit_run(run).data.values["character"][bad] == -1).all()
    refused = Recipe.of(recipe.model_dump(exclude_none=True), {"image.tolerance": 0.0})
    with pytest.raises(UserError, match=r"can't be used; 0% of all .* may be skipped\. .*\n  row \d+ \(\d+\): no JPEG"):
        train(refused, tmp_path / "refused")
    assert json.loads((tmp_path / "refused" / "skipped.json").read_text())


def test_a_part_of_which_no_image_can_be_read_is_told_by_name(
    tiny: dict, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepare(Recipe.of(tiny, {"catalog.source": str(shards), **STREAMED}))
    lost = dict.fromkeys(data.split.val.tolist(), "no JPEG")
    monkeypatch.setattr(Prepared, "unreadable", property(lambda _: lost))
    with pytest.raises(UserError, match="no image of the val rows can be read: no JPEG"):
        data.readable()


def unreadable(run: Run) -> tuple[Prepared, Unreadable]:
    """A run's items as a training has them that goes on, and its list of unreadable ones."""
    data = run.prepare()
    return data, Unreadable(run, data, Fabric(accelerator="cpu", devices=1))


DAMAGED = {
    "cut short": '[{"row": 3, "id": "3", "re',
    "empty": "",
    "a number": "3",
    "null": "null",
    "a table": '{"row": 3}',
    "a row without a number": '[{"row": "3", "id": "3", "reason": "x"}]',
    "no whole number": '[{"row": 1e400, "id": "3", "reason": "x"}]',
    "below 0": '[{"row": -1, "id": "3", "reason": "x"}]',
    "no reason": '[{"row": 3, "id": "3"}]',
    "nested": "[" * 100_000,
}


def test_the_list_of_unreadable_images_is_gone_on_with_item_by_item_or_refused(recipe: Recipe, tmp_path: Path) -> None:
    begun = prepare(recipe)
    run = Run.create(tmp_path / "run", recipe, begun.labels, begun.items)
    listed, ids = run.folder / "skipped.json", begun.catalog.ids()
    listed.write_text(json.dumps([{"row": row, "id": ids[row], "reason": "no image"} for row in (3, 70)]))
    table = pl.concat([pl.read_parquet(each) for each in sorted(Path(recipe.catalog.source).glob("*.parquet"))])
    (tmp_path / "fewer").mkdir()
    first = table.with_row_index("at").filter(split="test")["at"][0]
    assert first < 70
    gone = pl.int_range(pl.len()).is_in([first, 3])
    table.filter(~gone).write_parquet(tmp_path / "fewer" / "0.parquet", row_group_size=64)
    changed = Recipe.of(recipe.model_dump(exclude_none=True), {"catalog.source": str(tmp_path / "fewer")})
    data, going_on = unreadable(Run(run.folder, changed, run.labels))
    going_on.take_up()
    assert {data.catalog.ids()[row] for row in data.unreadable} == {ids[70]}
    going_on.write()
    assert json.loads(listed.read_text()) == [{"row": 70, "id": ids[70], "reason": "no image"}]
    for text in DAMAGED.values():
        listed.write_text(text)
        with pytest.raises(UserError, match=r"skipped\.json: no list of unreadable images .*remove it to go on"):
            unreadable(run)[1].take_up()


def test_samplers_that_need_images_from_anywhere_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    drawn = Recipe.of(recipe.model_dump(exclude_none=True), {"training.sampler": "character"})
    with pytest.raises(UserError, match=r"training\.sampler: 'character' brings items together from anywhere"):
        train(drawn, tmp_path / "run")


def test_a_look_decodes_a_few_images_alone(recipe: Recipe) -> None:
    found = inspect(recipe, prepare(recipe, look=True))
    assert found.rows == len(prepare(recipe).catalog)
    assert found.batches


def test_images_behind_paths_are_streamed_too(tiny: dict, letters: Path, tmp_path: Path) -> None:
    table = pl.read_parquet(letters)
    for row, image in enumerate(table["image"].to_list()):
        data = image["bytes"] if isinstance(image, dict) else image
        (tmp_path / f"{row}.png").write_bytes(data)
    paths = pl.Series("image", [f"{row}.png" for row in range(table.height)])
    table.with_columns(paths).write_csv(tmp_path / "letters.csv")
    recipe = Recipe.of(tiny, {"catalog.source": str(tmp_path / "letters.csv"), **STREAMED, "training.epochs": 1})
    cached = Recipe.of(recipe.model_dump(exclude_none=True), {"image.cache": True})
    models = [train(each, tmp_path / str(number)).model_path for number, each in enumerate((recipe, cached))]
    assert models[0].read_bytes() == models[1].read_bytes()
    assert Run.open(tmp_path / "0").items() is not None

"""A training that goes on finds its catalog as it began with it, or is refused in words."""

import re
from hashlib import blake2b
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from mscon.data.items import Items
from mscon.data.labels import LabelColumn
from mscon.errors import UserError
from mscon.prepare import prepare
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.train import train
from mscon.trained_on import check_trained_on, write_trained_on


class Begun:
    """A training that has begun on a small table, which changes afterwards."""

    def __init__(self, letters: Path, folder: Path):
        self.folder, self.source, self.edges = folder, folder.parent / "letters.parquet", folder / "edges.csv"
        folder.mkdir()
        self.table = pl.read_parquet(letters).filter(pl.col("character").is_in(list("aR")))
        self.table.write_parquet(self.source)
        ids = self.table.filter(split="train")["id"]
        self.pairs = pl.DataFrame({"one": ids[:20], "other": ids[20:40]})
        self.pairs.write_csv(self.edges)
        self.recipe = Recipe.of(
            {
                "catalog": {"source": str(self.source), "ood": ["typeface"]},
                "similarities": {
                    "character": {},
                    "ink": {"kind": "continuous"},
                    "linked": {"kind": "pairs", "edges": str(self.edges)},
                },
                "image": {"size": 16},
            }
        )
        begun = prepare(self.recipe)
        self.items: Items | None = begun.items
        self.labels: dict[str, LabelColumn] = begun.labels
        write_trained_on(folder, self.recipe, begun)

    def goes_on_with(self, table: pl.DataFrame) -> None:
        table.write_parquet(self.source)
        now = prepare(self.recipe, labels=self.labels, items=self.items)
        check_trained_on(self.folder, self.recipe, now)


@pytest.fixture
def begun(letters: Path, tmp_path: Path) -> Begun:
    (tmp_path / "run2").mkdir()  # which the name of the run's folder would mean, were it a pattern
    (tmp_path / "run2" / "trained_on.parquet").write_bytes(b"another's")
    return Begun(letters, tmp_path / "run[2]")


def refused(begun: Begun, table: pl.DataFrame) -> str:
    with pytest.raises(UserError) as told:
        begun.goes_on_with(table)
    return str(told.value)


def test_the_same_items_in_another_order_with_others_among_them_are_the_same(begun: Begun) -> None:
    new = begun.table.head(3).with_columns(image=pl.col("image") + b" ", id=pl.lit("new"))
    begun.goes_on_with(pl.concat([new, begun.table]).sample(fraction=1.0, shuffle=True, seed=1))


def test_what_is_only_probed_may_change(begun: Begun) -> None:
    begun.goes_on_with(
        begun.table.filter(split="test")
        .with_columns(typeface=pl.lit("Fell"))
        .vstack(begun.table.filter(pl.col("split") != "test"))
    )
    begun.goes_on_with(begun.table.filter(pl.col("split") != "test").vstack(begun.table.filter(split="test").head(2)))


def test_labels_that_changed_are_named_with_what_they_were(begun: Begun) -> None:
    chosen = begun.table.filter(split="train")["id"][0]
    was = begun.table.filter(id=chosen)["character"][0]
    other = "R" if was == "a" else "a"
    here = pl.col("id") == chosen
    said = refused(begun, begun.table.with_columns(character=pl.when(here).then(pl.lit(other)).otherwise("character")))
    assert f"1 item has another character: {chosen} {was!r}, now {other!r}" in said
    assert "train a new run from" in said
    more = begun.table.with_columns(ink=pl.when(here).then(pl.col("ink") + 1e-7).otherwise("ink"))
    was, now = re.findall(r"'([\d.]+)'", refused(begun, more))
    assert was != now
    gap = begun.table.with_columns(ink=pl.when(here).then(None).otherwise("ink"))
    assert "1 item has another ink: " in (said := refused(begun, gap))
    assert "now 'missing'" in said


def test_images_that_changed_are_named(begun: Begun) -> None:
    rows, new = pl.int_range(pl.len()), [png(number) for number in range(len(begun.table))]
    train = pl.col("split") == "train"
    redrawn = pl.when(rows < begun.table.with_row_index().filter(train)["index"][5], train).then(pl.Series(new))
    said = refused(begun, begun.table.with_columns(image=redrawn.otherwise("image")))
    first = begun.table.filter(train)["id"][0]
    assert f"5 items have another image: {first}; " in said
    assert "pairs" not in said


def png(seed: int) -> bytes:
    file = BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (9, 9, 3), dtype=np.uint8)).save(file, "png")
    return file.getvalue()


def test_items_that_are_gone_are_counted_and_named(begun: Begun) -> None:
    gone = begun.table.filter(split="train")["id"][40:44]
    said = refused(begun, begun.table.filter(~pl.col("id").is_in(gone.implode())))
    total = len(begun.table.filter(pl.col("split") != "test"))
    assert f"4 of the {total:,} items that it learns from or validates by are gone" in said
    assert f"{gone[0]}; {gone[1]}; {gone[2]} …" in said


def test_pairs_that_changed_are_told(begun: Begun) -> None:
    begun.pairs.sample(fraction=1.0, shuffle=True, seed=0).write_csv(begun.edges)
    begun.goes_on_with(begun.table)
    begun.pairs.head(19).write_csv(begun.edges)
    last = begun.pairs.row(19)
    assert "2 items have other pairs under linked: " in (said := refused(begun, begun.table))
    assert all(each in said for each in last)
    begun.pairs.with_columns(strength=pl.lit(2.0)).write_csv(begun.edges)
    assert "40 items have other pairs" in refused(begun, begun.table)


def test_a_training_is_refused_before_anything_of_its_run_changes_and_goes_on_where_one_says_so(
    tiny: dict, letters: Path, tmp_path: Path
) -> None:
    source = tmp_path / "letters.parquet"
    table = pl.read_parquet(letters)
    table.write_parquet(source)
    recipe = Recipe.of(tiny, {"catalog.source": str(source), "training.steps": 3, "image.size": 16})
    run = train(recipe, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file() and path.name != ".lock"}
    table.with_columns(weight=pl.col("weight").reverse()).write_parquet(source)
    with pytest.raises(UserError, match=r"(?s)letters.parquet is not what .* items have another weight: .*remove .*on"):
        train(recipe, run.folder, resume=True)
    assert {path: path.read_bytes() for path in before} == before
    (run.folder / "trained_on.parquet").unlink()
    assert train(recipe, run.folder, resume=True) == Run.open(run.folder)


def test_an_image_file_that_changed_is_told_before_a_training_goes_on(
    tiny: dict, letters: Path, tmp_path: Path
) -> None:
    table = pl.read_parquet(letters).filter(pl.col("character").is_in(list("aR")))
    paths = [tmp_path / f"{row}.png" for row in range(len(table))]
    for path, image in zip(paths, table["image"], strict=True):
        path.write_bytes(image)
    table.with_columns(image=pl.Series([path.name for path in paths])).write_csv(tmp_path / "letters.csv")
    change = {"catalog.source": str(tmp_path / "letters.csv"), "training.steps": 2, "image.size": 16}
    recipe = Recipe.of(tiny, change)
    run = train(recipe, tmp_path / "run")
    kept = prepare(recipe).pixels
    assert kept.digests is not None
    expected = [int.from_bytes(blake2b(image.tobytes(), digest_size=8).digest()) for image in kept.array]
    assert kept.digests.tolist() == expected
    assert len(set(expected)) > 150
    row = int(run.prepare().split.train[0])
    paths[row].write_bytes(png(1))
    with pytest.raises(UserError, match=f"1 item has another image: {table['id'][row]}\n"):
        train(recipe, run.folder, resume=True)
    paths[row].write_bytes(table["image"][row])
    assert train(recipe, run.folder, resume=True) == run

"""Leave one out: what changes in the recipe and what does not, folders gone on with, and paired differences."""

import json
import shutil
from io import StringIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from mscon.ablation import (
    Ablation,
    Effect,
    ablated_folder,
    compare,
    notes,
    show,
    train_without_each,
    warnings,
    without_each,
)
from mscon.embed import embed_pixels
from mscon.errors import UserError
from mscon.evaluate.probe import probe_categorical
from mscon.prepare import prepare
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.train import train


def described(**sections: Any) -> Recipe:
    similarities = {"character": {}, "weight": {"views": {"brightness": 0.0}}, "instance": {}}
    return Recipe.of({"catalog": {"source": "x.csv", "ood": ["ink"]}, "similarities": similarities} | sections)


def test_only_the_similarity_goes_and_its_label_is_still_probed() -> None:
    recipe = described()
    found = dict(without_each(recipe))
    assert list(found) == ["character", "weight", "instance"]
    for name, each in found.items():
        assert list(each.similarities) == [other for other in recipe.similarities if other != name]
        assert {*each.labelled, *each.catalog.ood} == {"character", "weight", "ink"}
        assert each.run_views == recipe.run_views  # also without the similarity that limited them
        for section in ("image", "model", "training"):
            assert getattr(each, section) == getattr(recipe, section)
        assert Recipe.model_validate(each.model_dump()) == each
    assert found["instance"].catalog.ood == ("ink",)


def test_a_label_that_takes_more_than_its_column_to_be_read_is_not_probed_by_the_run_that_lacks_it() -> None:
    found = dict(without_each(described(similarities={"hour": {"period": 24.0}, "weight": {}})))
    assert (found["hour"].catalog.ood, found["weight"].catalog.ood) == (("ink",), ("weight", "ink"))


def test_fixed_weights_lose_the_one_that_goes_and_are_not_left_all_0() -> None:
    weights = {"character": 2.0, "weight": 0.0, "instance": 0.0}
    found = dict(without_each(described(objective={"weighting": weights})))
    assert list(found) == ["weight", "instance"]
    assert found["weight"].objective.weighting == {"character": 2.0, "instance": 0.0}


def test_the_similarity_that_batches_are_drawn_by_and_the_only_one_stay() -> None:
    sampled = described(training={"sampler": "character"})
    assert [name for name, _ in without_each(sampled)] == ["weight", "instance"]
    assert list(without_each(described(similarities={"character": {}}))) == []


def test_what_stays_and_what_is_not_measured_is_said() -> None:
    assert list(notes(described())) == []
    (stays,) = notes(described(training={"sampler": "character"}))
    assert stays.startswith("character stays: batches are drawn by it.")
    weights = {"character": 2.0, "weight": 0.0, "instance": 0.0}
    assert list(notes(described(objective={"weighting": weights}))) == [
        "character stays: it alone has a weight (objective.weighting)."
    ]
    links = {"like": {"kind": "pairs", "edges": "pairs.csv"}, "character": {}}
    drawn, unmeasured = notes(described(similarities=links))
    assert drawn.startswith("like stays")
    assert unmeasured.startswith("like: what the others do to how linked items find one another is not in the table")
    (only,) = notes(described(similarities=links, training={"sampler": "random"}))
    assert only == unmeasured


def test_a_label_of_few_test_items_is_said_to_say_little() -> None:
    score = {"role": "ood", "metric": "accuracy", "value": 0.5, "low": 0.4, "high": 0.6}
    console = Console(file=StringIO(), width=200)
    show(Ablation({"few": score | {"n": 29}, "enough": score | {"n": 30, "unseen": 2}}, ()), console)
    printed = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "few: only 29 test items: its score says little" in printed
    assert "enough: 2 of its 30 test items are of classes that no training item has" in printed
    assert "enough: only" not in printed


def test_a_run_of_one_similarity_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", described(similarities={"character": {}}), {})
    with pytest.raises(UserError, match="nothing to leave out of character"):
        train_without_each(run)


def test_a_folder_name_holds_nothing_that_no_folder_can() -> None:
    run = Run(Path("runs/shoes"), described(), {})
    assert ablated_folder(run, "heel height") == Path("runs/shoes-without-heel height")
    assert ablated_folder(run, "../größe") == Path("runs/shoes-without-.._größe")
    assert len(ablated_folder(run, "ü" * 300).name.encode()) < 255


def test_similarities_that_are_called_nearly_alike_have_folders_of_their_own() -> None:
    names = ["a/b", "a_b", "Heel", "heel", *("x" * 300 + each for each in "yz")]
    run = Run(Path("runs/shoes"), described(similarities={name: {} for name in names}), {})
    assert len({ablated_folder(run, name).name.casefold() for name in names}) == len(names)


def test_the_whole_ablation_pairs_goes_on_and_is_not_done_twice(tiny: dict[str, Any], tmp_path: Path) -> None:
    run = train(Recipe.of(tiny, {"training.epochs": 1}), tmp_path / "run")
    runs = train_without_each(run)
    assert {name: each.folder.name for name, each in runs.items()} == {
        "character": "run-without-character",
        "weight": "run-without-weight",
    }
    assert runs["character"].model().similarities == ("weight",)
    before = {name: each.model_path.stat().st_mtime_ns for name, each in runs.items()}
    assert {name: each.model_path.stat().st_mtime_ns for name, each in train_without_each(run).items()} == before

    found = compare(run, runs)
    assert json.loads((run.folder / "ablation.json").read_text()) == found.to_json()
    assert [(each.label, each.without) for each in found.effects] == [
        (label, name) for label in ("character", "weight", "typeface", "ink") for name in ("character", "weight")
    ]
    data = prepare(run.recipe, labels=run.labels)
    codes = {"weight": data.values["weight"]}
    accuracies = [
        probe_categorical(embed_pixels(each.model(), data.pixels.array), codes, data.split)["weight"].accuracy
        for each in (run, runs["weight"])
    ]
    (effect,) = [each for each in found.effects if (each.label, each.without) == ("weight", "weight")]
    assert effect.value == pytest.approx(accuracies[0] - accuracies[1])
    assert None not in (effect.value, effect.low, effect.high)
    assert cast(float, effect.low) <= cast(float, effect.value) <= cast(float, effect.high)


def test_a_split_that_depends_on_the_columns_order_is_refused(tiny: dict[str, Any], tmp_path: Path) -> None:
    """A made split deals by the labels; here by one that only the run without it reads as numbers."""
    table = pl.read_parquet(tiny["catalog"]["source"]).drop("split")  # pyright: ignore[reportIndexIssue]
    table = table.with_columns(size=pl.Series(np.random.default_rng(0).integers(0, 40, len(table)) / 4))
    table.write_parquet(tmp_path / "letters.parquet")
    recipe = Recipe.of(tiny, {"catalog.source": str(tmp_path / "letters.parquet"), "catalog.ood": []})
    recipe = recipe.model_copy(update={"similarities": recipe.similarities | {"size": recipe.similarities["weight"]}})
    categorical = recipe.similarities["size"].model_copy(update={"kind": "categorical"})
    recipe = recipe.model_copy(update={"similarities": recipe.similarities | {"size": categorical}})
    run = Run.create(tmp_path / "run", recipe, prepare(recipe).labels)
    with pytest.raises(UserError, match="without size the split that is made comes out another"):
        train_without_each(run)
    assert list(tmp_path.glob("run-without-*")) == []


def test_without_each_a_run_has_the_items_and_parts_of_the_run(tiny: dict[str, Any], tmp_path: Path) -> None:
    """Also where the catalog has grown since, and where the split that is made would come out another."""
    table = pl.read_parquet(tiny["catalog"]["source"]).drop("split")
    table.write_parquet(tmp_path / "letters.parquet")
    recipe = Recipe.of(tiny, {"catalog.source": str(tmp_path / "letters.parquet"), "training.epochs": 1})
    run = train(recipe, tmp_path / "run")
    items = run.items()
    assert items is not None
    new = table.head(9).with_columns(image=pl.Series([each + b" " for each in table["image"][:9]]), id=pl.lit("new"))
    pl.concat([new, table]).write_parquet(tmp_path / "letters.parquet")
    runs = train_without_each(run)
    for each in runs.values():
        theirs = each.items()
        assert theirs is not None
        assert theirs.same(items)
    (note,) = compare(run, runs).notes
    assert "9 items are new" in note
    other = train(recipe, tmp_path / "other")
    shutil.copytree(runs["weight"].folder, ablated_folder(other, "weight"))
    with pytest.raises(UserError, match=r"other-without-weight was trained on other items than .*other"):
        train_without_each(other)


def effect(
    low: float, high: float, *, label: str = "gender", without: str = "noise", metric: str = "accuracy"
) -> Effect:
    return Effect(label, without, metric, (low + high) / 2, low, high)


def test_only_what_hurts_with_its_whole_interval_is_warned_of() -> None:
    effects = (
        effect(-0.03, -0.01),
        effect(-0.2, -0.1, label="length", metric="r2"),
        effect(-0.02, 0.01, without="level"),
        effect(0.01, 0.02, without="helpful"),
        Effect("gender", "unknown", "accuracy", None, None, None),
    )
    (warning,) = warnings(Ablation({}, effects))
    assert warning.startswith("noise hurts gender (2.0 points), length (0.150 in R²): without it they score higher.")

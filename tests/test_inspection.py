"""Inspection: what it counts, and what it warns of before anything is trained."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mscon.errors import UserError
from mscon.inspection import batch_facts, explained, inspect
from mscon.prepare import prepare
from mscon.recipe import Recipe

RNG = np.random.default_rng(0)


def test_explained_is_r2_for_numbers_and_between_class_variance_for_classes() -> None:
    statistic = RNG.normal(size=(500, 2))
    assert explained(2.0 * statistic[:, 0] - statistic[:, 1], statistic) == pytest.approx(1.0)
    assert explained(RNG.normal(size=500), statistic) < 0.05
    codes = RNG.integers(0, 4, 500)
    assert explained(codes, codes[:, None].astype(np.float64)) == pytest.approx(1.0)
    assert explained(codes, statistic) < 0.05
    assert explained(np.full(500, np.nan), statistic) == 0.0
    assert explained(RNG.permutation(500) // 2, statistic) < 0.2, "half as many classes as rows, drawn by lot"


def test_batches_counts_and_gaps(tiny: dict) -> None:
    recipe = Recipe.of(tiny, {"similarities.instance": {}})
    data = prepare(recipe)
    facts = inspect(recipe, data)
    table = pl.read_parquet(recipe.catalog.source)
    assert facts.rows == len(table)
    assert sum(facts.split.values()) == len(table)
    columns = {column.name: column for column in facts.columns}
    assert columns["character"].classes == dict(table["character"].value_counts().iter_rows())
    assert columns["typeface"].role == "ood"
    assert columns["ink"].low == pytest.approx(table["ink"].min())
    batches = {each.name: each for each in facts.batches}
    assert batches["instance"].positives == pytest.approx(1.0)
    assert batches["instance"].floor == pytest.approx(0.0)
    assert batches["character"].chance == pytest.approx(math.log(63))
    assert batches["character"].lonely < 0.01
    # 64 rows, 5 classes of about the same size: each anchor has about 11.8 positives.
    assert batches["character"].positives == pytest.approx(11.8, rel=0.15)


def test_a_view_that_changes_what_a_label_is_read_from_is_warned_of(tiny: dict) -> None:
    recipe = Recipe.of(tiny, {"views": {"flip": 0.0, "brightness": 0.3}})
    data = prepare(recipe)
    grey = data.pixels.array.mean(axis=(1, 2, 3), dtype=np.float64)
    data.values["ink"][:] = grey
    warned = [line for line in inspect(recipe, data).warnings if line.startswith("ink")]
    assert len(warned) == 1
    assert "views.brightness = 0.3 changes" in warned[0]
    calm = Recipe.of(tiny, {"similarities.weight.views": {"brightness": 0.0, "contrast": 0.0}})
    assert not [line for line in inspect(calm, data).warnings if line.startswith("ink")]


def test_redundant_labels_and_lonely_anchors_are_warned_of(tiny: dict) -> None:
    recipe = Recipe.of(tiny, {"similarities.style": {}})
    data = prepare(recipe)
    data.values["style"][:] = -1
    data.values["style"][data.split.train[:6]] = [0, 0, 1, 1, 2, 2]
    data.values["character"][:] = data.values["weight"]
    warnings = inspect(recipe, data).warnings
    assert any("character and weight share 100%" in line for line in warnings)
    assert any("style" in line and "find no other that is alike" in line for line in warnings)


@pytest.mark.parametrize("catalog", ["footwear", "clothing"])
def test_brightness_jitter_is_warned_of_beside_a_measured_lightness(
    catalog: str, request: pytest.FixtureRequest
) -> None:
    source = str(request.getfixturevalue(catalog))
    recipe = Recipe.of({"catalog": {"source": source, "ood": ["lightness"]}, "similarities": {"category": {}}})
    warned = [line for line in inspect(recipe, prepare(recipe)).warnings if line.startswith("lightness")]
    assert len(warned) == 1
    assert "Set views.brightness to 0" in warned[0]


def test_a_number_that_is_noise_is_explained_by_nothing_however_few_rows_there_are() -> None:
    for rows in (10, 21, 30, 60, 100):
        found = [explained(RNG.normal(size=rows), RNG.normal(size=(rows, 19))) for _ in range(50)]
        assert max(found) < 0.5
        assert rows > 60 or max(found) == 0.0
    assert explained(np.arange(30.0), np.arange(30.0)[:, None]) == pytest.approx(1.0)


def test_an_item_that_a_batch_holds_twice_is_alone_all_the_same(tiny: dict) -> None:
    recipe = Recipe.of(tiny, {"training.sampler": "character", "training.per_class": 2})
    data = prepare(recipe)
    data.values["character"][:] = np.arange(len(data.catalog))
    assert {each.name: each.lonely for each in batch_facts(recipe, data)}["character"] == 1.0


def test_a_label_that_no_training_item_has_is_refused(tiny: dict, tmp_path: Path) -> None:
    table = pl.read_parquet(tiny["catalog"]["source"])
    gone = pl.when(pl.col("split") == "train").then(None).otherwise(pl.col("character"))
    table.with_columns(character=gone).write_parquet(tmp_path / "letters.parquet")
    recipe = Recipe.of(tiny, {"catalog.source": str(tmp_path / "letters.parquet")})
    with pytest.raises(UserError, match=r"'character' of .* is empty in all rows that are trained on"):
        prepare(recipe)
    one = pl.when(pl.col("split") == "train").then(pl.lit("a")).otherwise(pl.col("character"))
    table.with_columns(character=one).write_parquet(tmp_path / "letters.parquet")
    with pytest.raises(UserError, match=r"'character' of .* is the same in all rows that are trained on"):
        prepare(recipe)

"""A label that is there more than once: one head leads the encoder, the others learn and have no say."""

from pathlib import Path

import polars as pl
import pytest
import torch

from mscon.build import new_objective
from mscon.copies import silent_copies
from mscon.embed import embed_pixels
from mscon.evaluate import knn_categorical
from mscon.prepare import prepare
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.train import train
from mscon.weighting import Excess


@pytest.fixture
def source(letters: Path, tmp_path: Path) -> Path:
    """Letters with columns that say what others say: classes by other names, numbers, tags and paths."""
    rows = pl.int_range(pl.len())
    character = pl.col("character")
    table = pl.read_parquet(letters).with_columns(
        spelled=pl.lit("letter ") + character.str.to_lowercase(),
        nearly=pl.when(rows == 0).then(pl.lit("R")).otherwise(character),
        gaps=pl.when(rows > 0).then(character),
        size=(rows % 17).cast(pl.Float64),
        length=(rows % 17).cast(pl.Float64),
        hour=(rows % 240) / 10,
        any_day=(rows % 240 + 240 * (rows % 7)) / 10,
        tags=pl.concat_list(character, "weight"),
        words=pl.concat_list("weight", character),
    )
    path = tmp_path / "letters.parquet"
    table.write_parquet(path)
    return path


def copies(tiny: dict, source: Path, **similarities: dict) -> dict[str, str]:
    recipe = Recipe.of(tiny | {"similarities": similarities}, {"catalog.source": str(source)})
    return silent_copies(recipe, prepare(recipe))


def test_what_says_the_same_in_the_same_way_is_a_copy(tiny: dict, source: Path) -> None:
    again = {"column": "character"}
    found = copies(tiny, source, character={}, again=again, spelled={}, size={}, length={}, tags={}, words={})
    assert found == {"again": "character", "spelled": "character", "length": "size", "words": "tags"}


def test_numbers_whole_turns_apart_are_copies_if_both_lie_on_that_circle(tiny: dict, source: Path) -> None:
    circle = {"period": 24.0}
    assert copies(tiny, source, hour=circle, any_day=circle) == {"any_day": "hour"}
    assert copies(tiny, source, hour=circle, any_day={}) == {}
    assert copies(tiny, source, hour={}, again={"column": "hour", "period": 24.0}) == {}


@pytest.mark.parametrize(
    "other",
    [
        {"column": "nearly"},
        {"column": "gaps"},
        {"column": "weight"},
        {"column": "character", "temperature": 0.2},
        {"column": "character", "balance": 1.0},
        {"column": "character", "kind": "hierarchy", "separator": "/"},
    ],
    ids=str,
)
def test_what_says_something_else_or_is_to_be_learned_otherwise_is_none(tiny: dict, source: Path, other: dict) -> None:
    assert copies(tiny, source, character={}, other=other) == {}


def test_numbers_by_ranks_and_by_contrast_are_two_notions(tiny: dict, source: Path) -> None:
    found = copies(tiny, source, size={}, length={"kind": "rank_n_contrast"}, again={"column": "size"})
    assert found == {"again": "size"}


def test_only_excess_counts_once(tiny: dict) -> None:
    recipe = Recipe.of(tiny, {"similarities.again": {"column": "character"}, "objective.weighting": "equal"})
    assert silent_copies(recipe, prepare(recipe)) == {}


def test_the_encoder_learns_as_if_the_label_stood_there_once(tiny: dict, tmp_path: Path) -> None:
    once = Recipe.of(tiny)
    thrice = Recipe.of(tiny, {f"similarities.{name}.column": "character" for name in ("again", "once_more")})
    runs = [train(recipe, tmp_path / str(number)) for number, recipe in enumerate((once, thrice))]
    one, other = (run.model() for run in runs)
    for name, value in one.encoder.state_dict().items():
        assert torch.equal(other.encoder.state_dict()[name], value), name
    weights = [_weights(run) for run in runs]
    assert weights[1] | weights[0] == weights[1]
    # And the copies' heads have learned: neighbours in them share the character.
    data = prepare(thrice, labels=runs[1].labels)
    embedding = embed_pixels(other, data.pixels.array)
    codes = {"character": data.values["character"]}
    found: dict[str, float] = {}
    for name in ("character", "again", "once_more"):
        found[name] = knn_categorical(other.project_embedding(embedding, name), codes, data.split)["character"].value
    assert min(found.values()) > 0.3, found  # a fifth by chance


def test_a_silent_similarity_takes_no_weight_from_the_others(tiny: dict) -> None:
    recipe = Recipe.of(tiny, {"similarities.again": {"column": "character"}})
    weighting = new_objective(recipe, prepare(recipe)).weighting
    assert isinstance(weighting, Excess)
    alone = new_objective(Recipe.of(tiny), prepare(recipe)).weighting
    assert isinstance(alone, Excess)
    torch.testing.assert_close(weighting.trust.weight[:2], alone.trust.weight)
    torch.testing.assert_close(weighting.trust.weight[2], alone.trust.weight[0], rtol=1e-3, atol=0.0)


@pytest.mark.parametrize("silent", [[True, True], [False]], ids=str)
def test_one_similarity_at_least_speaks(silent: list[bool]) -> None:
    with pytest.raises(ValueError, match="need 2 values of silent, not all true"):
        Excess(2, silent=silent)


def _weights(run: Run) -> dict[str, float]:
    last = [each for each in run.metrics() if each["kind"] == "train"][-1]
    return {name: each["weight"] for name, each in last["terms"].items()}

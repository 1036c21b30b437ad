"""Every kind of similarity from the command line to the last checkpoint, and what inspection counts of each."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from mscon.cli import main
from mscon.errors import UserError
from mscon.inspection import inspect
from mscon.interrupt import InterruptedRun
from mscon.prepare import prepare
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.train import train
from test_train import assert_same_bits
from watching import Watching

PATHS = ["A/x", "A/x", "A/y", "A", "B/x", None]
TAGS = [["a"], ["a", "b"], ["b"], None, ["c"], ["a", "c"]]
N = 48


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 small images in six kinds of eight, half of them to train on, in blocks of twelve."""
    folder = tmp_path_factory.mktemp("kinds")
    rng = np.random.default_rng(0)
    for row in range(N):
        Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(folder / f"{row}.png")
    kinds = [row % 6 for row in range(N)]
    table = pl.DataFrame(
        {
            "image": [f"{row}.png" for row in range(N)],
            "colour": ["rgb"[kind % 3] for kind in kinds],
            "hour": [None if row % 12 == 0 else (row * 7 % 24) / 1.0 for row in range(N)],
            "tags": [TAGS[kind] for kind in kinds],
            "path": [PATHS[kind] for kind in kinds],
            "split": ["train" if row < 24 else "val" if row < 36 else "test" for row in range(N)],
        }
    )
    table.write_parquet(folder / "catalog.parquet")
    return folder / "catalog.parquet"


WORDS = [
    *("--similarity", "colour", "--similarity", "hour:continuous", "--similarity", "ranked:rank-n-contrast"),
    *("--similarity", "tags", "--similarity", "path:hierarchy", "--similarity", "instance"),
    *("--similarity", "appearance", "--set", "similarities.hour.head_layers=3"),
    *("--set", "similarities.hour.period=24", "--set", "similarities.ranked.column=hour"),
    *("--set", "similarities.colour.balance=1", "--set", "similarities.path.level_weights=[1, 2]"),
    *("--set", "objective.learn_temperature=true", "--set", "objective.item_uncertainty=true"),
    *("--set", "image.size=12", "--set", "model.backbone=test_resnet"),
    *("--set", "model.stages=[]", "--set", "model.head_width=16", "--set", "model.head_dim=8"),
    *("--set", "training.epochs=3", "--set", "training.batch_size=6", "--set", "training.precision=32-true"),
    *("--set", "training.device=cpu"),
]


def test_all_kinds_train_from_the_command_line_and_resume_to_the_same_bits(catalog: Path, tmp_path: Path) -> None:
    main(["train", str(catalog), *WORDS, "--out", str(tmp_path / "whole")])
    whole = Run.open(tmp_path / "whole")
    assert [whole.recipe.kind(name) for name in whole.recipe.similarities] == [
        *(None, "continuous", "rank_n_contrast", None, "hierarchy", "instance", "appearance")
    ]
    assert {name: label.kind for name, label in whole.labels.items()} == {
        **{"colour": "categorical", "hour": "continuous", "ranked": "continuous", "tags": "tags"},
        "path": "hierarchy",
    }
    with pytest.raises(InterruptedRun):
        train(whole.recipe, tmp_path / "stopped", display=Watching(9))
    assert_same_bits(whole, train(whole.recipe, tmp_path / "stopped", resume=True))
    last = list(whole.metrics())[-1]
    assert all(math.isfinite(term["loss"]) for term in last["terms"].values())
    assert last["trust"].keys() == whole.recipe.similarities.keys()
    main(["embed", str(tmp_path / "whole"), str(catalog), "--out", str(tmp_path / "vectors.parquet")])
    vectors = pl.read_parquet(tmp_path / "vectors.parquet")
    for name in whole.recipe.similarities:
        assert vectors[f"uncertainty_{name}"].is_between(math.exp(-6), math.exp(6)).all()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_weights_from_gradients_train_from_the_command_line_in_either_precision(
    catalog: Path, tmp_path: Path, precision: str
) -> None:
    pytest.importorskip("torchjd")
    words = ["--set", "objective.weighting=UPGrad", "--set", f"training.precision={precision}"]
    main(["train", str(catalog), *WORDS, *words, "--set", "image.size=32", "--out", str(tmp_path / "run")])
    records = [each for each in Run.open(tmp_path / "run").metrics() if each["kind"] == "train"]
    weights = [[term["weight"] for term in each["terms"].values()] for each in records]
    assert [sum(each) for each in weights] == pytest.approx([len(each) for each in weights], rel=1e-4)
    assert max(map(max, weights)) > 1.001


@pytest.fixture
def recipe(catalog: Path) -> Recipe:
    return Recipe.of(
        {
            "catalog": {"source": str(catalog)},
            "similarities": {
                "colour": {},
                "hour": {"bandwidth": 1e6},
                "ranked": {"kind": "rank_n_contrast", "column": "hour"},
                "tags": {"rarity": False},
                "path": {"kind": "hierarchy"},
                "instance": {},
                "appearance": {},
            },
            "image": {"size": 12},
            "model": {"backbone": "test_resnet", "stages": []},
            "training": {"batch_size": 24, "device": "cpu"},
        }
    )


def test_inspection_counts_every_kind(recipe: Recipe) -> None:
    facts = inspect(recipe, prepare(recipe))
    columns = {column.name: column for column in facts.columns}
    assert {name: column.missing for name, column in columns.items()} == {
        **{"colour": 0, "hour": 4, "ranked": 4, "tags": 8, "path": 8}
    }
    assert columns["colour"].classes == {"r": 16, "g": 16, "b": 16}
    assert columns["tags"].classes == {"a": 24, "b": 16, "c": 16}
    assert columns["path"].classes == {"A": 32, "A/x": 16, "A/y": 8, "B": 8, "B/x": 8}
    assert (columns["hour"].low, columns["hour"].high) == (1.0, 23.0)

    # A batch is all 24 training items, each kind four times, in two views.
    batches = {each.name: each for each in facts.batches}
    assert batches["colour"].positives == pytest.approx(15)
    assert batches["hour"].positives == pytest.approx(43), "a kernel without end: all that have a number"
    assert batches["ranked"].positives is None
    assert batches["instance"].positives == pytest.approx(1)
    assert batches["appearance"].positives == pytest.approx(1)
    chance = {"colour": 47, "hour": 43, "tags": 39, "path": 39, "instance": 47, "appearance": 24}
    assert {name: batches[name].chance for name in chance} == pytest.approx({n: math.log(k) for n, k in chance.items()})
    # Paths: 32 rows below A, 16 of them A/x and 8 A/y; 8 B/x. Tags: 24 rows have a, 16 b, 16 c.
    deep = mixed((15, 1 / 31 + 1 / 15), (16, 1 / 31)), mixed((7, 1 / 31 + 1 / 7), (24, 1 / 31)), math.log(31)
    floor = (16 * deep[0] + 8 * deep[1] + 8 * deep[2] + 8 * math.log(7)) / 40
    assert batches["path"].floor == pytest.approx(floor)
    kinds = {
        "a": math.log(23),
        "b": math.log(15),
        "c": math.log(15),
        "ab": mixed((7, 1 / 23 + 1 / 15), (16, 1 / 23), (8, 1 / 15)),
        "ac": mixed((7, 1 / 23 + 1 / 15), (16, 1 / 23), (8, 1 / 15)),
    }
    assert batches["tags"].floor == pytest.approx(sum(kinds.values()) / len(kinds))
    assert all(each.lonely == 0.0 for name, each in batches.items() if name != "instance")


def mixed(*parts: tuple[int, float]) -> float:
    """Entropy of a row with so many others at each raw share."""
    total = sum(count * share for count, share in parts)
    return -sum(count * share / total * math.log(share / total) for count, share in parts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"similarities.path.level_weights": [1.0]},
            "path.level_weights: 1 for paths of up to 2 levels. Give one weight for each level",
        ),
        ({"similarities.colour.rarity": True}, "colour.rarity: categorical has no such option, but balance"),
        (
            {"similarities.tags": {"column": "path", "separator": ";"}},
            "is read as categorical; say its kind: --similarity tags:tags",
        ),
        ({"similarities.tags.column": "tag"}, "has no column 'tag'. Did you mean 'tags'"),
    ],
)
def test_what_the_columns_cannot_give_is_refused(recipe: Recipe, change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(Recipe.of(recipe.model_dump(), change))


def test_numbers_that_no_training_item_has_are_refused(catalog: Path, tmp_path: Path) -> None:
    table = pl.read_parquet(catalog).with_columns(
        hour=pl.when(pl.col("split") == "train").then(None).otherwise(pl.col("hour")),
        image=str(catalog.parent) + "/" + pl.col("image"),
    )
    table.write_parquet(tmp_path / "t.parquet")
    settings = {"catalog": {"source": str(tmp_path / "t.parquet")}, "similarities": {"hour": {}}, "image": {"size": 12}}
    with pytest.raises(UserError, match=r"'hour' of .* is empty in all rows that are trained on"):
        prepare(Recipe.of(settings))

"""Labels that an audit finds wrong while training: what the objective sees, and that runs go on with them."""

from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from rich.console import Console

from mscon.doubts import FEWEST, Doubts, wrong_rows
from mscon.evaluate.audit import Audited
from mscon.evaluate.audit_run import audit_run, show
from mscon.interrupt import InterruptedRun
from mscon.prepare import prepare
from mscon.recipe import Recipe
from mscon.report.audit import write_audit
from mscon.train import train
from test_train import assert_same_bits
from watching import Watching

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 40), "blue": (40, 40, 200)}
N, WRONG = 240, 24


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of one colour each, with grain; the first 24 have another one's name. And labels that say nothing."""
    folder = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    names = [list(COLOURS)[row % 3] for row in range(N)]
    shifts = [*rng.integers(1, 3, WRONG).tolist(), *([0] * (N - WRONG))]
    for row, name in enumerate(names):
        grain = rng.normal(0, 25, (12, 12, 3)) + COLOURS[name]
        Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(folder / f"{row}.png")
    table = pl.DataFrame(
        {
            "image": [f"{row}.png" for row in range(N)],
            "colour": [list(COLOURS)[(row + shift) % 3] for row, shift in enumerate(shifts)],
            "level": [float(list(COLOURS).index(name)) for name in names],
            "coin": ["edge", *rng.choice(["heads", "tails"], N - 1).tolist()],
            "hardly": ["a" if row in (31, 32) else "b" if row in (33, 34) else None for row in range(N)],
            "split": ["train" if row < 160 else "val" if row < 200 else "test" for row in range(N)],
        }
    )
    table.write_parquet(folder / "catalog.parquet")
    return folder / "catalog.parquet"


@pytest.fixture
def recipe(catalog: Path) -> Recipe:
    return Recipe.of(
        {
            "catalog": {"source": str(catalog)},
            "similarities": {"colour": {}, "level": {"kind": "continuous"}, "coin": {}, "hardly": {}, "instance": {}},
            "image": {"size": 12},
            "model": {"backbone": "test_resnet", "stages": [], "head_width": 32, "head_dim": 16},
            "training": {"epochs": 3, "batch_size": 32, "lr": 3e-3, "device": "cpu", "audit_epochs": 1},
        }
    )


def test_what_is_doubted_is_missing_to_the_objective(recipe: Recipe) -> None:
    data = prepare(recipe)
    doubts = Doubts(data, recipe.labelled)
    assert doubts.names == ["colour", "coin", "hardly"]
    doubts.doubted[0, 5] = doubts.doubted[1, 7] = True
    items = torch.from_numpy(data.split.train)[[5, 7, 9]].repeat(2)
    values = {name: torch.arange(6) for name in recipe.similarities}
    seen = doubts.left_out(values, items)
    assert seen["colour"].tolist() == [-1, 1, 2, -1, 4, 5]
    assert seen["coin"].tolist() == [0, -1, 2, 3, -1, 5]
    for name in ("level", "hardly", "instance"):
        assert seen[name].tolist() == list(range(6))
    assert values["colour"].tolist() == list(range(6))
    assert doubts.counts == {"colour": 1, "coin": 1, "hardly": 0}


def test_an_audit_that_finds_mostly_chance_is_not_followed() -> None:
    rows, codes = np.arange(30), np.zeros(30, dtype=np.int64)
    for noise, expected in ((0.4, [28, 29]), (0.6, [])):
        found = Audited(rows, codes, codes + 1, np.r_[np.full(27, 0.1), 0.5, 0.6, 0.9], noise)
        assert wrong_rows(found).tolist() == expected


def test_a_class_of_a_few_items_is_not_doubted() -> None:
    rows, given = np.arange(100, 160), np.repeat([3, 7, 9], [FEWEST, FEWEST - 1, 60 - 2 * FEWEST + 1])
    found = Audited(rows, given, given + 1, np.full(60, 0.9), 0.2)
    assert wrong_rows(found).tolist() == rows[given != 7].tolist()


def test_a_training_leaves_out_the_labels_that_are_wrong_and_goes_on_to_the_same_bits(
    recipe: Recipe, tmp_path: Path
) -> None:
    run = train(recipe, tmp_path / "run")
    data = prepare(recipe, labels=run.labels)
    doubts = Doubts(data, recipe.labelled)
    doubts.ask(run.model(), data)
    found = dict(zip(doubts.names, doubts.doubted, strict=True))
    wrong = torch.from_numpy(data.split.train) < WRONG
    assert found["colour"][wrong].float().mean() > 0.9
    assert found["colour"][~wrong].float().mean() < 0.05
    assert not any(found[name].any() for name in ("coin", "hardly")), "chance, and too few to audit"
    audited = audit_run(run)
    assert set(audited.columns) == {"colour", "level", "coin"}
    (why,) = audited.left_out.values()
    assert "column 'hardly'" in why
    assert "there are only 4" in why
    assert {name: audited.alone(name) for name in audited.columns} == {"colour": 0, "level": 0, "coin": 1}
    page = write_audit(run, audited).read_text()
    assert page.count("1 more could not be judged: too few others have the same.") == 1
    assert "Not audited: column &#39;hardly&#39;" in page
    console = Console(file=StringIO(), width=300)
    show(audited, [str(row) for row in range(N)], console)
    assert "\n1 not judged: too few others have the same\n" in console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert f"not audited: {why}" in console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    counts = [each["doubted"] for each in run.metrics() if each["kind"] == "val"]
    assert len(counts) == 3
    assert counts[-1]["colour"] >= WRONG / 2, f"counts: {counts}"

    with pytest.raises(InterruptedRun):
        train(recipe, tmp_path / "again", display=Watching(7))
    again = train(recipe, tmp_path / "again", resume=True)
    assert_same_bits(again, run)

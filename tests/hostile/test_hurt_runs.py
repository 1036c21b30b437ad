"""A run's folder with files that another run, another hand or a failing disk has left there: it is told of."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

Hurt = Callable[[Path], object]


@pytest.fixture
def run(two_runs: tuple[Path, Path], tmp_path: Path) -> Path:
    shutil.copytree(two_runs[0], tmp_path / "run")
    return tmp_path / "run"


def fewer_classes(run: Path) -> None:
    labels = json.loads((run / "labels.json").read_text())
    labels["character"]["classes"] = labels["character"]["classes"][:1]
    (run / "labels.json").write_text(json.dumps(labels))


def other_items(run: Path) -> None:
    began_with = pl.read_parquet(run / "trained_on.parquet")
    began_with.with_columns(pl.col("item") + 1_000_000).write_parquet(run / "trained_on.parquet")


def not_a_number(run: Path) -> None:
    path = run / "model.safetensors"
    weights = load_file(path)
    name = next(name for name, each in weights.items() if each.is_floating_point())
    weights[name].view(-1)[0] = float("nan")
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    save_file(weights, path, metadata=about)


def half_a_character(run: Path) -> None:
    path = run / "evaluation.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"notes": ["\ud800"]}))


def pipe(name: str) -> Hurt:
    def put(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    return put


@pytest.mark.parametrize(
    ("hurt", "command", "told"),
    [
        (fewer_classes, ["train", "RUN", "--resume"], "an item or a class that the run does not have"),
        (other_items, ["train", "RUN", "--resume"], "an item or a class that the run does not have"),
        (not_a_number, ["audit", "RUN"], "holds NaN"),
        (not_a_number, ["embed", "RUN", "glyphs", "-o", "e.parquet"], "holds NaN"),
        (half_a_character, ["compare", "RUN", "OTHER"], "half of a character"),
        (pipe("labels.json"), ["evaluate", "RUN"], "labels.json is no file but a pipe or a device: remove it"),
        (pipe("evaluation.json"), ["compare", "RUN", "OTHER"], "evaluation.json is no file but a pipe or a device"),
        (pipe("checkpoints/step-99999999.safetensors"), ["train", "RUN", "--resume"], "is no file but a pipe"),
    ],
)
def test_it_is_told_of(
    mscon, run: Path, two_runs: tuple[Path, Path], hurt: Hurt, command: list[str], told: str
) -> None:
    hurt(run)
    places = {"RUN": str(run), "OTHER": str(two_runs[1])}
    code, _, err = mscon(*(places.get(word, word) for word in command))
    assert code == 2
    assert told in " ".join(err.split())


def test_an_evaluation_of_an_earlier_model_is_none(mscon, run: Path, two_runs: tuple[Path, Path]) -> None:
    shutil.copy(two_runs[1] / "model.safetensors", run / "model.safetensors")
    code, out, err = mscon("compare", run, two_runs[1])
    assert code == 0, err
    assert "run was evaluated with an earlier model: mscon evaluate" in " ".join(out.split())

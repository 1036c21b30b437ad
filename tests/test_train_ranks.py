"""Training under torchrun: two real processes train the model that one process trains."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest
import torch
from torch import nn

from mscon.build import new_model
from mscon.checkpoint import latest_checkpoint
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.train import train


def launched(recipe: Recipe, folder: Path, size: int, *words: str) -> subprocess.Popen[str]:
    given = folder.with_name(f"{folder.name}.toml")
    given.write_text(recipe.to_toml(), encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
    command = [*launch, "-m", "mscon", "train", str(given), "--out", str(folder), *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def under_torchrun(recipe: Recipe, folder: Path, size: int, *words: str) -> Run:
    process = launched(recipe, folder, size, *words)
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    assert said.count("trained: ") == 1
    return Run.open(folder)


def test_two_processes_train_the_model_of_one(tiny: dict, tmp_path: Path) -> None:
    # Without batch normalisation, whose statistics are each process's own, and with SGD: AdamW's first steps go by the
    # signs of gradients, be they as small as they may. Few steps: rounding that turns a unit off leads them apart.
    change = {
        "model.norm": "group",
        "similarities.instance": {},
        "training.epochs": 1,
        "training.optimizer": "sgd",
        "training.lr": 0.003,
        "training.batch_size": 96,
        "objective.weighting": "uncertainty",
    }
    recipe = Recipe.of(tiny, change)
    one = train(recipe, tmp_path / "one")
    two = under_torchrun(recipe, tmp_path / "two", 2)
    torch.manual_seed(recipe.training.seed)
    start, ours, theirs = (
        nn.utils.parameters_to_vector(model.parameters())
        for model in (new_model(recipe, pretrained=False), two.model(), one.model())
    )
    assert (ours - theirs).norm() <= 1e-3 * (theirs - start).norm()
    assert list(one.metrics())
    for first, second in zip(one.metrics(), two.metrics(), strict=True):
        assert first["step"] == second["step"]
        for name, term in first["terms"].items():
            for key, value in term.items():
                other = second["terms"][name][key]
                assert other == pytest.approx(value, rel=1e-3, abs=1e-3), key


@pytest.mark.parametrize(
    "change", [{}, {"training.ema": 0.9, "training.audit_epochs": 1}], ids=["plain", "averaged and audited"]
)
def test_two_processes_stop_together_and_go_on_to_the_same_bits(tiny: dict, change: dict, tmp_path: Path) -> None:
    recipe = Recipe.of(tiny, {"training.epochs": 2, "training.batch_size": 32, **change})
    whole = under_torchrun(recipe, tmp_path / "whole", 2)
    stopped = launched(recipe, tmp_path / "stopped", 2)
    checkpoints = tmp_path / "stopped" / "checkpoints"
    while latest_checkpoint(checkpoints) is None:
        assert stopped.poll() is None, stopped.communicate()[1]
        sleep(0.02)
    stopped.send_signal(signal.SIGINT)
    _, errors = stopped.communicate()
    assert stopped.returncode != 0
    assert errors.count("stopped, with a checkpoint. Go on with: torchrun, 2 processes again, -m mscon train") == 1
    last, before = latest_checkpoint(whole.checkpoints), latest_checkpoint(checkpoints)
    assert last is not None
    assert before is not None
    assert before.name < last.name, "ended before it was stopped"
    resumed = under_torchrun(recipe, tmp_path / "stopped", 2, "--resume")
    assert resumed.model_path.read_bytes() == whole.model_path.read_bytes()
    held = [[record["total"] for record in run.metrics() if record["kind"] == "val"] for run in (whole, resumed)]
    assert held[0] == held[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"similarities": {"charcter": {}}}, "Did you mean 'character'"),
        ({"training.batch_size": 33}, "A batch of 33 items cannot be shared equally by 2 processes"),
        (
            {"training.batch_size": 2, "training.views_per_item": 1},
            "with 2 processes the encoder would see a single view at once",
        ),
    ],
    ids=["label", "share", "statistics"],
)
def test_a_mistake_is_told_once_and_ends_all_processes(tiny: dict, change: dict, message: str, tmp_path: Path) -> None:
    process = launched(Recipe.of(tiny, change), tmp_path / "run", 2)
    _, errors = process.communicate()
    assert process.returncode != 0
    assert " ".join(errors.split()).count(message) == 1
    assert "monitored_barrier" not in errors
    assert "mscon/train.py" not in errors, "a traceback"
    assert not (tmp_path / "run").exists()

"""Training under torchrun: two real processes train the model that one process trains."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from mscon.build import new_model
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.train import train


def under_torchrun(recipe: Recipe, folder: Path, size: int, *words: str) -> Run:
    given = folder.with_name(f"{folder.name}.toml")
    given.write_text(recipe.to_toml(), encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
    command = [*launch, "-m", "mscon", "train", str(given), "--out", str(folder), *words]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained: ") == 1
    return Run.open(folder)


def test_two_processes_train_the_model_of_one(tiny: dict, tmp_path: Path) -> None:
    # Without batch normalisation, whose statistics are each process's own, and with SGD: AdamW's first steps go by the
    # signs of gradients, be they as small as they may.
    change = {
        "model.norm": "group",
        "similarities.instance": {},
        "training.epochs": 1,
        "training.optimizer": "sgd",
        "training.lr": 0.003,
        "training.batch_size": 32,
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


def test_two_processes_go_on_from_a_checkpoint(tiny: dict, tmp_path: Path) -> None:
    change = {"training.epochs": 2, "training.batch_size": 32}
    whole = under_torchrun(Recipe.of(tiny, change), tmp_path / "whole", 2)
    again = under_torchrun(Recipe.of(tiny, change), tmp_path / "again", 2)
    first_epoch = sorted(again.checkpoints.glob("step-*.safetensors"))[0]
    for later in sorted(again.checkpoints.glob("step-*.safetensors"))[1:]:
        later.unlink()
    again.model_path.unlink()
    assert first_epoch.exists()
    resumed = under_torchrun(Recipe.of(tiny, change), tmp_path / "again", 2, "--resume")
    assert resumed.model_path.read_bytes() == whole.model_path.read_bytes()
    steps = [json.loads(line)["step"] for line in (resumed.folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == [record["step"] for record in whole.metrics()]

"""Training under torchrun: two real processes train the model that one process trains."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import sleep

import polars as pl
import pytest
import torch
from torch import nn

from mscon.build import new_model
from mscon.checkpoint import latest_checkpoint
from mscon.errors import UserError
from mscon.prepare import prepare, training_batches
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.train import train


def launched(
    recipe: Recipe,
    folder: Path,
    size: int,
    *words: str,
    launch: Sequence[str] = ("--standalone",),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """torchrun with so many processes, as `launch` has it, and `words` for them."""
    given = folder.with_name(f"{folder.name}.toml")
    given.write_text(recipe.to_toml(), encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", *launch, f"--nproc-per-node={size}"]
    command = [*torchrun, "-m", "mscon", "train", str(given), "--out", str(folder), *words]
    own = os.environ | {"OMP_NUM_THREADS": "1"} | dict(environment or {})
    return subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def first_checkpoint(of: subprocess.Popen[str], folder: Path) -> None:
    """Wait for it."""
    while latest_checkpoint(folder / "checkpoints") is None:
        assert of.poll() is None, of.communicate()[1]
        sleep(0.02)


def process_of(torchrun: subprocess.Popen[str], rank: int) -> int:
    """The number of the process that has this rank."""
    for child in Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text().split():
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"there is no process {rank}")


def under_torchrun(recipe: Recipe, folder: Path, size: int, *words: str) -> Run:
    process = launched(recipe, folder, size, *words)
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    assert said.count("trained: ") == 1
    return Run.open(folder)


def nearly_the_same(recipe: Recipe, one: Run, other: Run) -> bool:
    """Whether two runs' weights differ by 1e-3 of the way that they went."""
    torch.manual_seed(recipe.training.seed)
    start, ours, theirs = (
        nn.utils.parameters_to_vector(model.parameters())
        for model in (new_model(recipe, pretrained=False), other.model(), one.model())
    )
    return bool((ours - theirs).norm() <= 1e-3 * (theirs - start).norm())


@pytest.fixture(scope="module")
def two(tiny: dict) -> Recipe:
    change = {"training.epochs": 2, "training.batch_size": 32, "training.ema": 0.9, "training.audit_epochs": 1}
    return Recipe.of(tiny, change)


@pytest.fixture(scope="module")
def undisturbed(two: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of two processes that nobody disturbed."""
    return under_torchrun(two, tmp_path_factory.mktemp("undisturbed") / "run", 2)


def test_four_processes_train_the_model_of_one(tiny: dict, letters: Path, tmp_path: Path) -> None:
    """Also where the items of an epoch cannot be shared out evenly; of those held out, what is left over counts not."""
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
    uneven = pl.read_parquet(letters).filter(~((pl.col("split") == "train") & (pl.int_range(pl.len()) % 50 == 7)))
    uneven.write_parquet(tmp_path / "uneven.parquet")
    recipe = Recipe.of(tiny, {**change, "catalog.source": str(tmp_path / "uneven.parquet")})
    one = train(recipe, tmp_path / "one")
    several = under_torchrun(recipe, tmp_path / "several", 4)
    assert nearly_the_same(recipe, one, several)
    assert list(one.metrics())
    for first, second in zip(one.metrics(), several.metrics(), strict=True):
        assert first["step"] == second["step"]
        for name, term in first["terms"].items():
            for key, value in term.items():
                other = second["terms"][name][key]
                assert other == pytest.approx(value, rel=1e-3, abs=1e-3), key


@pytest.fixture
def in_files(tiny: dict, letters: Path, tmp_path: Path) -> tuple[Recipe, list[int]]:
    """A recipe without a cache, of images in files, of which a few cannot be read: those rows. In the first epoch they
    all fall to the second of two processes.
    """
    table = pl.read_parquet(letters).filter(pl.col("character").is_in(list("aRg")))
    for row, image in enumerate(table["image"].to_list()):
        (tmp_path / f"{row}.png").write_bytes(image)
    table.with_columns(image=pl.Series([f"{row}.png" for row in range(len(table))])).write_csv(tmp_path / "letters.csv")
    change = {
        "catalog.source": str(tmp_path / "letters.csv"),
        "image.cache": False,
        "model.norm": "group",
        "training.epochs": 1,
        "training.optimizer": "sgd",
        "training.lr": 0.003,
    }
    recipe = Recipe.of(tiny, change)
    batches = training_batches(recipe, prepare(recipe), rank=1, world_size=2).epoch(0)
    bad = sorted(int(batch[0]) for batch in batches)[:3]
    for row in bad:
        (tmp_path / f"{row}.png").write_bytes(b"no image")
    return recipe, bad


def test_unreadable_images_of_one_process_alone_are_listed_and_left_out_as_by_one(
    in_files: tuple[Recipe, list[int]], tmp_path: Path
) -> None:
    recipe, bad = in_files
    one, two = train(recipe, tmp_path / "one"), under_torchrun(recipe, tmp_path / "two", 2)
    assert nearly_the_same(recipe, one, two)
    assert [each["row"] for each in json.loads((two.folder / "skipped.json").read_text())] == bad
    assert (two.folder / "skipped.json").read_bytes() == (one.folder / "skipped.json").read_bytes()
    process = launched(Recipe.of(recipe.model_dump(), {"image.tolerance": 0.0}), tmp_path / "refused", 2)
    _, errors = process.communicate()
    assert process.returncode != 0
    assert " ".join(errors.split()).count("can't be used; 0% of all 252 may be skipped") == 1
    assert "mscon/train.py" not in errors, "a traceback"
    assert "exitcode  : 2" in errors, "they end by themselves"
    assert json.loads((tmp_path / "refused" / "skipped.json").read_text())


def test_two_processes_stop_together_and_go_on_to_the_same_bits(two: Recipe, undisturbed: Run, tmp_path: Path) -> None:
    stopped = launched(two, tmp_path / "stopped", 2)
    checkpoints = tmp_path / "stopped" / "checkpoints"
    first_checkpoint(stopped, tmp_path / "stopped")
    stopped.send_signal(signal.SIGTERM)
    _, errors = stopped.communicate()
    assert stopped.returncode != 0
    assert errors.count("stopped, with a checkpoint. Go on with: torchrun, 2 processes again, -m mscon train") == 1
    last, before = latest_checkpoint(undisturbed.checkpoints), latest_checkpoint(checkpoints)
    assert last is not None
    assert before is not None
    assert before.name < last.name, "ended before it was stopped"
    resumed = under_torchrun(two, tmp_path / "stopped", 2, "--resume")
    assert resumed.model_path.read_bytes() == undisturbed.model_path.read_bytes()
    held = [[record["total"] for record in run.metrics() if record["kind"] == "val"] for run in (undisturbed, resumed)]
    assert held[0] == held[1]


def test_a_process_that_is_killed_is_started_again_and_all_go_on_to_the_same_bits(
    two: Recipe, undisturbed: Run, tmp_path: Path
) -> None:
    process = launched(two, tmp_path / "run", 2, "--resume", launch=("--standalone", "--max-restarts=1"))
    first_checkpoint(process, tmp_path / "run")
    os.kill(process_of(process, 1), signal.SIGKILL)
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "going on from step" in said
    assert "the connection to another process was lost" in " ".join(errors.split())
    assert "mscon/train.py" not in errors, "a traceback"
    assert Run.open(tmp_path / "run").model_path.read_bytes() == undisturbed.model_path.read_bytes()


def test_a_process_that_hangs_is_named_by_the_others(two: Recipe, tmp_path: Path) -> None:
    long = Recipe.of(two.model_dump(), {"training.epochs": 1000})
    with launched(long, tmp_path / "run", 2, environment={"MSCON_TIMEOUT": "8"}) as process:
        first_checkpoint(process, tmp_path / "run")
        hanging = process_of(process, 1)
        os.kill(hanging, signal.SIGSTOP)
        told = ""
        assert process.stderr is not None
        while "process 1 does not answer" not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        os.kill(hanging, signal.SIGKILL)  # as torchrun does after half a minute
        process.communicate()
    assert process.returncode != 0
    assert "has not ended for 8 seconds" in told
    assert "set MSCON_TIMEOUT higher" in told


def test_two_nodes_of_one_process_each_train_the_model_of_one_node_of_two(
    two: Recipe, undisturbed: Run, tmp_path: Path
) -> None:
    with socket.create_server(("localhost", 0)) as free:
        meet = f"localhost:{free.getsockname()[1]}"
    launch = [
        "--nnodes=2",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={meet}",
        "--rdzv-id=letters",
        "--local-addr=localhost",
    ]
    nodes = [launched(two, tmp_path / "run", 1, "--resume", launch=launch) for _ in range(2)]
    for node in nodes:
        _, errors = node.communicate()
        assert node.returncode == 0, errors
    assert Run.open(tmp_path / "run").model_path.read_bytes() == undisturbed.model_path.read_bytes()


def test_a_mistake_is_told_once_and_ends_all_processes(tiny: dict, tmp_path: Path) -> None:
    process = launched(Recipe.of(tiny, {"training.batch_size": 33}), tmp_path / "run", 2)
    _, errors = process.communicate()
    assert process.returncode != 0
    assert " ".join(errors.split()).count("A batch of 33 items cannot be shared equally by 2 processes") == 1
    assert "monitored_barrier" not in errors
    assert "mscon/train.py" not in errors, "a traceback"
    assert not (tmp_path / "run").exists()


def test_a_process_whose_share_of_a_batch_is_one_view_is_refused(tiny: dict) -> None:
    recipe = Recipe.of(tiny, {"training.batch_size": 2, "training.views_per_item": 1})
    data = prepare(recipe)
    training_batches(recipe, data)
    with pytest.raises(UserError, match="with 2 processes the encoder would see a single view at once"):
        training_batches(recipe, data, rank=0, world_size=2)

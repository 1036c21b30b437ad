"""Training for real on a small catalog: it learns, it can be stopped anywhere, and it says what goes wrong."""

import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mscon.build import new_model
from mscon.checkpoint import latest_checkpoint
from mscon.errors import UserError
from mscon.fabric import precision
from mscon.interrupt import InterruptedRun
from mscon.model import MSConModel
from mscon.prepare import prepare
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.train import train
from watching import Watching


@pytest.fixture
def recipe(tiny: dict) -> Recipe:
    return Recipe.of(tiny)


def test_training_learns_and_leaves_a_whole_run(recipe: Recipe, tmp_path: Path) -> None:
    run = train(recipe, tmp_path / "run")
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        "checkpoints",
        ".lock",
        "labels.json",
        "metrics.jsonl",
        "model.safetensors",
        "recipe.toml",
        "skipped.json",
        "split.parquet",
        "tensorboard",
        "trained_on.parquet",
    }
    assert Run.open(run.folder) == run
    records = list(run.metrics())
    held = [record for record in records if record["kind"] == "val"]
    assert [record["epoch"] for record in held] == [1.0, 2.0, 3.0]
    assert held[-1]["terms"]["character"]["relative_excess"] < 0.9 * held[0]["terms"]["character"]["relative_excess"]
    assert sum(term["weight"] for term in records[-1]["terms"].values()) == pytest.approx(2.0)
    model = run.model()
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    assert model.embed(images).shape == (2, model.architecture.embedding_dim)
    torch.testing.assert_close(model.project(images, "weight").norm(dim=1), torch.ones(2))


def test_trust_is_in_the_first_view_of_the_held_out_items(recipe: Recipe, tmp_path: Path) -> None:
    run = train(recipe, tmp_path / "run")
    last = latest_checkpoint(run.checkpoints)
    assert last is not None
    excess, span, anchors = load_file(last)["objective/weighting.held_out_items"]
    held_out = len(prepare(recipe, labels=run.labels).split.val) // 32 * 32
    assert anchors.tolist() == [held_out, held_out]
    record = [each for each in run.metrics() if each["kind"] == "val"][-1]
    assert [each["relative_excess"] for each in record["trust"].values()] == pytest.approx((excess / span).tolist())


@pytest.mark.parametrize("steps", [4, 13])
def test_a_run_ends_after_as_many_steps_as_are_asked_for(steps: int, recipe: Recipe, tmp_path: Path) -> None:
    """Within an epoch or beyond the epochs that there would be; the rate falls over just these."""
    settings = recipe.training.model_copy(update={"steps": steps, "epochs": 1})
    run = train(recipe.model_copy(update={"training": settings}), tmp_path / "run")
    records = [each for each in run.metrics() if each["kind"] == "train"]
    assert records[-1]["step"] == steps
    assert records[-1]["lr"] < 0.2 * settings.lr
    assert [each["step"] for each in run.metrics() if each["kind"] == "val"][-1] == steps
    assert run.model_path.exists()


def test_a_run_is_not_overwritten(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("")
    with pytest.raises(UserError, match="holds a run already: go on with --resume"):
        train(recipe, tmp_path)


def broken_catalog(letters: Path, folder: Path, every: int) -> Path:
    """The same catalog with every so-manieth image cut short, one of them to nothing."""
    table = pl.read_parquet(letters)
    images = [b"" if row == 0 else data[:60] if row % every == 0 else data for row, data in enumerate(table["image"])]
    path = folder / "broken.parquet"
    table.with_columns(image=pl.Series(images)).write_parquet(path)
    return path


def test_a_few_broken_images_are_skipped_and_listed(tiny: dict, letters: Path, tmp_path: Path) -> None:
    source = str(broken_catalog(letters, tmp_path, every=100))
    run = train(Recipe.of(tiny, {"catalog.source": source, "training.epochs": 1}), tmp_path / "run")
    skipped = json.loads((run.folder / "skipped.json").read_text())
    table = pl.read_parquet(source)
    assert [each["row"] for each in skipped] == list(range(0, len(table), 100))
    assert [each["id"] for each in skipped] == [table["id"][each["row"]] for each in skipped]
    assert all(each["reason"] for each in skipped)


def test_skipped_images_are_told_by_the_recipes_ids_and_by_their_places_in_the_run(
    tiny: dict, letters: Path, tmp_path: Path
) -> None:
    source = broken_catalog(letters, tmp_path, every=100)
    table = pl.read_parquet(source).with_columns(sku=pl.format("sku {}", pl.int_range(pl.len())))
    table.write_parquet(source)
    recipe = Recipe.of(tiny, {"catalog.source": str(source), "catalog.id": "sku"})
    begun = prepare(recipe)
    assert [each.id for each in begun.pixels.skipped] == [f"sku {row}" for row in range(0, len(table), 100)]
    gone = table.with_row_index().filter(pl.col("index") % 100 > 0, split="test")["sku"][0]
    table.filter(pl.col("sku") != gone).write_parquet(source)
    assert prepare(recipe, labels=begun.labels, items=begun.items).pixels.skipped == begun.pixels.skipped


def test_many_broken_images_are_refused_with_rows_and_reasons(tiny: dict, letters: Path, tmp_path: Path) -> None:
    source = str(broken_catalog(letters, tmp_path, every=5))
    with pytest.raises(
        UserError, match=r"can't be used; 10% of all .* may be skipped. The first, rows counted from 0:\n  row 0 \("
    ):
        train(Recipe.of(tiny, {"catalog.source": source}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {
            "training.ema": 0.9,
            "training.optimizer": "sgd",
            "objective.weighting": "uncertainty",
            "similarities.instance": {},
            "training.sampler": "character",
            "training.per_class": 8,
        },
        {"training.micro_batch": 24, "training.steps": 11},  # stopped in the very last
        {"objective.loss": "cross-entropy", "objective.weighting": "uncertainty", "objective.paper": True},
        {"objective.loss": "triplet", "objective.weighting": "equal", "model.heads": "masked"},
    ],
    ids=["plain", "averaged", "micro-batches", "classifiers", "masked triplets"],
)
def test_a_run_stopped_in_mid_epoch_and_resumed_ends_with_the_same_bits(
    tiny: dict, change: dict, tmp_path: Path
) -> None:
    recipe = Recipe.of(tiny, change)
    whole = train(recipe, tmp_path / "whole")
    with pytest.raises(InterruptedRun):
        train(recipe, tmp_path / "stopped", display=Watching(10))
    stopped = train(recipe, tmp_path / "stopped", resume=True)
    assert_same_bits(whole, stopped)


@pytest.mark.parametrize("change", [{}, {"training.audit_epochs": 1}], ids=["plain", "audited"])
def test_a_run_resumed_from_a_catalog_that_has_other_rows_ends_with_the_same_bits(
    tiny: dict, letters: Path, change: dict, tmp_path: Path
) -> None:
    """Its items are those that it was begun with, each in its part, in the order that they had; one that is only tested
    on may be gone.
    """
    source = tmp_path / "letters.parquet"
    table = pl.read_parquet(letters).drop("split")
    table.write_parquet(source)
    recipe = Recipe.of(tiny, {"catalog.source": str(source)} | change)
    whole = train(recipe, tmp_path / "whole")
    with pytest.raises(InterruptedRun):
        train(recipe, tmp_path / "stopped", display=Watching(10))
    new = table.head(9).with_columns(image=pl.Series([each + b" " for each in table["image"][:9]]), id=pl.lit("new"))
    tested = pl.read_parquet(whole.split_path).filter(pl.col("split") == "test")["id"][0]
    lessened = table.filter(pl.col("id") != tested)
    pl.concat([new, lessened]).sample(fraction=1.0, shuffle=True, seed=1).write_parquet(source)
    assert_same_bits(whole, train(recipe, tmp_path / "stopped", resume=True))


def assert_same_bits(first: Run, second: Run) -> None:
    for run in (first, second):
        assert run.model_path.exists()
    assert first.model_path.read_bytes() == second.model_path.read_bytes()
    last = [latest_checkpoint(run.checkpoints) for run in (first, second)]
    assert last[0] is not None
    assert last[1] is not None
    assert last[0].name == last[1].name
    ours, theirs = load_file(last[0]), load_file(last[1])
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    held = [[r["total"] for r in run.metrics() if r["kind"] == "val"] for run in (first, second)]
    assert held[0] == held[1]


def test_a_run_killed_outright_resumes_to_the_same_bits(tiny: dict, tmp_path: Path) -> None:
    recipe = Recipe.of(tiny, {"training.micro_batch": 24, "training.epochs": 5})
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml())
    command = [sys.executable, "-m", "mscon", "train"]
    killed = tmp_path / "killed"
    victim = subprocess.Popen([*command, str(path), "--out", str(killed)], stdout=subprocess.DEVNULL)
    while latest_checkpoint(killed / "checkpoints") is None:
        assert victim.poll() is None, "ended before its first checkpoint"
        sleep(0.02)
    sleep(0.2)
    victim.kill()
    assert victim.wait() == -signal.SIGKILL, "ended before it was killed"
    subprocess.run([*command, str(killed), "--resume"], check=True, stdout=subprocess.DEVNULL)
    assert_same_bits(train(recipe, tmp_path / "whole"), Run.open(killed))
    steps = [record["step"] for record in Run.open(killed).metrics() if record["kind"] == "train"]
    assert steps == sorted(set(steps))


def test_in_a_long_epoch_and_before_a_long_validation_no_more_than_minutes_are_lost(
    tiny: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here every step is one that a checkpoint is due after, and the first validation is where the process dies."""
    recipe, whole = Recipe.of(tiny), train(Recipe.of(tiny), tmp_path / "whole")
    monkeypatch.setattr("mscon.train.CHECKPOINT_SECONDS", 0)
    with monkeypatch.context() as patched:
        patched.setattr("mscon.train.validate", lambda *_: sys.exit(9))
        with pytest.raises(SystemExit):
            train(recipe, tmp_path / "killed")
    steps = next(record["step"] for record in whole.metrics() if record["kind"] == "val")
    left = latest_checkpoint(tmp_path / "killed" / "checkpoints")
    assert left is not None
    assert left.name == f"step-{steps:08d}.safetensors"
    assert_same_bits(whole, train(recipe, tmp_path / "killed", resume=True))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool, bool]]:
    """Of every forward pass of a training's model: its rows, whether it kept a graph, and whether it trained."""
    passes: list[tuple[int, bool, bool]] = []

    def watched(*arguments: Any, **options: Any) -> MSConModel:
        model = new_model(*arguments, **options)
        model.register_forward_hook(
            lambda module, inputs, _: passes.append((len(inputs[0]), torch.is_grad_enabled(), module.training))
        )
        return model

    monkeypatch.setattr("mscon.train.new_model", watched)
    return passes


def test_the_encoder_sees_no_more_than_a_micro_batch(
    tiny: dict, seen: list[tuple[int, bool, bool]], tmp_path: Path
) -> None:
    train(Recipe.of(tiny, {"training.micro_batch": 24, "training.epochs": 1}), tmp_path / "run")
    step = [
        (22, False, True),
        (21, False, True),
        (21, False, True),
        (22, True, True),
        (21, True, True),
        (21, True, True),
    ]
    trained = [each for each in seen if each[2]]
    assert trained == step * (len(trained) // len(step))
    assert [each[0] for each in seen if not each[2]][:3] == [22, 21, 21]
    assert {each[:2] for each in seen if not each[2]} == {(22, False), (21, False)}


def test_a_micro_batch_as_large_as_the_batch_is_one_pass(
    tiny: dict, seen: list[tuple[int, bool, bool]], tmp_path: Path
) -> None:
    change = {"training.epochs": 1}
    plain = train(Recipe.of(tiny, change), tmp_path / "plain")
    micro = train(Recipe.of(tiny, change | {"training.micro_batch": 1000}), tmp_path / "micro")
    assert {each[0] for each in seen} == {64}
    assert_same_bits(plain, micro)


def test_without_batch_norm_micro_batches_train_the_same_model(tiny: dict, tmp_path: Path) -> None:
    # float32 sums in another order, and AdamW's first steps go by the sign of a gradient: SGD at a low rate keeps the
    # two together over a few steps. A unit that is on in one and off in the other leads them percents apart after more.
    change = {
        "training.epochs": 1,
        "training.batch_size": 96,
        "model.norm": "group",
        "similarities.instance": {},
        "training.optimizer": "sgd",
        "training.lr": 0.003,
        "objective.weighting": "uncertainty",
    }
    plain = train(Recipe.of(tiny, change), tmp_path / "plain")
    micro = train(Recipe.of(tiny, change | {"training.micro_batch": 24}), tmp_path / "micro")
    torch.manual_seed(plain.recipe.training.seed)
    start, ours, theirs = (
        nn.utils.parameters_to_vector(model.parameters())
        for model in (new_model(plain.recipe, pretrained=False), micro.model(), plain.model())
    )
    assert (ours - theirs).norm() <= 1e-3 * (theirs - start).norm()
    first, second = ([r["total"] for r in run.metrics() if r["kind"] == "val"] for run in (plain, micro))
    assert first == pytest.approx(second, rel=1e-4)


def test_a_loss_that_is_not_finite_stops_and_names_the_similarity(tiny: dict, tmp_path: Path) -> None:
    recipe = Recipe.of(tiny, {"training.lr": 1e30, "training.warmup": 0.0, "training.optimizer": "sgd"})
    with pytest.raises(UserError, match=r"not finite any more at step \d+ \(.*character.*Lower training.lr"):
        train(recipe, tmp_path / "run")
    assert latest_checkpoint(tmp_path / "run" / "checkpoints") is None


def test_the_last_good_checkpoint_outlives_a_loss_that_is_not_finite(recipe: Recipe, tmp_path: Path) -> None:
    run = train(recipe, tmp_path / "run")
    good = latest_checkpoint(run.checkpoints)
    assert good is not None
    before = good.read_bytes()
    worse = Recipe.of(recipe.model_dump(), {"training.epochs": 4, "training.lr": 1e30})
    (run.folder / "recipe.toml").write_text(worse.to_toml())
    with pytest.raises(UserError, match=f"the last good checkpoint is .*{good.name}"):
        train(worse, run.folder, resume=True)
    assert good.read_bytes() == before


def test_a_full_disk_while_a_checkpoint_is_written_leaves_the_old_one(recipe: Recipe, tmp_path: Path) -> None:
    run = train(recipe, tmp_path / "run")
    good = latest_checkpoint(run.checkpoints)
    assert good is not None
    before = good.read_bytes()
    more = Recipe.of(recipe.model_dump(), {"training.epochs": 4})
    (run.folder / "recipe.toml").write_text(more.to_toml())
    # A limit on the size of files stands in for the end of the disk: the write itself fails, as it would there.
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) // 2}, {resource.RLIM_INFINITY}));"
        "from mscon.cli import main; sys.argv = ['mscon', 'train', sys.argv[1], '--resume']; main()"
    )
    done = subprocess.run([sys.executable, "-c", limited, str(run.folder)], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "could not be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert good.read_bytes() == before
    assert not list(run.folder.rglob("*.partial"))
    train(more, run.folder, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"similarities": {"charcter": {}}}, r"charcter.*Did you mean 'character'"),
        ({"similarities": {"ink": {"balance": 1.0}}, "catalog.ood": []}, "ink.balance: continuous has no such option"),
        ({"training.batch_size": 100_000}, r"a batch of 100,000 needs .*Lower it: -s training.batch_size=\d+"),
        ({"model.backbone": "resnet10"}, r"timm has no backbone named 'resnet10'. Did you mean 'resnet10t'"),
        ({"model.backbone": "vgg11", "model.stages": [], "image.size": 16}, "does not take images of 16 px"),
        ({"catalog.source": "absent.parquet"}, "absent.parquet"),
        ({"catalog.split": "weight"}, "weight"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_mistakes_are_refused_before_anything_is_trained(
    tiny: dict, change: dict, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        train(Recipe.of(tiny, change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_not_there_is_refused(tiny: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds no CUDA device here"):
        train(Recipe.of(tiny, {"training.device": "cuda"}), tmp_path / "run")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["weight", "instance"], "the similarity instance is new; the similarity character is gone"),
        (["character", "weight", "instance"], "the similarity instance is new"),
        (["character"], "the similarity weight is gone"),
    ],
)
def test_a_run_goes_on_with_its_own_similarities_alone(tiny: dict, tmp_path: Path, names: list, told: str) -> None:
    run = train(Recipe.of(tiny, {"training.epochs": 1}), tmp_path / "run")
    other = Recipe.of({**tiny, "similarities": {name: {} for name in names}}, {"training.epochs": 1})
    with pytest.raises(UserError, match=rf"another recipe \({told}\)"):
        train(other, run.folder, resume=True)


def test_a_run_goes_on_with_its_heads_whatever_the_order_of_its_similarities(tiny: dict, tmp_path: Path) -> None:
    swapped = {**tiny, "similarities": {"weight": {}, "character": {}}}
    whole = train(Recipe.of(tiny), tmp_path / "whole")
    with pytest.raises(InterruptedRun):
        train(Recipe.of(tiny), tmp_path / "stopped", display=Watching(10))
    assert_same_bits(whole, train(Recipe.of(swapped), tmp_path / "stopped", resume=True))


def test_a_model_that_is_gone_is_kept_again_or_told_of(tiny: dict, tmp_path: Path) -> None:
    recipe = Recipe.of(tiny)
    with pytest.raises(InterruptedRun):
        train(recipe, tmp_path / "run", display=Watching(20))
    run = Run.open(tmp_path / "run")
    shutil.copytree(run.folder, tmp_path / "cut")
    run.model_path.unlink()
    train(recipe, run.folder, resume=True)
    assert run.model()
    cut = Run.open(tmp_path / "cut")
    cut.model_path.write_bytes(cut.model_path.read_bytes()[:1000])
    train(Recipe.of(tiny), cut.folder, resume=True)
    assert cut.model_path.read_bytes() == run.model_path.read_bytes()
    run.model_path.write_bytes(run.model_path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"not a model that can be read: (?s:.*) start a new run"):
        train(recipe, run.folder, resume=True)
    run.model_path.unlink()
    with pytest.raises(UserError, match=r"there is no such model(?s:.*)The training is over"):
        train(recipe, run.folder, resume=True)


def test_a_run_goes_on_with_its_own_recipe_alone(tiny: dict, tmp_path: Path) -> None:
    run = train(Recipe.of(tiny, {"training.epochs": 1}), tmp_path / "run")
    other = Recipe.of(tiny, {"training.epochs": 1, "model.head_dim": 8})
    with pytest.raises(UserError, match=r"another recipe \(model.head_dim was 16, is 8\)"):
        train(other, run.folder, resume=True)
    (run.folder / "recipe.toml").write_text(other.to_toml())
    with pytest.raises(UserError, match=r"(?s)not a checkpoint that this run can go on from.* start a new run"):
        train(other, run.folder, resume=True)


def test_precision_is_full_unless_the_hardware_has_bfloat16() -> None:
    assert precision("32-true", "cpu", size=64) == "32-true"
    assert precision("auto", "cpu", size=16) == "32-true"
    has = getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16", False)
    assert precision("auto", "cpu", size=64) == ("bf16-mixed" if has else "32-true")
    assert precision("bf16-mixed", "cpu", size=32) == "bf16-mixed"
    with pytest.raises(UserError, match="on a CPU needs images of 32 px or more, not 31"):
        precision("bf16-mixed", "cpu", size=31)

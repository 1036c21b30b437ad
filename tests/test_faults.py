"""What a machine can do to a training in the midst of it: nothing that was kept is lost, and what to do is told."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mscon.checkpoint import checkpoints, latest_checkpoint
from mscon.data import Catalog
from mscon.display import TerminalDisplay
from mscon.embed_catalog import embed_catalog
from mscon.errors import UserError
from mscon.interrupt import InterruptedRun, stop_signals
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.run_lock import LOCK, run_lock
from mscon.train import train
from watching import Watching

FULL = "No space left on device|No space left"


@pytest.fixture
def recipe(tiny: dict) -> Recipe:
    return Recipe.of(tiny, {"image.size": 16, "training.epochs": 3})


@pytest.fixture(scope="module")
def whole(letters: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recipe], Run]:
    """A recipe's run that nobody disturbed, trained once."""
    runs: dict[str, Run] = {}

    def of(recipe: Recipe) -> Run:
        key = recipe.to_toml()
        if key not in runs:
            runs[key] = train(recipe, tmp_path_factory.mktemp("whole") / "run")
        return runs[key]

    return of


def same_model(first: Run, second: Run) -> bool:
    return first.model_path.read_bytes() == second.model_path.read_bytes()


def course(run: Run) -> list[dict[str, Any]]:
    """All that was logged, but for times."""
    times = ("seconds", "images_per_second")
    return [{key: each for key, each in record.items() if key not in times} for record in run.metrics()]


def damaged(path: Path, how: str) -> None:
    content = path.read_bytes()
    middle = len(content) // 2
    changed = {
        "cut short": content[:middle],
        "empty": b"",
        "one bit": content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :],
        "one bit of its place": content.replace(rb"\"epoch\": 2", rb"\"epoch\": 3"),
    }
    assert changed[how] != content
    path.write_bytes(changed[how])


@pytest.mark.parametrize("how", ["cut short", "empty", "one bit", "one bit of its place"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    how: str, recipe: Recipe, whole: Callable[[Recipe], Run], tmp_path: Path
) -> None:
    undisturbed = whole(recipe)
    with pytest.raises(InterruptedRun):
        train(recipe, tmp_path / "run", display=Watching(20))
    newest, before = checkpoints(tmp_path / "run" / "checkpoints")
    damaged(newest, how)
    watching = Watching()
    run = train(recipe, tmp_path / "run", resume=True, display=watching)
    (note,) = watching.notes
    assert f"{newest.name}: not a checkpoint that this run can go on from" in note
    assert f"Going on from the one before, at step {int(before.stem.split('-')[1])}" in note
    assert same_model(run, undisturbed)


def test_a_run_without_any_sound_checkpoint_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InterruptedRun):
        train(recipe, tmp_path / "run", display=Watching(20))
    for path in checkpoints(tmp_path / "run" / "checkpoints"):
        damaged(path, "one bit")
    with pytest.raises(UserError, match=r"does not hold the bytes that were written\. No other is left .* new run"):
        train(recipe, tmp_path / "run", resume=True)


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138)])
def test_one_command_line_begins_a_run_and_after_a_signal_goes_on_with_it(
    name: str,
    status: int,
    recipe: Recipe,
    whole: Callable[[Recipe], Run],
    mscon: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    words = ("train", "recipe.toml", "--out", "runs/it", "--resume")
    logged, watching = TerminalDisplay.logged, Watching(10, signal.Signals[name])

    def watched(self: TerminalDisplay, record: dict[str, Any]) -> None:
        logged(self, record)
        watching.logged(record)

    monkeypatch.setattr(TerminalDisplay, "logged", watched)
    code, _, errors = mscon(*words)
    assert code == status
    assert "stopped, with a checkpoint. Go on with: mscon train runs/it --resume" in errors
    code, said, _ = mscon(*words)
    assert code == 0
    assert "going on from step 11" in said  # the next one after it was logged that ten were done
    run = Run.open(tmp_path / "runs" / "it")
    assert same_model(run, whole(recipe))
    assert course(run) == course(whole(recipe))


def test_a_second_ctrl_c_stops_at_once_and_afterwards_signals_are_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_signals() as asked:
        assert asked() == 0
        os.kill(os.getpid(), signal.SIGINT)
        assert asked() == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_a_folder_that_is_no_run_is_still_refused(mscon: Callable[..., tuple[int, str, str]]) -> None:
    code, _, errors = mscon("train", "runs/typo", "--resume")
    assert code == 2
    assert "runs/typo is not a run" in errors


HOLDS = """
import sys, time
from pathlib import Path
from mscon.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_training_in_a_folder_is_refused_until_the_first_has_ended_or_was_killed(
    recipe: Recipe, tmp_path: Path
) -> None:
    run = train(recipe, tmp_path / "run")
    before = latest_checkpoint(run.checkpoints)
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(run.folder)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for resume in (True, False):
            with pytest.raises(UserError, match=rf"another training is at work in it \(process {other.pid} on .*--out"):
                train(recipe, run.folder, resume=resume)
        other.kill()
    train(recipe, run.folder, resume=True)
    assert latest_checkpoint(run.checkpoints) == before


def test_nothing_is_left_of_a_folder_in_which_nothing_came_about(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UserError), run_lock(tmp_path / "deep" / "run"):
        raise UserError("the catalog is not there")
    assert not (tmp_path / "deep").exists()
    (tmp_path / "kept").mkdir()
    with run_lock(tmp_path / "kept"):
        pass
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [LOCK]


def test_what_killed_trainings_left_half_written_is_removed_when_one_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    run = train(recipe, tmp_path / "run")
    left = [run.model_path, run.folder / "labels.json", run.checkpoints / "step-00000099.safetensors"]
    for path in left:
        path.with_name(f"{path.name}.4711.partial").write_bytes(b"half")
    (run.folder / "report.html.4711.partial").write_bytes(b"of another command, which may be at work")
    train(recipe, run.folder, resume=True)
    assert [path.name for path in run.folder.rglob("*.partial")] == ["report.html.4711.partial"]


class SmallDisk:
    """A disk of its own, in memory."""

    def __init__(self, place: Path, size: str):
        self.place = place
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)], capture_output=True)
        if done.returncode:
            pytest.skip("no disk can be mounted here: that takes root")

    def be(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.place)], check=True)

    def gone(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.place)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """160 KiB; the tests that use it are skipped where nothing can be mounted."""
    mounted = SmallDisk(tmp_path / "disk", "160k")
    yield mounted
    mounted.gone()


def test_on_a_disk_that_is_full_at_any_moment_a_training_says_so_and_goes_on_when_there_is_room(
    recipe: Recipe, whole: Callable[[Recipe], Run], disk: SmallDisk
) -> None:
    """With the room for the labels alone, for the first checkpoint, for a second, …"""
    undisturbed = whole(recipe)
    needed = sum(path.stat().st_size for path in undisturbed.folder.rglob("*") if path.is_file())
    folder = disk.place / "run"
    for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9):
        disk.be(f"size={max(1, int(share * needed / 4096)) * 4096}")
        with pytest.raises(UserError, match=FULL):
            train(recipe, folder, resume=True)
    disk.be("size=64m")
    run = train(recipe, folder, resume=True)
    assert same_model(run, undisturbed)
    assert not list(folder.rglob("*.partial"))


def test_on_a_full_disk_embeddings_say_so_and_are_whole_when_there_is_room(
    recipe: Recipe, whole: Callable[[Recipe], Run], letters: Path, disk: SmallDisk, tmp_path: Path
) -> None:
    run, catalog, out = whole(recipe), Catalog.read(str(letters)), disk.place / "out.parquet"
    with pytest.raises(UserError, match=FULL):
        embed_catalog(run, catalog, out, rows=60)
    assert not out.exists()
    disk.be("size=64m")
    embed_catalog(run, catalog, out, rows=60)
    embed_catalog(run, catalog, tmp_path / "plain.parquet", rows=60)
    assert pl.read_parquet(out).equals(pl.read_parquet(tmp_path / "plain.parquet"))


def test_on_a_full_disk_an_index_says_so_and_is_whole_when_there_is_room(
    recipe: Recipe, whole: Callable[[Recipe], Run], letters: Path, disk: SmallDisk
) -> None:
    pytest.importorskip("lancedb")
    from mscon.search.index import Index, index_catalog

    run, catalog, to = whole(recipe), Catalog.read(str(letters)), str(disk.place / "letters.lance")
    with pytest.raises(UserError, match=f"(?s)could not be written .*{FULL}.* give the same command again"):
        index_catalog(run, catalog, to)
    disk.be("size=64m")
    index_catalog(run, catalog, to)
    assert len(Index.open(to, run)) == len(catalog)


def test_a_disk_that_is_read_only_is_told(recipe: Recipe, disk: SmallDisk, letters: Path) -> None:
    disk.be("size=64m")
    run = train(recipe, disk.place / "run")
    disk.be("ro")
    for folder, resume in ((run.folder, True), (disk.place / "new", False)):
        with pytest.raises(UserError, match=f"{folder}: cannot be written: Read-only file system.*another folder"):
            train(recipe, folder, resume=resume)
    with pytest.raises(UserError, match=r"out.parquet.*Read-only file system"):
        embed_catalog(run, Catalog.read(str(letters)), disk.place / "out.parquet")


def test_a_file_in_the_place_of_a_folder_is_told(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("no folder")
    for folder in (tmp_path / "runs", tmp_path / "runs" / "shoes"):
        with pytest.raises(UserError, match=f"{folder}: cannot be written: .*another folder"):
            train(recipe, folder)
    assert (tmp_path / "runs").read_text() == "no folder"


def test_memory_that_runs_out_is_told_with_what_takes_less(
    tiny: dict, mscon: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text(Recipe.of(tiny, {"model.head_width": 10**13}).to_toml())
    code, _, errors = mscon("train", "recipe.toml", "--out", "run")
    assert code == 2
    assert "memory has run out. A training takes less with training.micro_batch" in errors
    assert "Traceback" not in errors

"""Embedding a catalog: each row once, whoever does it and however often it is stopped."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from threading import Timer

import numpy as np
import polars as pl
import pytest
import torch
from filelock import FileLock
from PIL import Image

from mscon.data import Catalog
from mscon.data.cache import load_pixels
from mscon.embed import embed_pixels
from mscon.embed_catalog import embed_catalog
from mscon.errors import UserError
from mscon.model import build_model
from mscon.prepare import prepare
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.shards import Shards

COUNT = 83
BROKEN = (3, 40, 41, 82)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog without any label, some of whose files are no images."""
    folder = tmp_path_factory.mktemp("archive")
    rng = np.random.default_rng(0)
    for row in range(COUNT):
        path = folder / f"{row}.png"
        if row in BROKEN:
            path.write_bytes(b"no image")
        else:
            Image.fromarray(rng.integers(0, 255, (9, 11, 3), dtype=np.uint8)).save(path)
    names = [f"{row}.png" for row in range(COUNT)]
    pl.DataFrame({"image": names, "sku": [f"s{row}" for row in range(COUNT)]}).write_csv(folder / "archive.csv")
    return folder / "archive.csv"


@pytest.fixture(scope="module")
def run(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with random weights, its uncertainty head included."""
    folder = tmp_path_factory.mktemp("embedding") / "run"
    recipe = Recipe.of(
        {
            "catalog": {"source": str(archive)},
            "similarities": {"instance": {}, "appearance": {}},
            "image": {"size": 16, "tolerance": 0.5},
            "model": {"backbone": "test_resnet", "stages": [], "head_dim": 8, "head_width": 16},
            "objective": {"item_uncertainty": True},
        }
    )
    data = prepare(recipe)
    run = Run.create(folder, recipe, data.labels, items=data.items)
    torch.manual_seed(0)
    dims = {"instance": 8, "appearance": 8}
    model = build_model("test_resnet", dims, image_size=16, stages=[], head_width=16, uncertainty=True)
    model.save(run.model_path)
    return run


def test_every_readable_row_is_there_once_as_the_model_has_it(
    run: Run, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSCON_CACHE", str(tmp_path / "empty"))
    seen: list[tuple[int, int]] = []
    out = tmp_path / "deep" / "out.parquet"
    found = embed_catalog(
        run, Catalog.read(str(archive)), out, id="sku", rows=20, progress=lambda *each: seen.append(each)
    )
    table = pl.read_parquet(out)
    there = [row for row in range(COUNT) if row not in BROKEN]
    assert table["id"].to_list() == [f"s{row}" for row in there]
    assert (found.rows, found.columns) == (len(there), tuple(table.columns))
    assert table.columns == [
        *("id", "embedding", "z_instance", "z_appearance", "uncertainty_instance", "uncertainty_appearance")
    ]
    assert not (tmp_path / "empty").exists(), "nothing of an archive is kept"
    assert seen == sorted(seen)
    assert seen[-1] == (COUNT, COUNT)
    model = run.model()
    h = embed_pixels(model, load_pixels(Catalog.read(str(archive)), size=16, folder=tmp_path / "pixels").array)
    close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-6)
    close(torch.from_numpy(table["embedding"].to_numpy().copy()), h)
    for name in model.similarities:
        z = torch.from_numpy(table[f"z_{name}"].to_numpy().copy())
        close(z, model.project_embedding(h, name))
        of_items = torch.from_numpy(table[f"uncertainty_{name}"].to_numpy().copy())
        close(of_items, model.item_uncertainty(h)[name])
    listed = pl.read_csv(out.with_name("out.skipped.csv"))
    assert listed["row"].to_list() == list(BROKEN) == [each.row for each in found.skipped]
    assert listed["id"].to_list() == [f"s{row}" for row in BROKEN]
    assert sorted(path.name for path in out.parent.iterdir()) == ["out.parquet", "out.skipped.csv"]

    load_pixels(Catalog.read(str(archive)), size=16)  # into the cache, where it is found
    monkeypatch.setattr("mscon.embed_catalog.decoded", None)
    again = embed_catalog(run, Catalog.read(str(archive)), tmp_path / "kept.parquet", id="sku", rows=20)
    assert pl.read_parquet(tmp_path / "kept.parquet").equals(table)
    assert again.skipped == found.skipped


def test_half_precision_is_half_the_size(run: Run, archive: Path, tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.parquet", tmp_path / "half.parquet"
    embed_catalog(run, Catalog.read(str(archive)), whole)
    embed_catalog(run, Catalog.read(str(archive)), half, half=True)
    one, other = pl.read_parquet(whole), pl.read_parquet(half)
    assert other["embedding"].dtype == pl.Array(pl.Float16, one["embedding"].dtype.shape)  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_allclose(other["z_instance"].to_numpy(), one["z_instance"].to_numpy(), atol=1e-3)
    assert half.stat().st_size < 0.65 * whole.stat().st_size


def test_what_is_there_is_left_alone_until_something_is_another(run: Run, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out[1].parquet"  # whose name is no pattern
    first = embed_catalog(run, Catalog.read(str(archive)), out, rows=2)  # a shard without any image among them
    assert first.rows == COUNT - len(BROKEN)
    before = out.stat().st_mtime_ns
    assert embed_catalog(run, Catalog.read(str(archive)), out, rows=2) == first
    assert out.stat().st_mtime_ns == before
    left = Shards.beside(out, "abc123", 3)  # of another catalog, given up
    left.folder.mkdir()
    embed_catalog(run, Catalog.read(str(archive)), out, id="sku")
    assert pl.read_parquet(out, glob=False)["id"][0] == "s0"
    assert not left.folder.exists()
    out.write_bytes(b"no table")
    assert embed_catalog(run, Catalog.read(str(archive)), out, id="sku").rows == first.rows


def test_a_catalog_without_a_readable_image_is_refused_by_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    pl.DataFrame({"image": ["a.png", "a.png"]}).write_csv(tmp_path / "bad.csv")
    with pytest.raises(UserError, match=r"bad.csv: no image can be read. Row 0 \(.*empty"):
        embed_catalog(run, Catalog.read(str(tmp_path / "bad.csv")), tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from mscon.data import Catalog
from mscon.embed_catalog import embed_catalog
from mscon.run import Run

folder, source, out, times = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
rng = random.Random(0)

def work():
    embed_catalog(Run.open(Path(folder)), Catalog.read(source), out, rows=4)

def child():
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return pid

started = time.monotonic()
os.waitpid(child(), 0)
whole = time.monotonic() - started
out.rename(out.with_name("whole.parquet"))
killed = 0
while killed < times:
    pid = child()
    time.sleep(rng.uniform(0, whole))
    os.kill(pid, signal.SIGKILL)
    killed += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    if out.exists() and killed < times:
        out.unlink()
os.waitpid(child(), 0)
print(killed)
"""


def test_killed_again_and_again_it_ends_with_the_same_rows(run: Run, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    words = [sys.executable, "-c", KILLED, str(run.folder), str(archive), str(out), "10"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) == 10
    assert pl.read_parquet(out).equals(pl.read_parquet(tmp_path / "whole.parquet"))
    assert {path.suffix for path in tmp_path.iterdir()} <= {".parquet", ".csv", ".partial"}


def test_a_damaged_shard_is_made_anew(run: Run, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = embed_catalog(run, Catalog.read(str(archive)), tmp_path / "alone.parquet", rows=16)
    out = tmp_path / "out.parquet"
    with monkeypatch.context() as stopped:
        stopped.setattr("mscon.embed_catalog._join", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            embed_catalog(run, Catalog.read(str(archive)), out, rows=16)
    first, *_ = sorted(tmp_path.glob(".out.parquet.*.shards/*.parquet"))
    first.write_bytes(first.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"000000\.parquet was damaged, and is removed .* Give the command again"):
        embed_catalog(run, Catalog.read(str(archive)), out, rows=16)
    assert embed_catalog(run, Catalog.read(str(archive)), out, rows=16).rows == alone.rows
    assert pl.read_parquet(out).equals(pl.read_parquet(tmp_path / "alone.parquet"))


def test_two_processes_share_the_shards(run: Run, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "mscon"]
    words = [*torchrun, "embed", str(run.folder), str(archive), "-o", str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.count("79 rows") == 1, "one of them speaks"
    embed_catalog(run, Catalog.read(str(archive)), tmp_path / "alone.parquet")
    assert pl.read_parquet(out).equals(pl.read_parquet(tmp_path / "alone.parquet"))


def test_a_shard_in_other_hands_is_waited_for_and_then_not_done_again(tmp_path: Path) -> None:
    one, other = (Shards.beside(tmp_path / "out", "ab", 3) for _ in range(2))
    mine, theirs = one.undone(), other.undone()
    assert (next(mine), next(theirs)) == (0, 1)
    one.path(0).touch()
    assert next(mine) == 2
    one.path(2).touch()
    other.path(1).touch()
    assert list(mine) == list(theirs) == []
    assert one.done == 3
    with one.closing() as first:
        assert first
    with other.closing() as second:
        assert not second
    assert not list(tmp_path.iterdir())


def test_who_waits_long_for_a_shard_in_other_hands_tells_of_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mscon.shards.PATIENCE", 0.01)
    monkeypatch.setattr("mscon.shards.LONG", 0.05)
    shards, told = Shards(tmp_path / "shards", 2), list[int]()
    shards.folder.mkdir()

    def waits(count: int) -> None:
        told.append(count)
        Timer(0.2, shards.path(1).touch).start()

    with FileLock(shards.path(1, ".lock")):
        for shard in shards.undone(waits):
            shards.path(shard).touch()
    assert told == [1]


def test_who_wakes_when_all_is_joined_does_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (Shards.beside(tmp_path / "out", "ab", 2) for _ in range(2))
    mine, theirs = one.undone(), other.undone()
    assert (next(mine), next(theirs)) == (0, 1)
    other.path(1).touch()

    def end_meanwhile(_: float) -> None:
        one.path(0).touch()
        assert list(mine) == []
        with one.closing() as first:
            assert first

    monkeypatch.setattr("mscon.shards.time.sleep", end_meanwhile)
    assert next(theirs, None) is None
    other.folder.mkdir()  # as a lock makes it that is asked for just then
    other.path(1).touch()
    with other.closing() as second:
        assert not second, "one shard of two is nothing to join"
    assert not list(tmp_path.iterdir())

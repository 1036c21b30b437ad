"""Commands killed at random moments, again and again: is the outcome that of commands that nobody disturbed?

    python benchmarks/soak.py                                    # 100 kills, about 10 minutes on two busy cores
    python benchmarks/soak.py --work embed --kills 20 --seed 1

A work is a command on a small catalog of letters, trained at 16 px. It is first done undisturbed. Then, round after
round, it is begun in an empty folder and killed (SIGKILL) after a random part of the time that it took undisturbed; the
same command is given again, and killed again, until one comes to its end before its kill. After every kill each file
that has its name is read; what comes out of a round is compared with the undisturbed outcome. All kills have one seed,
but when a command does what is the machine's affair.

Works:

train          mscon train CATALOG --out RUN --resume: the model, the last checkpoint's tensors, the log but for times
embed          mscon embed RUN CATALOG -o FILE, in shards of 32 rows: the file's rows
index          mscon index RUN CATALOG --to INDEX, 32 rows at a time: the rows of its table
reproduce      mscon reproduce STUDY --quick with one method and seed: the results but for times, and the table

Columns, a line per kill:

work, round, kill   kills of a work are numbered through
after_s        seconds from the command's start to its kill
undisturbed_s  seconds of the whole command when nobody disturbed it
half_written   files under their final names that could not be read after the kill
unusable       whether the folder was then refused by the same command
same_bits      whether the round's outcome was the undisturbed one
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}  # one core, safe to fork

import argparse
import csv
import hashlib
import json
import multiprocessing
import random
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch  # in the parent, once for all the children that are forked from it

import mscon.embed_catalog
import mscon.search.index
import mscon.train
from mscon.checkpoint import latest_checkpoint
from mscon.cli import main as command
from mscon.recipe import Recipe
from mscon.run import Run

FORK = multiprocessing.get_context("fork")
ROWS = 32
MODEL = {"backbone": "test_resnet", "stages": [{"stage": -1, "grid": 1}], "head_dim": 8, "head_width": 16}
TRAINING = {"epochs": 10, "batch_size": 64, "precision": "32-true", "device": "cpu"}
STUDY = """
about = "A few letters"
similarities = ["character", "weight"]
ood = ["slant"]
[full]
learning_rates = [0.001, 0.003]
[quick]
learning_rates = [0.001, 0.003]
[quick.recipe]
image = { size = 16 }
model = { backbone = "test_resnet", stages = [{ stage = -1, grid = 1 }], head_dim = 8, head_width = 16 }
training = { epochs = 2, batch_size = 64, precision = "32-true", device = "cpu", keep = "last" }
"""


@dataclass(frozen=True)
class Kill:
    work: str
    round: int
    kill: int
    after_s: float
    undisturbed_s: float
    half_written: int
    unusable: bool
    same_bits: bool | None = None


@dataclass(frozen=True)
class Given:
    """What all works are given: the catalog's file, and an undisturbed run on it; each has a folder for its own."""

    folder: Path

    @property
    def catalog(self) -> Path:
        return self.folder / "letters.parquet"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def recipe(self) -> Recipe:
        catalog = {"source": str(self.catalog), "ood": ["typeface"]}
        similarities: dict[str, Any] = {"character": {}, "weight": {}}
        tables = {"image": {"size": 16}, "model": MODEL, "training": TRAINING}
        return Recipe.of({"catalog": catalog, "similarities": similarities, **tables})

    def make(self) -> None:
        from mscon.data.glyphs import glyphs_table

        table = glyphs_table(self.folder / "cache")
        table.filter(table["character"].is_in(list("aRg"))).write_parquet(self.catalog)
        mscon.train.train(self.recipe(), self.run)
        (self.folder / "letters.toml").write_text(STUDY, encoding="utf-8")


@dataclass(frozen=True)
class Work:
    """What is killed, and what tells one outcome of it from another; both are called in processes of their own."""

    do: Callable[[Given, Path], object]
    outcome: Callable[[Given, Path], object]


def train(given: Given, folder: Path) -> None:
    mscon.train.train(given.recipe(), folder / "run", resume=True)


def trained(_: Given, folder: Path) -> list[object]:
    run = Run.open(folder / "run")
    last = latest_checkpoint(run.checkpoints)
    assert last is not None
    times = ("seconds", "images_per_second")
    course = [{key: each for key, each in record.items() if key not in times} for record in run.metrics()]
    return [digest(run.model_path), last.name, tensors_digest(last), course]


def embed(given: Given, folder: Path) -> None:
    from mscon.data import Catalog

    found = Catalog.read(str(given.catalog))
    mscon.embed_catalog.embed_catalog(Run.open(given.run), found, folder / "vectors.parquet", rows=ROWS)


def embedded(_: Given, folder: Path) -> str:
    import polars as pl

    return hashlib.sha256(repr(pl.read_parquet(folder / "vectors.parquet").rows()).encode()).hexdigest()


def index(given: Given, folder: Path) -> None:
    from mscon.data import Catalog
    from mscon.search.index import index_catalog, update

    update.ROWS = ROWS
    index_catalog(Run.open(given.run), Catalog.read(str(given.catalog)), str(folder / "letters.lance"))


def indexed(_: Given, folder: Path) -> str:
    from mscon.search.index import Index

    rows = Index.open(str(folder / "letters.lance")).table.to_arrow().sort_by("id").to_pylist()
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def reproduce(given: Given, folder: Path) -> None:
    places = ["--root", given.folder, "--results", folder / "results", "--runs", folder / "runs"]
    wish = ["reproduce", given.folder / "letters.toml", "--quick", "--method", "mscon-excess", "--seeds", "1"]
    command([str(each) for each in (*wish, *places)])


def reproduced(_: Given, folder: Path) -> dict[str, object]:
    results = {path: json.loads(path.read_text()) for path in sorted((folder / "results").rglob("*.json"))}
    found: dict[str, object] = {}
    for path, result in results.items():
        found[str(path.relative_to(folder))] = {key: each for key, each in result.items() if key != "seconds"}
    return found | {"table": next((folder / "results").rglob("table.md")).read_text()}


WORKS = {
    "train": Work(train, trained),
    "embed": Work(embed, embedded),
    "index": Work(index, indexed),
    "reproduce": Work(reproduce, reproduced),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", action="append", choices=WORKS, help="only this one; repeat it")
    parser.add_argument("--kills", type=int, default=100, help="in all, shared out evenly among the works")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, help="where all of it happens; a temporary one when left out")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    given = parser.parse_args()
    names = given.work or list(WORKS)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="soak-", dir=given.folder) as folder:
        found = list(soak(Given(Path(folder)), names, given.kills, random.Random(given.seed), given.out))
    if any(each.half_written or each.unusable or not each.same_bits for each in found):
        sys.exit("something was lost: see the lines above")


def soak(given: Given, names: list[str], kills: int, rng: random.Random, out: Path) -> Iterator[Kill]:
    """Every kill, written to the CSV and told as soon as its round has ended."""
    in_child(given.make)
    with out.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# python benchmarks/soak.py --kills {kills} (torch {torch.__version__}, {os.cpu_count()} cores)\n")
        writer = csv.DictWriter(file, Kill.__dataclass_fields__, lineterminator="\n")
        writer.writeheader()
        for number, name in enumerate(names):
            count = kills * (number + 1) // len(names) - kills * number // len(names)
            for round_ in rounds(given, name, count, rng):
                writer.writerows(map(asdict, round_))
                file.flush()
                told = "the same bits" if round_[-1].same_bits else "OTHER BITS"
                print(f"{name}: kill {round_[-1].kill} of {count}, round {round_[-1].round}: {told}", flush=True)
                yield from round_


def rounds(given: Given, name: str, count: int, rng: random.Random) -> Iterator[list[Kill]]:
    """A work's kills, round by round, until there are so many."""
    work = WORKS[name]
    whole = given.folder / name / "undisturbed"
    whole.mkdir(parents=True)
    start = perf_counter()
    in_child(work.do, given, whole, cache=whole / "cache")
    seconds = round(perf_counter() - start, 2)
    expected = in_child(work.outcome, given, whole)
    done, number = 0, 0
    while done < count:
        number += 1
        folder = given.folder / name / f"round-{number}"
        folder.mkdir()
        killed: list[Kill] = []
        while True:
            after = rng.uniform(0, seconds) if done + len(killed) < count else None
            code = run_for(after, work.do, given, folder)
            if code != -9:
                break
            broken = in_child(unreadable, folder)
            kill = done + len(killed) + 1
            killed.append(Kill(name, number, kill, round(after or 0, 2), seconds, len(broken), unusable=False))
            print(*broken, sep="\n", end="", flush=True)
        if killed:
            same = code == 0 and in_child(work.outcome, given, folder) == expected
            killed[-1] = replace(killed[-1], unusable=code != 0)
            yield [replace(each, same_bits=same) for each in killed]
        done += len(killed)


def run_for(seconds: float | None, do: Callable[..., object], given: Given, folder: Path) -> int:
    """The exit code of a work in a process of its own, −9 where it was killed after so many seconds."""
    process = FORK.Process(target=_alone, args=(do, (given, folder), folder / "cache", None))
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode or 0


def in_child(do: Callable[..., object], *arguments: object, cache: Path | None = None) -> Any:
    """What a function returns in a process of its own: libraries whose threads do not outlive a fork stay out of this
    one.
    """
    ours, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_alone, args=(do, arguments, cache, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise SystemExit(f"{getattr(do, '__name__', do)} failed: see above") from None
    finally:
        process.join()


def _alone(do: Callable[..., object], arguments: tuple[object, ...], cache: Path | None, answer: Any) -> None:
    if cache:
        os.environ["MSCON_CACHE"] = str(cache)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    found = do(*arguments)
    if answer:
        answer.send(found)


def unreadable(folder: Path) -> list[str]:
    """The files under their final names, whatever wrote them, that do not hold what their names say."""
    import polars as pl
    from safetensors import safe_open

    readers: dict[str, Callable[[Path], object]] = {
        ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
        ".toml": lambda path: tomllib.loads(path.read_text(encoding="utf-8")),
        ".jsonl": lambda path: list(Run(path.parent, None, {}).metrics()),  # pyright: ignore[reportArgumentType]
        ".parquet": pl.read_parquet,
        ".safetensors": lambda path: safe_open(path, framework="pt"),
    }
    found: list[str] = []
    for path in folder.rglob("*"):
        # A cache that is being built has a hidden name until it is whole.
        hidden = any(part.startswith(".") and not part.endswith(".shards") for part in path.relative_to(folder).parts)
        if path.suffix in readers and not hidden:
            try:
                readers[path.suffix](path)
            except Exception as error:  # whatever a reader makes of half a file
                found.append(f"{path}: {error}")
    return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tensors_digest(path: Path) -> str:
    from safetensors.torch import load_file

    tensors = load_file(path)
    whole = hashlib.sha256()
    for key in sorted(tensors):
        whole.update(key.encode() + tensors[key].numpy().tobytes())
    return whole.hexdigest()


if __name__ == "__main__":
    main()

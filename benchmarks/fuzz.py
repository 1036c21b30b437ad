"""Every door of the package, knocked at with odd input for as long as asked: python benchmarks/fuzz.py --minutes 10

The doors and what is brought stand in tests/doors. Each is tried in a process of its own, which may take so much memory
and no more, and whose every example has so many seconds. What is let in and what is turned away with a sentence is
counted; everything else is a failure, which is printed with its input. The counts go to fuzz.csv beside this file.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

SECONDS = 60
"""Of one example: ten times what the slowest takes on a slow core."""

MEMORY_GB = 4.0
"""Of a process, torch and the catalog included, which take a quarter of it."""

TOGETHER = 25
"""Examples that are drawn from one seed."""

START = 120
"""Seconds that a process may take before its first example and after its last."""


class HangError(Exception):
    """An example took longer than `SECONDS`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="in all, shared by the doors alike")
    parser.add_argument("--door", action="append", help="only this one, by its name; repeat it")
    parser.add_argument("--seed", type=int, default=0, help="where the examples begin")
    parser.add_argument("--runs", nargs=2, help="two runs to take, in place of new ones")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.case:
        print(json.dumps(knocked(**json.loads(asked.case))))
        return
    import polars as pl

    from doors import DOORS
    from hostile_runs import few_letters, train_two

    names = asked.door or [door.name for door in DOORS]
    if unknown := set(names) - {door.name for door in DOORS}:
        parser.error(f"no door {unknown}: {', '.join(door.name for door in DOORS)}")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["MSCON_CACHE"] = str(home / "cache")
        letters = few_letters(home, home / "cache").rename(home / "all.parquet")
        runs = asked.runs or [str(each) for each in train_two(letters, home)]
        for name in names:
            case = {"name": name, "runs": runs, "seconds": 60 * asked.minutes / len(names), "seed": asked.seed}
            found = in_process(case, home / "last")
            for each in found.pop("failures"):
                print(f"--- {name}\n{each}", flush=True)
            rows.append(found)
            print(found, flush=True)
    if not asked.door:
        pl.DataFrame(rows).write_csv(HERE / "fuzz.csv")
    sys.exit(1 if any(row["failed"] for row in rows) else 0)


def in_process(case: dict[str, Any], last: Path) -> dict[str, Any]:
    """What a fresh process finds at one door; where it dies or hangs, that is its one failure."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (int(MEMORY_GB * 2**30),) * 2)

    command = [sys.executable, __file__, "--case", json.dumps(case | {"last": str(last)})]
    try:
        done = subprocess.run(
            command, preexec_fn=limit, capture_output=True, text=True, timeout=case["seconds"] + 2 * START, check=False
        )
        if done.returncode == 0:
            return json.loads(done.stdout.strip().splitlines()[-1])
        lines = done.stderr.splitlines()[-30:]
        why = "\n".join([f"exit status {done.returncode}", *(line[:300] for line in lines)])
    except subprocess.TimeoutExpired:
        why = "a hang that no signal ends"
    example = last.read_text(encoding="utf-8", errors="replace")[:1000] if last.exists() else "none"
    nothing = {"examples": None, "let_in": None, "turned_away": None, "slowest_s": None, "peak_mb": None}
    return {"door": case["name"], **nothing, "failed": 1, "failures": [f"{why}\nthe last example: {example}"]}


def knocked(name: str, runs: list[str], seconds: float, seed: int, last: str) -> dict[str, Any]:
    """So many seconds at one door: how often it was tried, and what came of it."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    from doors import DOORS, House, knock

    door = next(each for each in DOORS if each.name == name)
    counts, slowest, failures = {True: 0, False: 0}, 0.0, dict[str, str]()
    quiet = settings(
        max_examples=TOGETHER,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],  # pyright: ignore[reportArgumentType]
    )
    with tempfile.TemporaryDirectory() as folder:
        house = House((Path(runs[0]), Path(runs[1])), Path(folder))
        brought = door.brought(house)

        def at_the_door(example: Any) -> None:
            nonlocal end, slowest
            if monotonic() > end:
                return
            Path(last).write_text(repr(example)[:10_000], encoding="utf-8", errors="replace")
            start = perf_counter()
            try:
                with within(SECONDS if slowest else START):
                    counts[knock(door, house, example)] += 1
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a panic of polars' is no Exception
                told = traceback.format_exc()[-1500:]
                failures.setdefault(_where(error), f"{repr(example)[:600]}\n{told}")
            if end == inf:  # the first example imports what all of them need
                end, slowest = monotonic() + seconds, 1e-9
            else:
                slowest = max(slowest, perf_counter() - start)

        end = inf
        while monotonic() < end:
            seeded(seed)(quiet(given(brought)(at_the_door)))()
            seed += 1
    return {
        "door": name,
        "examples": sum(counts.values()) + len(failures),
        "let_in": counts[True],
        "turned_away": counts[False],
        "slowest_s": round(slowest, 2),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
        "failed": len(failures),
        "failures": list(failures.values()),
    }


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """**Raises** `HangError` after so many seconds."""

    def over(*_: object) -> None:
        raise HangError(f"more than {seconds} s")

    signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def _where(error: BaseException) -> str:
    """What tells one failure from another: the kind and the innermost line of ours."""
    lines = [each for each in traceback.extract_tb(error.__traceback__) if "mscon" in each.filename]
    return f"{type(error).__name__} {lines[-1].filename}:{lines[-1].lineno}" if lines else type(error).__name__


if __name__ == "__main__":
    main()

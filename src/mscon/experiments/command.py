"""What `mscon reproduce` does and says."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mscon.console import terminal
from mscon.errors import UserError
from mscon.experiments.comparison import Comparison, cells
from mscon.experiments.figures import MEASURES
from mscon.experiments.floors import take_floors
from mscon.experiments.jobs import Job
from mscon.experiments.reproduce import (
    Plan,
    commands,
    comparisons,
    figure_jobs,
    find_job,
    run_jobs,
    scored_items,
    there,
    write_comparisons,
    write_figure,
)
from mscon.experiments.results import Result, result_of
from mscon.experiments.studies import find_root, study
from mscon.experiments.work import Places
from mscon.log import Display
from mscon.prepare import Prepared
from mscon.run import Run

USUAL_SEEDS, FIGURE_SEEDS = 3, 2


@dataclass(frozen=True)
class Wish:
    """What a command line asks for.

    - `study`, `methods`, `seeds`, `quick`, `figure`: which trainings. Left out, `seeds` is 3 for the table and 2 for a
      figure, and `quick` the full preset for the table and the quick one for a figure that trains.
    - `run`: only this one of them.
    """

    study: str
    methods: list[str] | None = None
    seeds: int | None = None
    quick: bool | None = None
    figure: str | None = None
    run: str | None = None


def reproduce(wish: Wish, root: Path | None, results: Path, runs: Path) -> None:
    """Do the trainings asked for and show what they come to. **Raises** `UserError` for what cannot be done."""
    console, aside = terminal(), terminal(stderr=True)
    plan, jobs = _planned(wish)
    places = Places(find_root(plan.study.data, root), results, runs.absolute())
    if wish.run is not None:
        jobs = [find_job(jobs, wish.run)]
    left = run_jobs(jobs, places, watch=partial(_watched, aside), done=partial(_told, plan, places, console))
    if wish.run is None and wish.figure is None:
        take_floors(plan.first, places, scored_items(there(plan, places)))
    written = write_comparisons(plan, places) if wish.figure is None else write_figure(wish.figure, plan, places)
    if wish.run is None and wish.figure is None:
        for found in comparisons(plan, places):
            show(found, console)
    for path in written:
        _say(console, f"written: {path}")
    if left.waiting:
        _say(
            aside, f"{len(left.waiting)} are in another process's hands, or wait for these: run the command again later"
        )
    if left.failed:
        raise UserError("\n".join(f"{key}: {error}" for key, error in left.failed.items()))


def list_commands(wish: Wish, root: Path | None, results: Path, runs: Path) -> None:
    """Print the trainings that can be done now, one command a line. **Raises** `UserError` as `reproduce`."""
    plan, jobs = _planned(wish)
    places = Places(find_root(plan.study.data, root), results, runs.absolute())
    given = {"--figure": wish.figure, "--seeds": wish.seeds, "--root": root, "--results": results, "--runs": runs}
    usual = {"--results": Path("results"), "--runs": Path("runs/reproduce")}
    chosen = {key: value for key, value in given.items() if value is not None and value != usual.get(key)}
    options = [str(each) for pair in chosen.items() for each in pair]
    lines = list(commands(jobs, places, study=wish.study, options=options))
    for line in lines:
        print(line)
    if later := sum(result_of(job, places.results) is None for job in jobs) - len(lines):
        _say(terminal(stderr=True), f"{later} more once these have chosen the learning rates: list again then")


def _planned(wish: Wish) -> tuple[Plan, list[Job]]:
    if wish.figure is not None and wish.methods:
        raise UserError("--figure has methods of its own: leave out --method")
    if wish.figure in MEASURES and wish.quick:
        raise UserError(
            f"--figure {wish.figure} is read from the table's results in the full preset: leave out --quick"
        )
    usual = USUAL_SEEDS if wish.figure is None else FIGURE_SEEDS
    seeds = usual if wish.seeds is None else wish.seeds
    quick = wish.quick if wish.quick is not None else wish.figure not in (None, *MEASURES)
    plan = Plan.of(study(wish.study), quick=quick, wanted=wish.methods, seeds=seeds)
    return plan, plan.jobs if wish.figure is None else figure_jobs(wish.figure, plan)


def show(found: Comparison, console: Console) -> None:
    """Print the table."""
    heads, body = cells(found)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in heads:
        table.add_column(Text(title), justify="left" if title == "method" else "right", no_wrap=title == "method")
    for row in body:
        table.add_row(*map(Text, row))
    console.print(Text(found.study.about, style="bold"))
    console.print(table)
    by = "linear probes" if found.probe == "lbfgs" else "linear probes as the paper trains them"
    console.print(f"accuracy in % of {by} on test; ±: half a 95% interval over seeds", style="dim")


def _told(plan: Plan, places: Places, console: Console, job: Job, result: Result) -> None:
    """A line for a training that is done, and the table as it stands."""
    scores = "  ".join(f"{name} {100 * each['accuracy']:.1f}" for name, each in result.scores.items())
    said = result.failed or f"{scores}  ({result.seconds['training'] / 60:.1f} min)"
    _say(console, f"{job.folder}/{job.key}: {said}")
    if job.folder == plan.folder:
        write_comparisons(plan, places)


@contextmanager
def _watched(console: Console, job: Job, number: int, count: int) -> Iterator[Display]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield _Bar(bar, f"{number + 1} of {count}  {job.key}")


class _Bar:
    """One line for one training among many."""

    def __init__(self, bar: Progress, title: str):
        self.bar, self.task = bar, bar.add_task(title, total=None)

    def decoding(self, done: int, total: int) -> None:
        self.bar.update(self.task, completed=done, total=total)

    def started(self, run: Run, data: Prepared, position: Any, steps: int) -> None:
        self.bar.update(self.task, completed=position.step, total=steps)

    def logged(self, record: dict[str, Any]) -> None:
        self.bar.update(self.task, completed=record["step"])


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

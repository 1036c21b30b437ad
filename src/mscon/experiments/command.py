"""What `mscon reproduce` does and says."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mscon.experiments.comparison import Comparison, cells
from mscon.experiments.jobs import Job
from mscon.experiments.reproduce import Plan, commands, comparison, find_job, run_jobs, write_comparison
from mscon.experiments.results import Result, result_of
from mscon.experiments.studies import find_root, study
from mscon.experiments.work import Places
from mscon.log import Display
from mscon.prepare import Prepared
from mscon.run import Run


def reproduce(
    name: str,
    wanted: list[str] | None,
    count: int,
    *,
    quick: bool,
    list_: bool,
    run: str | None,
    root: Path | None,
    results: Path,
    runs: Path,
) -> None:
    """Do, or list, the trainings of a study and show its table. **Raises** `UserError` for what cannot be done."""
    console, aside = Console(), Console(stderr=True)
    plan = Plan.of(study(name), quick=quick, wanted=wanted, seeds=count)
    places = Places(find_root(name, root), results, runs)
    jobs = plan.jobs
    if list_:
        given = [("--root", root), ("--results", results), ("--runs", runs)]
        usual = {"--results": Path("results"), "--runs": Path("runs/reproduce")}
        options = [str(each) for key, path in given if path and path != usual.get(key) for each in (key, path)]
        lines = list(commands(jobs, places, options=options))
        for line in lines:
            print(line)
        later = sum(result_of(job, places.results) is None for job in jobs) - len(lines)
        if later:
            _say(aside, f"{later} more once these have chosen the learning rates: list again then")
        return
    asked = jobs if run is None else [find_job(jobs, run)]
    left = run_jobs(asked, places, watch=partial(_watched, aside), done=partial(_told, plan, places, console))
    path = write_comparison(plan, places)
    if run is None:
        show(comparison(plan, places), console)
        _say(console, f"table: {path}")
    if left:
        _say(aside, f"{len(left)} are in another process's hands, or wait for these: run the command again later")


def show(found: Comparison, console: Console) -> None:
    """Print the table."""
    heads, body = cells(found)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in heads:
        table.add_column(title, justify="left" if title == "method" else "right", no_wrap=title == "method")
    for row in body:
        table.add_row(*map(Text, row))
    console.print(Text(found.study.about, style="bold"))
    console.print(table)
    console.print("accuracy in % of linear probes on test; ±: half a 95% interval over seeds", style="dim")


def _told(plan: Plan, places: Places, console: Console, job: Job, result: Result) -> None:
    """A line for a training that is done, and the table as it stands."""
    scores = "  ".join(f"{name} {100 * each['accuracy']:.1f}" for name, each in result.scores.items())
    _say(console, f"{job.folder}/{job.key}: {scores}  ({result.seconds['training'] / 60:.1f} min)")
    write_comparison(plan, places)


@contextmanager
def _watched(console: Console, job: Job, number: int, count: int) -> Iterator[Display]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
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

"""A study from its first training to its table: what is done is not done again, and what is stopped goes on."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mscon.errors import UserError, nearest
from mscon.experiments.comparison import BASELINE, Comparison, Probe, compare, markdown
from mscon.experiments.figures import MEASURES, figure
from mscon.experiments.figures.draw import chart, draw
from mscon.experiments.figures.draw import markdown as chart_markdown
from mscon.experiments.figures.figure import read_lines
from mscon.experiments.figures.measures import retrieval, transfer
from mscon.experiments.floors import read_floors
from mscon.experiments.jobs import Job, search, seeds
from mscon.experiments.methods import Method, chosen, methods
from mscon.experiments.results import Result, rate_of, result_of, seeds_there
from mscon.experiments.studies import Study
from mscon.experiments.work import Places, TakenError, do
from mscon.files import write_text
from mscon.log import Display

TABLES: dict[Probe, str] = {"lbfgs": "table.md", "paper": "table-paper-probe.md"}

Watch = Callable[[Job, int, int], AbstractContextManager[Display | None]]
"""What watches a training: asked for with the job, how many are done, and how many there are in all."""


@dataclass(frozen=True)
class Plan:
    """What shall be done: the trainings of a study's table, in order."""

    study: Study
    quick: bool
    methods: tuple[Method, ...]
    seeds: int

    @classmethod
    def of(cls, study: Study, *, quick: bool, wanted: list[str] | None, seeds: int) -> "Plan":
        """**Raises** `UserError` for a method that is none, or less than one seed."""
        if seeds < 1:
            raise UserError(f"--seeds {seeds}: at least one is needed")
        return cls(study, quick, tuple(chosen(methods(study), wanted)), seeds)

    @property
    def first(self) -> Job:
        """A job of its study and preset."""
        return Job(self.study, self.quick, self.methods[0], 0)

    @property
    def folder(self) -> str:
        """The folder of its results."""
        return self.first.folder

    @property
    def jobs(self) -> list[Job]:
        """The search for learning rates, the table's first column of seeds, the next one, …"""
        found = search(self.study, self.methods, quick=self.quick)
        return [*found, *seeds(self.study, self.methods, quick=self.quick, count=self.seeds)]


@dataclass(frozen=True)
class Left:
    """Jobs that were not done.

    - `waiting`: those that another process has in hand, or that need what others do.
    - `failed`: key → what is wrong, of those that cannot be done.
    """

    waiting: tuple[Job, ...]
    failed: Mapping[str, str]


def run_jobs(
    jobs: Sequence[Job],
    places: Places,
    *,
    watch: Watch = lambda *_: nullcontext(),
    done: Callable[[Job, Result], object] = lambda *_: None,
) -> Left:
    """Do all jobs that are not done; one that cannot be done does not keep the others.

    **Arguments:** `watch`: see `Watch`; `done`: told of every result that was not there before.
    """
    waiting: list[Job] = []
    failed: dict[str, str] = {}
    for number, job in enumerate(jobs):
        if result_of(job, places.results):
            continue
        if rate_of(job, places.results) is None:
            waiting.append(job)
            continue
        try:
            with watch(job, number, len(jobs)) as display:
                result = do(job, places, display=display)
        except TakenError:
            waiting.append(job)
        except UserError as error:
            failed[job.key] = str(error)
        else:
            with suppress(UserError):  # of what is there as a whole: whoever asked hears of it when all is done
                done(job, result)
    return Left(tuple(waiting), failed)


def commands(jobs: Sequence[Job], places: Places, *, study: str, options: Sequence[str] = ()) -> Iterator[str]:
    """One command for each job that can be done now, each a training of its own; `study` as it was asked for."""
    for job in jobs:
        if rate_of(job, places.results) is not None and not result_of(job, places.results):
            preset = "--quick" if job.quick else "--full"
            yield shlex.join(["mscon", "reproduce", study, "--run", job.key, preset, *options])


def find_job(jobs: Sequence[Job], key: str) -> Job:
    """The job of this key. **Raises** `UserError` when there is none."""
    for job in jobs:
        if job.key == key:
            return job
    raise UserError(f"--run {key}: there is no such training.{nearest(key, [job.key for job in jobs])}")


def finished(plan: Plan, places: Places) -> dict[str, list[Result]]:
    """Every seed's result that is there, of each method, whether the plan asks for so many or not."""
    jobs = (Job(plan.study, plan.quick, method, 0) for method in plan.methods)
    return {job.method.name: list(seeds_there(job, places.results).values()) for job in jobs}


def searched_first(plan: Plan, places: Places) -> dict[str, list[Result]]:
    """Of methods whose search is not done, the one result there is at the middle rate: a first look."""
    rates = plan.study.preset(plan.quick).learning_rates
    jobs = (Job(plan.study, plan.quick, each, 0, rates[len(rates) // 2]) for each in plan.methods)
    found = {job.method.name: result_of(job, places.results) for job in jobs}
    return {name: [each] for name, each in found.items() if each and not each.failed}


def there(plan: Plan, places: Places) -> dict[str, list[Result]]:
    """The results of each method: every seed's, or a first look where there is none."""
    first = searched_first(plan, places)
    return {name: each or first.get(name, []) for name, each in finished(plan, places).items()}


def scored_items(results: Mapping[str, Sequence[Result]]) -> str | None:
    """The digest of the test items that results are of; None without any."""
    return next((each.items for found in results.values() for each in found), None)


def comparisons(plan: Plan, places: Places) -> list[Comparison]:
    """The table of what is there, and of a study that asks for it, one more by the paper's probe; the baseline's
    results count whether it is asked for or not.
    """
    whole = _with_baseline(plan)
    results = there(whole, places)
    probes: list[Probe] = ["lbfgs", "paper"] if plan.study.paper_probe and not plan.quick else ["lbfgs"]
    # The paper's protocol has no floors.
    floors = {"lbfgs": read_floors(whole.first, places, scored_items(results))}
    return [compare(plan.study, whole.methods, results, floors=floors.get(probe), probe=probe) for probe in probes]


def figure_jobs(name: str, plan: Plan) -> list[Job]:
    """The trainings of a figure; none for what the table's own say."""
    return [] if name in MEASURES else figure(name).jobs(plan.study, quick=plan.quick, seeds=plan.seeds)


def write_comparisons(plan: Plan, places: Places) -> list[Path]:
    """The tables as Markdown beside the results, of all methods."""
    paths: list[Path] = []
    for found in comparisons(_of_all_methods(plan), places):
        paths.append(places.results / plan.folder / TABLES[found.probe])
        _write(paths[-1], markdown(found))
    return paths


def write_figure(name: str, plan: Plan, places: Places) -> list[Path]:
    """A figure as SVG and Markdown in the folder `figures` beside the results; retrieval as Markdown alone."""
    every = _of_all_methods(plan)
    path = places.results / plan.folder / "figures" / f"{name}.md"
    if name == "retrieval":
        _write(path, retrieval(plan.study, every.methods, finished(every, places)))
        return [path]
    if name == "transfer":
        drawn = transfer(plan.study, every.methods, finished(every, places))
    else:
        lines = read_lines(figure(name), plan.study, places.results, quick=plan.quick)
        drawn = chart(figure(name), plan.study, lines, quick=plan.quick)
    _write(path, chart_markdown(drawn))
    draw(drawn, path.with_suffix(".svg"))
    return [path, path.with_suffix(".svg")]


def _write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join(lines) + "\n")


def _with_baseline(plan: Plan) -> Plan:
    if any(each.name == BASELINE for each in plan.methods):
        return plan
    return replace(plan, methods=(*plan.methods, *chosen(methods(plan.study), [BASELINE])))


def _of_all_methods(plan: Plan) -> Plan:
    return replace(plan, methods=tuple(methods(plan.study)))

"""A study from its first training to its table: what is done is not done again, and what is stopped goes on."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from mscon.errors import UserError, nearest
from mscon.experiments.comparison import BASELINE, Comparison, compare, markdown
from mscon.experiments.jobs import Job, search, seeds
from mscon.experiments.methods import Method, chosen, methods
from mscon.experiments.results import Result, chosen_rate, result_of
from mscon.experiments.studies import Study
from mscon.experiments.work import Places, TakenError, do
from mscon.files import write_text
from mscon.log import Display

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
    def jobs(self) -> list[Job]:
        """The search for learning rates, the table's first column of seeds, the next one, …"""
        found = search(self.study, self.methods, quick=self.quick)
        return [*found, *seeds(self.study, self.methods, quick=self.quick, count=self.seeds)]


def run_jobs(
    jobs: Sequence[Job],
    places: Places,
    *,
    watch: Watch = lambda *_: nullcontext(),
    done: Callable[[Job, Result], object] = lambda *_: None,
) -> list[Job]:
    """Do all jobs that are not done.

    **Arguments:** `watch`: see `Watch`; `done`: told of every result that was not there before.

    **Returns:** the jobs that could not be done: another process has them in hand, or what they need.
    """
    left: list[Job] = []
    for number, job in enumerate(jobs):
        if result_of(job, places.results):
            continue
        if job.learning_rate is None and chosen_rate(job, places.results) is None:
            left.append(job)
            continue
        try:
            with watch(job, number, len(jobs)) as display:
                result = do(job, places, display=display)
        except TakenError:
            left.append(job)
            continue
        done(job, result)
    return left


def commands(jobs: Sequence[Job], places: Places, *, options: Sequence[str] = ()) -> Iterator[str]:
    """One command for each job that can be done now, each a training of its own."""
    for job in jobs:
        waits = job.learning_rate is None and chosen_rate(job, places.results) is None
        if not waits and not result_of(job, places.results):
            quick = ["--quick"] if job.quick else []
            yield shlex.join(["mscon", "reproduce", job.study.name, "--run", job.key, *quick, *options])


def find_job(jobs: Sequence[Job], key: str) -> Job:
    """The job of this key. **Raises** `UserError` when there is none."""
    for job in jobs:
        if job.key == key:
            return job
    raise UserError(f"--run {key}: there is no such training.{nearest(key, [job.key for job in jobs])}")


def finished(plan: Plan, places: Places) -> dict[str, list[Result]]:
    """Every seed's result that is there, of each method, whether the plan asks for so many or not."""
    found: dict[str, list[Result]] = {}
    for method in plan.methods:
        first = Job(plan.study, plan.quick, method, 0)
        there = sorted(int(path.stem) for path in first.result(places.results).parent.glob("*.json"))
        each = (result_of(Job(plan.study, plan.quick, method, seed), places.results) for seed in there)
        found[method.name] = [result for result in each if result]
    return found


def searched_first(plan: Plan, places: Places) -> dict[str, list[Result]]:
    """Of methods whose search is not done, the one result there is at the middle rate: a first look."""
    rates = plan.study.preset(plan.quick).learning_rates
    jobs = (Job(plan.study, plan.quick, each, 0, rates[len(rates) // 2]) for each in plan.methods)
    found = {job.method.name: result_of(job, places.results) for job in jobs}
    return {name: [each] for name, each in found.items() if each}


def comparison(plan: Plan, places: Places) -> Comparison:
    """The table of what is there; the baseline's results count whether it is asked for or not."""
    whole = plan if any(each.name == BASELINE for each in plan.methods) else _with_baseline(plan)
    results = finished(whole, places)
    first = searched_first(whole, places)
    return compare(plan.study, whole.methods, {name: each or first.get(name, []) for name, each in results.items()})


def write_comparison(plan: Plan, places: Places) -> Path:
    """The table as Markdown beside the results, of all methods."""
    everything = Plan(plan.study, plan.quick, tuple(methods(plan.study)), plan.seeds)
    path = places.results / Job(plan.study, plan.quick, everything.methods[0], 0).folder / "table.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join(markdown(comparison(everything, places))) + "\n")
    return path


def _with_baseline(plan: Plan) -> Plan:
    own = [each for each in methods(plan.study) if each.name == BASELINE]
    return Plan(plan.study, plan.quick, tuple(chain(plan.methods, own)), plan.seeds)

"""A figure: points on an axis, each a variant of a study, and the trainings that they ask for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mscon.experiments.jobs import Job, search
from mscon.experiments.methods import Method, methods
from mscon.experiments.results import Result, seeds_there
from mscon.experiments.studies import Preset, Study
from mscon.experiments.variants import Variant


@dataclass(frozen=True)
class Point:
    """A place on the axis: what stands there, and the variant that is trained."""

    at: str
    variant: Variant


@dataclass(frozen=True)
class Panel:
    """What is read at every point: the mean accuracy over some labels, or the weight that a similarity has.

    - `labels`: whose accuracies; `weight_of`: the similarity whose weight.
    """

    title: str
    labels: tuple[str, ...] = ()
    weight_of: str | None = None

    def values(self, results: Mapping[int, Result]) -> dict[int, float]:
        """Seed → percent; seeds that lack one of the labels are left out."""
        if (name := self.weight_of) is not None:
            return {seed: 100 * each.weights[name] for seed, each in results.items() if name in each.weights}
        found: dict[int, float] = {}
        for seed, result in results.items():
            known = [value for value in map(result.accuracy, self.labels) if value is not None]
            if known and len(known) == len(self.labels):
                found[seed] = sum(known) / len(known)
        return found


@dataclass(frozen=True)
class Figure:
    """What is trained for a figure.

    - `name`: the word of `--figure`, and the stem of its files; `axis`: as a reader sees it.
    - `methods`: by name.
    - `points`: of a study in a preset, along the axis; `panels`: what is read at each.
    """

    name: str
    axis: str
    methods: tuple[str, ...]
    points: Callable[[Study, Preset], Sequence[Point]]
    panels: Callable[[Study], Sequence[Panel]]

    def jobs(self, study: Study, *, quick: bool, seeds: int) -> list[Job]:
        """The search for learning rates, in the study as it is; then all points seed by seed."""
        known = [each for each in methods(study) if each.name in self.methods]
        found = list(search(study, known, quick=quick))
        for seed in range(seeds):
            for point in self.points(study, study.preset(quick)):
                there = {each.name: each for each in self.methods_at(study, point)}
                found += [Job(study, quick, there[name], seed, variant=point.variant) for name in self.methods]
        return found

    def methods_at(self, study: Study, point: Point) -> list[Method]:
        """The figure's methods with the similarities that the point has."""
        return [each for each in methods(study, point.variant.similarities) if each.name in self.methods]


@dataclass(frozen=True)
class Line:
    """One method along the axis.

    - `results`: of each point by its name, seed → result; a point without any is not there yet.
    """

    method: Method
    results: Mapping[str, Mapping[int, Result]]


def read_lines(figure: Figure, study: Study, results: Path, *, quick: bool) -> list[Line]:
    """What there is of a figure, method by method, whatever number of seeds it was asked for with."""
    titles = {each.name: each for each in methods(study)}
    lines: dict[str, dict[str, dict[int, Result]]] = {name: {} for name in figure.methods}
    for point in figure.points(study, study.preset(quick)):
        for method in figure.methods_at(study, point):
            if there := seeds_there(Job(study, quick, method, 0, variant=point.variant), results):
                lines[method.name][point.at] = there
    return [Line(titles[name], there) for name, there in lines.items() if there]

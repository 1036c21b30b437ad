"""The table of a study: methods by labels, with intervals over seeds, made from result files alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mscon.errors import UserError
from mscon.experiments.floors import Floors
from mscon.experiments.methods import Method
from mscon.experiments.results import Result
from mscon.experiments.statistics import Mean, mean, paired
from mscon.experiments.studies import Study

BASELINE = "mscon-equal"
"""What every method is compared with."""

READING = ("cross-entropy", "simclr", "supcon", "csn", "mscon")
"""In which order a reader meets the methods: by the beginning of their names."""

Probe = Literal["lbfgs", "paper"]
"""Which probe's accuracies: ours, or those of the paper's protocol."""


@dataclass(frozen=True)
class Row:
    """One method: accuracies in percent, and differences to the baseline on the same seeds, in points.

    - `labels`: every scored label's; `in_domain`, `ood`: means over the study's own labels and over those that nothing
      was trained on; None without any.
    - `beside_in_domain`, `beside_ood`: this − the baseline; None for the baseline itself, and without common seeds.
    - `published`: label → percent.
    - `minutes`: of training, the median over seeds. `rate`: the learning rate. None of what is not trained.
    - `seeds`: how many; 0 while the search for the rate goes on, and what stands here is its middle rate; None of what
      has none.
    """

    method: str
    title: str
    labels: Mapping[str, Mean]
    in_domain: Mean | None
    ood: Mean | None
    beside_in_domain: Mean | None
    beside_ood: Mean | None
    published: Mapping[str, float]
    minutes: float | None
    rate: float | None
    seeds: int | None


@dataclass(frozen=True)
class Comparison:
    """All rows that there are results for, as a reader meets them."""

    study: Study
    rows: tuple[Row, ...]
    probe: Probe = "lbfgs"


def compare(
    study: Study,
    methods: Sequence[Method],
    results: Mapping[str, Sequence[Result]],
    *,
    floors: Floors | None = None,
    probe: Probe = "lbfgs",
) -> Comparison:
    """The table of some methods' results.

    **Arguments:**

    - `results`: method → a result for each of its seeds; methods without any are left out.
    - `floors`: rows of what was not trained, which come first.
    - `probe`: whose accuracies.

    **Raises:** `UserError` for results of different test items.
    """
    there = {each.name: each for each in methods if results.get(each.name)}
    if len({each.items for name in there for each in results[name]}) > 1:
        raise UserError(f"results of {study.name} were scored on several sets of test items: remove the older ones")
    order = sorted(there, key=lambda name: (_place(name), there[name].family, name))
    accuracies = {name: {label: _of(results[name], label, probe) for label in study.labels} for name in order}
    rows = tuple(_row(study, there[name], results[name], accuracies, probe) for name in order)
    first = tuple(_floor(study, title, each) for title, each in (floors or {}).items())
    return Comparison(study, (*first, *(row for row in rows if row is not None)), probe)


def markdown(found: Comparison) -> Iterator[str]:
    """The table's lines."""
    heads, body = cells(found)
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    for row in body:
        yield f"| {' | '.join(row)} |"


def cells(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Column titles, and the rows' cells; a published row stands below its method's."""
    study = found.study
    own, ood = list(study.similarities), [name for name in study.ood if any(name in row.labels for row in found.rows)]
    heads = ["method", *own, "mean", "beside equal"]
    if ood:
        heads += [*(f"{name} (OOD)" for name in ood), "mean OOD", "beside equal"]
    heads += ["rate", "minutes", "seeds"]
    body = []
    for row in found.rows:
        line = [row.title, *(_text(row.labels.get(name)) for name in own), _text(row.in_domain)]
        line.append(_text(row.beside_in_domain, signed=True))
        if ood:
            line += [*(_text(row.labels.get(name)) for name in ood), _text(row.ood)]
            line.append(_text(row.beside_ood, signed=True))
        if row.rate is None or row.minutes is None:
            body.append([*line, "", "", ""])
        else:
            body.append([*line, f"{row.rate:g}", f"{row.minutes:.1f}", str(row.seeds or "search")])
        if row.published:
            said = {name: f"{value:.2f}" for name, value in row.published.items()}
            line = [f"{row.title}: in print", *(said.get(name, "") for name in own), "", ""]
            line += [*(said.get(name, "") for name in ood), "", ""] if ood else []
            body.append([*line, "", "", ""])
    return heads, body


def _row(
    study: Study,
    method: Method,
    results: Sequence[Result],
    accuracies: Mapping[str, Mapping[str, dict[int, float]]],
    probe: Probe,
) -> Row | None:
    mine, baseline = accuracies[method.name], accuracies.get(BASELINE) if method.name != BASELINE else None
    labels = {name: mean(list(each.values())) for name, each in mine.items() if each}
    if not labels:
        return None

    def beside(names: Sequence[str]) -> Mean | None:
        return paired(_means(mine, names), _means(baseline, names)) if baseline else None

    own, ood = (list(_means(mine, names).values()) for names in (study.similarities, study.ood))
    return Row(
        method=method.name,
        title=method.title,
        labels=labels,
        in_domain=mean(own) if own else None,
        ood=mean(ood) if ood else None,
        beside_in_domain=beside(study.similarities),
        beside_ood=beside(study.ood),
        published=study.published.get(method.name, {}) if probe == "paper" else {},
        minutes=float(np.median([each.seconds["training"] for each in results])) / 60,
        rate=results[0].learning_rate,
        seeds=0 if _only_searched(results) else len(results),
    )


def _only_searched(results: Sequence[Result]) -> bool:
    """Whether they are the search's middle rate: a first seed that counts tells what its rate was chosen by."""
    return results[0].seed == 0 and not results[0].searched


def _floor(study: Study, title: str, accuracies: Mapping[str, float]) -> Row:
    labels = {name: mean([value]) for name, value in accuracies.items()}
    known = {
        names: [accuracies[name] for name in names if name in accuracies] for names in (study.similarities, study.ood)
    }
    own, ood = (mean([float(np.mean(each))]) if each else None for each in known.values())
    return Row("", title, labels, own, ood, None, None, {}, None, None, None)


def _of(results: Sequence[Result], label: str, probe: Probe) -> dict[int, float]:
    """Seed → accuracy in percent, of the seeds that have it."""
    if probe == "lbfgs":
        found = {each.seed: each.accuracy(label) for each in results}
    else:
        found = {each.seed: _by_sgd(each, label) for each in results}
    return {seed: value for seed, value in found.items() if value is not None}


def _by_sgd(result: Result, label: str) -> float | None:
    found = result.measures.get("paper_probe", {}).get(label)
    return None if found is None else 100 * found


def _means(accuracies: Mapping[str, Mapping[int, float]], names: Sequence[str]) -> dict[int, float]:
    """Seed → mean over the labels that were scored, of the seeds that have all of these."""
    known = [accuracies[name] for name in names if accuracies.get(name)]
    if not known:
        return {}
    common = set.intersection(*(set(each) for each in known))
    return {seed: float(np.mean([each[seed] for each in known])) for seed in sorted(common)}


def _place(name: str) -> int:
    return next((number for number, each in enumerate(READING) if name.startswith(each)), len(READING))


def _text(value: Mean | None, *, signed: bool = False) -> str:
    return "" if value is None else value.text(signed=signed)

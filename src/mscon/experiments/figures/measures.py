"""What the table's own trainings say beside it: transfer to few labels, and which embedding serves retrieval."""

from collections.abc import Iterator, Mapping, Sequence

from mscon.experiments.figures.draw import Chart
from mscon.experiments.methods import Method
from mscon.experiments.results import Result
from mscon.experiments.scoring import SHARES
from mscon.experiments.statistics import mean
from mscon.experiments.studies import Study

RETRIEVAL = {"map_at_r": "mAP@R", "precision_1": "P@1", "precision_10": "P@10"}


def transfer(study: Study, methods: Sequence[Method], results: Mapping[str, Sequence[Result]]) -> Chart:
    """Probe accuracy of every label against the percent of the training items whose labels the probe gets."""
    places = tuple(str(share) for share in (*SHARES, 100))
    panels: dict[str, dict[str, dict[str, list[float]]]] = {label: {} for label in study.labels}
    for method in methods:
        for label, panel in panels.items():
            each = {place: list(_accuracies(results.get(method.name, ()), label, place)) for place in places}
            if any(each.values()):
                panel[method.title] = each
    return Chart("% of the training items that are labelled", places, panels)


def retrieval(study: Study, methods: Sequence[Method], results: Mapping[str, Sequence[Result]]) -> Iterator[str]:
    """A row for each method and space: mAP@R and precision at 1 and 10 of every label, in percent."""
    yield f"| method | space | {' | '.join(study.labels)} | seeds |"
    yield f"|{' --- |' * (len(study.labels) + 3)}"
    for method in methods:
        found = [each.measures["retrieval"] for each in results.get(method.name, ()) if "retrieval" in each.measures]
        for space in found[0] if found else ():
            cells = [_retrieved([each[space].get(label) for each in found]) for label in study.labels]
            yield f"| {method.title} | {space} | {' | '.join(cells)} | {len(found)} |"


def _accuracies(results: Sequence[Result], label: str, place: str) -> Iterator[float]:
    for result in results:
        value = result.accuracy(label) if place == "100" else _share(result, place, label)
        if value is not None:
            yield value


def _share(result: Result, place: str, label: str) -> float | None:
    found = result.measures.get("transfer", {}).get(place, {}).get(label)
    return None if found is None else 100 * found


def _retrieved(values: Sequence[Mapping[str, float] | None]) -> str:
    """mAP@R / P@1 / P@10, means over seeds."""
    known = [each for each in values if each]
    return " / ".join(f"{100 * mean([each[key] for each in known]).value:.1f}" for key in RETRIEVAL) if known else ""

"""An evaluation, printed: tables of scores, and what a reader should know of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mscon.evaluate.bootstrap import FEW, verdict
from mscon.evaluate.notes import print_notes
from mscon.evaluate.retrieval import MEASURES

FLOORS = ("untrained", "pixels", "classical")

UNITS = {"accuracy": "%", "r2": "R²", "mAP": "mAP"}

STYLES = {"above": "green", "level": "", "below": "red"}
"""Of a difference, by its `verdict`."""


def show(evaluation: dict[str, Any], console: Console) -> None:
    """Print the probe table (score, interval, and how far it is above each floor), how linked items and items of a
    class find one another, and the diagnostics' warnings.
    """
    if evaluation["labels"]:
        _show_probes(evaluation["labels"], console)
        _show_paper_probes(evaluation["labels"], console)
    _show_links(evaluation["links"], console)
    _show_retrieval(evaluation.get("retrieval", {}), console)
    print_notes(evaluation.get("notes", ()), console)
    for note in score_notes(evaluation["labels"], evaluation["links"]):
        console.print(note, soft_wrap=True)
    for warning in evaluation["diagnostics"]["warnings"]:
        console.print(Text.assemble(("warning: ", "yellow"), warning), soft_wrap=True)


def score_notes(labels: Mapping[str, Mapping[str, Any]], links: Mapping[str, Mapping[str, Any]]) -> Iterator[Text]:
    """What a reader of the scores should know of the test items: that they are few, or of classes never seen.

    What holds of several labels is said once.
    """
    said: dict[str, list[str]] = {}
    for name, each in labels.items():
        for note in _notes(each):
            said.setdefault(note, []).append(name)
    for note, names in said.items():
        yield Text.assemble((f"{', '.join(names)}: ", "yellow"), note)
    for name, each in links.items():
        if each["asked"] < FEW:
            asked = f"only {each['asked']} test items have a link to find: its score says little"
            yield Text.assemble((f"{name}: ", "yellow"), asked)


def scale_of(metric: str) -> float:
    """What a score is multiplied by before it is printed: accuracies are in percent, others as they are."""
    return 100.0 if metric == "accuracy" else 1.0


def number(value: float | None, scale: float, *, sign: bool = False) -> str:
    """A score as it is printed: one decimal in percent, else three, and no minus on a zero; a dash for what is not
    defined.
    """
    return "–" if value is None else f"{value * scale:{'+' if sign else ''}z.{1 if scale > 1 else 3}f}"


def _notes(each: Mapping[str, Any]) -> Iterator[str]:
    if each["n"] < FEW:
        yield f"only {each['n']} test item{'s' * (each['n'] != 1)}: its score says little"
    if each.get("unseen"):
        yield f"{each['unseen']} of its {each['n']} test items are of classes that no training item has: all wrong"


def _show_probes(labels: Mapping[str, dict[str, Any]], console: Console) -> None:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("label", no_wrap=True)
    for title in ("score", "interval", "majority", "k-NN", "own\nhead", *(f"above\n{name}" for name in FLOORS)):
        table.add_column(title, justify="right", no_wrap=True)
    for name, each in labels.items():
        table.add_row(Text(name + "*" * (each["role"] == "ood")), *_cells(each))
        for title, cells in _more(each):
            table.add_row(Text(f"  {title}", style="dim"), *cells)
    console.print("linear probes, scored on test", style="bold")
    console.print(table)
    starred = any(each["role"] == "ood" for each in labels.values())
    stars = "* never trained on; " * starred
    console.print(f"{stars}intervals: 95%; green: above the floor, red: below", style="dim")
    console.print("k-NN, own head: by nearest neighbours in the embedding, in its own projections", style="dim")


def _cells(each: dict[str, Any]) -> list[str | Text]:
    metric, scale = each["metric"], scale_of(each["metric"])
    value = Text(f"{number(each['value'], scale)} {UNITS[metric]}", style="bold")
    floors = [_difference(each["floors"][floor]["difference"], scale) for floor in FLOORS]
    near = ["", ""] if metric == "r2" else _near(each, scale)
    return [value, _interval(each, scale), number(each["majority"], scale), *near, *floors]


def _more(each: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """What else a label's kind has to tell, a line for each: its title and the first cells."""
    lines = []
    for measure, title in (("spearman", "ranks"), ("circular", "angles")):
        if measure in each:  # neighbours of a number are scored by a correlation, so they stand beside the probe's
            found = each[measure]
            lines.append((title, [f"{number(found['value'], 1.0)} ρ", _interval(found, 1.0), "", *_near(each, 1.0)]))
    for level, right in enumerate(each.get("levels", []), start=1):
        lines.append((f"level {level}", [f"{number(right['value'], 100.0)} %", _interval(right, 100.0)]))
    return lines


def _near(each: dict[str, Any], scale: float) -> list[str]:
    own = each["own_head"]
    return [number(each["knn"], scale), number(own["value"] if own else None, scale)]


def _difference(difference: dict[str, float | None], scale: float) -> Text:
    style = STYLES[verdict(difference["low"], difference["high"])]
    return Text(number(difference["value"], scale, sign=True), style=style)


def _show_paper_probes(labels: Mapping[str, dict[str, Any]], console: Console) -> None:
    probed = {name: each["paper_probe"] for name, each in labels.items() if "paper_probe" in each}
    if not probed:
        return
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("label", no_wrap=True)
    for title in ("score", "interval", "epoch", "validation"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, each in probed.items():
        score = Text(f"{number(each['value'], 100.0)} %", style="bold")
        validation = number(each["validation"][each["epoch"] - 1], 100.0)
        name = Text(name + "*" * (labels[name]["role"] == "ood"))
        table.add_row(name, score, _interval(each, 100.0), f"{each['epoch']} of {each['epochs']}", validation)
    console.print("linear probes by SGD on augmented images, scored on test", style="bold")
    console.print(table)
    console.print("after the first author's precursor code; of the epochs the best on validation", style="dim")


def _show_links(links: dict[str, Any], console: Console) -> None:
    if not links:
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("linked test items", no_wrap=True)
    for title in ("recall@10", "interval", "embedding", "chance", "1 / rank"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, each in links.items():
        own, shared = each["own_head"]["recall"]["10"], each["embedding"]["recall"]["10"]
        cells = [number(own["value"], 100.0), _interval(own, 100.0), number(shared["value"], 100.0)]
        cells += [number(own["chance"], 100.0), number(each["own_head"]["reciprocal_rank"]["value"], 1.0)]
        table.add_row(Text(f"{name} ({each['pairs']:,} pair{'s' * (each['pairs'] != 1)})"), *cells)
    console.print(table)


def _show_retrieval(retrieval: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    if not retrieval:
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("label", no_wrap=True)
    for title in ("mAP@R", "own\nhead", "at 1", "own\nhead", "at 10", "own\nhead", "chance"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, each in retrieval.items():
        spaces = [each[space] for space in ("embedding", "own_head")]
        cells = [number(space and space[measure]["value"], 100.0) for measure in MEASURES for space in spaces]
        table.add_row(Text(name), *cells, number(each["chance"], 100.0))
    console.print("retrieval among test items by cosine, in percent", style="bold")
    console.print(table)
    console.print("at 1, 10: precision; chance: that of a random order, whose mAP@R is lower", style="dim")
    console.print("of each first in the embedding, then in the label's own projections", style="dim")


def _interval(scores: dict[str, Any], scale: float) -> str:
    if scores["low"] is None and scores["high"] is None:
        return "–"
    return f"{number(scores['low'], scale)}–{number(scores['high'], scale)}"

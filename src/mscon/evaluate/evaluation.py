"""Evaluate a run: embed its catalog once, probe every label beside the floors, and look for what went wrong."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from mscon.build import new_model
from mscon.data.classical import classical_features, pixel_features
from mscon.data.splits import PARTS
from mscon.embed import embed_pixels
from mscon.evaluate.bootstrap import RESAMPLES
from mscon.evaluate.columns import lacking_part
from mscon.evaluate.diagnose import diagnose
from mscon.evaluate.entries import MODEL, Resampling, paper_entry
from mscon.evaluate.links import find_links
from mscon.evaluate.notes import data_notes, print_notes
from mscon.evaluate.paper_probe import LR, probe_by_sgd
from mscon.evaluate.predictions import write_predictions
from mscon.evaluate.rankings import score_rankings, show_rankings
from mscon.evaluate.scores import Label, probe_all
from mscon.model import MSConModel
from mscon.prepare import Prepared
from mscon.run import Run

FLOORS = ("untrained", "pixels", "classical")

FEW = 30
"""Test items of a label below which its score is printed with a warning."""

UNITS = {"accuracy": "%", "r2": "R²", "mAP": "mAP"}


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found, and what it found it on: a report is made from these.

    - `evaluation`: what evaluation.json holds.
    - `data`, `embeddings`: the run's catalog and the model's shared embedding of it, row for row.
    """

    evaluation: dict[str, Any]
    data: Prepared
    embeddings: Float[Tensor, "n d"]


def evaluate_run(
    run: Run, *, paper_probe: bool = False, progress: Callable[[int, int], None] | None = None
) -> Evaluated:
    """Probe the trained and the out-of-domain labels on a run's embedding and on three floors, and diagnose the run;
    write evaluation.json, and beside it what the probes said of each test item (predictions.parquet).

    A trained label is also told by the nearest neighbours in the projections of its own head. The floors are the same
    encoder untrained, a 16×16 thumbnail, and that beside a histogram of gradients. A label that no training or no test
    item has is left out and noted.

    **Arguments:**

    - `run`: a trained run; its catalog must still be where it was.
    - `paper_probe`: also probe the model's categories and paths by `probe_by_sgd`, under the run's own views.
    - `progress`: called with steps done and steps in all, of one kind of probes and then of the other.

    **Raises:** `UserError` for a run without a model, or a catalog that cannot be used.
    """
    model = run.model()
    data = run.prepare()
    pixels = data.pixels.array
    embeddings = embed_pixels(model, pixels)
    features = {
        MODEL: embeddings,
        "untrained": embed_pixels(_untrained(run), pixels),
        "pixels": pixel_features(pixels),
        "classical": classical_features(pixels),
    }
    data = data.readable()
    labels, heads = scored_labels(run, data), _heads(model, data, embeddings)
    scored = probe_all(features, labels, data.split, heads=heads, groups=data.groups, progress=progress)
    scores = scored.entries
    if paper_probe:
        for name, entry in _paper_probes(run, model, data, labels, progress).items():
            scores[name]["paper_probe"] = entry
    rows = {name: len(getattr(data.split, name)) for name in PARTS}
    evaluation = {"rows": rows, "labels": scores, "links": _links(model, data, embeddings), "notes": data_notes(data)}
    diagnostics = diagnose(run, data, embeddings).beside(scores, evaluation["links"])
    evaluation["diagnostics"] = diagnostics.to_json()
    draws = Resampling(data.groups, RESAMPLES, seed=0)
    evaluation["retrieval"] = score_rankings(embeddings, heads, labels, data.split, draws)
    write_predictions(run, data, scored.probes)
    run.write_json("evaluation.json", evaluation)
    return Evaluated(evaluation, data, embeddings)


def show(evaluation: dict[str, Any], console: Console) -> None:
    """Print the probe table (score, interval, and how far it is above each floor), how linked items and items of a
    class find one another, and the diagnostics' warnings.
    """
    if evaluation["labels"]:
        _show_probes(evaluation["labels"], console)
        _show_paper_probes(evaluation["labels"], console)
    _show_links(evaluation["links"], console)
    show_rankings(evaluation.get("retrieval", {}), console)
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
    console.print("* never trained on; intervals: 95%; green: above the floor, red: below", style="dim")
    console.print("k-NN, own head: by nearest neighbours in the embedding, in its own projections", style="dim")


def _show_paper_probes(labels: Mapping[str, dict[str, Any]], console: Console) -> None:
    probed = {name: each["paper_probe"] for name, each in labels.items() if "paper_probe" in each}
    if not probed:
        return
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("label", no_wrap=True)
    for title in ("score", "interval", "epoch", "validation"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, each in probed.items():
        score = Text(f"{_number(each['value'], 100.0)} %", style="bold")
        validation = _number(each["validation"][each["epoch"] - 1], 100.0)
        name = Text(name + "*" * (labels[name]["role"] == "ood"))
        table.add_row(name, score, _interval(each, 100.0), f"{each['epoch']} of {each['epochs']}", validation)
    console.print("linear probes by SGD on augmented images, scored on test", style="bold")
    console.print(table)
    console.print("after the first author's precursor code; of the epochs the best on validation", style="dim")


def _notes(each: Mapping[str, Any]) -> Iterator[str]:
    if each["n"] < FEW:
        yield f"only {each['n']} test item{'s' * (each['n'] != 1)}: its score says little"
    if each.get("unseen"):
        yield f"{each['unseen']} of its {each['n']} test items are of classes that no training item has: all wrong"


def _cells(each: dict[str, Any]) -> list[str | Text]:
    metric = each["metric"]
    scale = 100.0 if metric == "accuracy" else 1.0
    value = Text(f"{_number(each['value'], scale)} {UNITS[metric]}", style="bold")
    floors = [_difference(each["floors"][floor]["difference"], scale) for floor in FLOORS]
    near = ["", ""] if metric == "r2" else _near(each, scale)
    return [value, _interval(each, scale), _number(each["majority"], scale), *near, *floors]


def _more(each: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """What else a label's kind has to tell, a line for each: its title and the first cells."""
    lines = []
    for measure, title in (("spearman", "ranks"), ("circular", "angles")):
        if measure in each:  # neighbours of a number are scored by a correlation, so they stand beside the probe's
            found = each[measure]
            lines.append((title, [f"{_number(found['value'], 1.0)} ρ", _interval(found, 1.0), "", *_near(each, 1.0)]))
    for level, right in enumerate(each.get("levels", []), start=1):
        lines.append((f"level {level}", [f"{_number(right['value'], 100.0)} %", _interval(right, 100.0)]))
    return lines


def _near(each: dict[str, Any], scale: float) -> list[str]:
    own = each["own_head"]
    return [_number(each["knn"], scale), _number(own["value"] if own else None, scale)]


def _interval(scores: dict[str, Any], scale: float) -> str:
    if scores["low"] is None and scores["high"] is None:
        return "–"
    return f"{_number(scores['low'], scale)}–{_number(scores['high'], scale)}"


def _links(model: MSConModel, data: Prepared, embeddings: Float[Tensor, "n d"]) -> dict[str, Any]:
    """For each similarity of pairs, how its linked test items find each other, in the embedding and in its own head."""
    found: dict[str, Any] = {}
    for name, table in data.pairs.items():
        edges = table.within(data.split.test).edges
        if len(edges) == 0:
            continue
        spaces = {"embedding": embeddings, "own_head": model.project_embedding(embeddings, name)}
        each = {where: find_links(space, edges, data.split.test, groups=data.groups) for where, space in spaces.items()}
        own = each["own_head"]
        found[name] = {"pairs": own.pairs, "asked": own.asked, "candidates": own.candidates}
        found[name] |= {where: result.to_json() for where, result in each.items()}
    return found


def _show_links(links: dict[str, Any], console: Console) -> None:
    if not links:
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("linked test items", no_wrap=True)
    for title in ("recall@10", "interval", "embedding", "chance", "1 / rank"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, each in links.items():
        own, shared = each["own_head"]["recall"]["10"], each["embedding"]["recall"]["10"]
        cells = [_number(own["value"], 100.0), _interval(own, 100.0), _number(shared["value"], 100.0)]
        cells += [_number(own["chance"], 100.0), _number(each["own_head"]["reciprocal_rank"]["value"], 1.0)]
        table.add_row(Text(f"{name} ({each['pairs']:,} pairs)"), *cells)
    console.print(table)


def scored_labels(run: Run, data: Prepared) -> dict[str, Label]:
    """Every label of a run that can be scored, as `score` takes them."""
    ood = run.recipe.catalog.ood
    return {
        name: Label("ood" if name in ood else "in-domain", values, data.labels[name])
        for name, values in data.values.items()
        if lacking_part(values, data.split) is None
    }


def _paper_probes(
    run: Run,
    model: MSConModel,
    data: Prepared,
    labels: Mapping[str, Label],
    progress: Callable[[int, int], None] | None,
) -> dict[str, dict[str, Any]]:
    """What evaluation.json holds under `paper_probe`, of every label that has classes."""
    columns = {name: label.values for name, label in labels.items() if label.is_class}
    probes = probe_by_sgd(model, data.pixels.array, columns, data.split, views=run.recipe.run_views, progress=progress)
    draws = Resampling(data.groups, RESAMPLES, seed=0)
    return {name: paper_entry(probe, draws, lr=LR) for name, probe in probes.items()}


def _heads(model: MSConModel, data: Prepared, embeddings: Float[Tensor, "n d"]) -> dict[str, Float[Tensor, "n _"]]:
    """The projections of every similarity that is learned from a label."""
    return {name: model.project_embedding(embeddings, name) for name in model.similarities if name in data.labels}


def _untrained(run: Run) -> MSConModel:
    torch.manual_seed(run.recipe.training.seed)
    return new_model(run.recipe, pretrained=False, labels=run.labels).eval()


def _number(value: float | None, scale: float) -> str:
    return "–" if value is None else f"{value * scale:.{1 if scale > 1 else 3}f}"


def _difference(difference: dict[str, float | None], scale: float) -> Text:
    value, low, high = difference["value"], difference["low"], difference["high"]
    style = "green" if low is not None and low > 0 else "red" if high is not None and high < 0 else ""
    sign = "+" if value is not None and value >= 0 else ""
    return Text(sign + _number(value, scale), style=style)

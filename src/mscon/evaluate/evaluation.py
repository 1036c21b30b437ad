"""Evaluate a run: embed its catalog once, probe every label beside the floors, and look for what went wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
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
from mscon.evaluate.notes import data_notes
from mscon.evaluate.paper_probe import LR, probe_by_sgd
from mscon.evaluate.predictions import write_predictions
from mscon.evaluate.retrieval import score_retrieval
from mscon.evaluate.scores import Label, probe_all
from mscon.files import digest
from mscon.model import MSConModel
from mscon.prepare import Prepared
from mscon.run import Run


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

    **Raises:** `UserError` for a published folder, a run without a model, or a catalog that cannot be used.
    """
    run.check_whole()
    model, of = run.model(), digest(run.model_path)
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
    scores, draws = scored.entries, Resampling(data.groups, RESAMPLES, seed=0)
    if paper_probe:
        for name, entry in _paper_probes(run, model, data, labels, draws, progress).items():
            scores[name]["paper_probe"] = entry
    links = _links(model, data, embeddings)
    evaluation = {
        "model": of,
        "rows": {name: len(getattr(data.split, name)) for name in PARTS},
        "labels": scores,
        "links": links,
        "notes": data_notes(data),
        "diagnostics": diagnose(run, data, embeddings).beside(scores, links).to_json(),
        "retrieval": score_retrieval(embeddings, heads, labels, data.split, draws),
    }
    write_predictions(run, data, scored.probes)
    run.write_json("evaluation.json", evaluation)
    return Evaluated(evaluation, data, embeddings)


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
    draws: Resampling,
    progress: Callable[[int, int], None] | None,
) -> dict[str, dict[str, Any]]:
    """What evaluation.json holds under `paper_probe`, of every label that has classes."""
    columns = {name: label.values for name, label in labels.items() if label.is_class}
    probes = probe_by_sgd(model, data.pixels.array, columns, data.split, views=run.recipe.run_views, progress=progress)
    return {name: paper_entry(probe, draws, lr=LR) for name, probe in probes.items()}


def _heads(model: MSConModel, data: Prepared, embeddings: Float[Tensor, "n d"]) -> dict[str, Float[Tensor, "n _"]]:
    """The projections of every similarity that is learned from a label."""
    return {name: model.project_embedding(embeddings, name) for name in model.similarities if name in data.labels}


def _untrained(run: Run) -> MSConModel:
    torch.manual_seed(run.recipe.training.seed)
    return new_model(run.recipe, pretrained=False, labels=run.labels).eval()

"""What is read from a trained embedding: probes with all and with few labels, and who the nearest neighbours are."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from mscon.data.labels import read_label
from mscon.data.splits import Split
from mscon.evaluate import ProbeResult, probe_by_sgd, probe_categorical
from mscon.evaluate.bootstrap import defined
from mscon.evaluate.columns import lacking_part
from mscon.evaluate.ranking import rank_categorical
from mscon.experiments.results import packed
from mscon.experiments.studies import Study
from mscon.model import MSConModel
from mscon.prepare import Prepared
from mscon.recipe import Recipe

STRENGTHS = (1e0, 1e-1, 1e-2)
"""L2 penalties of the probes; the embeddings of these studies have not chosen a weaker one."""

SHARES = (1, 2, 5, 10, 25, 50)
"""Percent of the training items whose labels a probe gets, to see how the embedding transfers."""


@dataclass(frozen=True)
class Scores:
    """`scores` and `correct` as a `Result` has them."""

    scores: dict[str, dict[str, Any]]
    correct: dict[str, str]


def study_labels(study: Study, data: Prepared) -> dict[str, Int64[np.ndarray, " n"]]:
    """The study's labels of every item as classes, whatever was trained on; those that a part lacks are left out."""
    columns = {name: read_label(data.catalog, name, "categorical").read(data.catalog) for name in study.labels}
    return {name: column for name, column in columns.items() if lacking_part(column, data.split) is None}


def scored(study: Study, data: Prepared, embedding: Float[Tensor, "n d"]) -> Scores:
    """Linear probes on the embedding, their strength chosen on held-out items."""
    probes = probe_categorical(embedding, study_labels(study, data), data.split, strengths=STRENGTHS)
    return Scores(
        scores={name: _score(probe) for name, probe in probes.items()},
        correct={name: packed(probe.correct) for name, probe in probes.items()},
    )


def measured(
    study: Study, recipe: Recipe, data: Prepared, model: MSConModel, embedding: Float[Tensor, "n d"]
) -> dict[str, Any]:
    """What else the embedding says:

    - `paper_probe`, of studies that ask for it: label → accuracy by the paper's probe protocol.
    - `transfer`: percent of the training items → label → accuracy of a probe that got these items' labels alone. They
      are drawn by the recipe's seed, each smaller set from the larger ones.
    - `retrieval`: space → label → `map_at_r`, `precision_1`, `precision_10` of the test items among themselves, near-
      duplicates left out; the spaces being `shared`, `head NAME`, and `heads`, all of them side by side.
    """
    columns, seed = study_labels(study, data), recipe.training.seed
    found: dict[str, Any] = {
        "transfer": _transfer(columns, data.split, embedding, seed=seed),
        "retrieval": _retrieval(columns, data, model, embedding),
    }
    if study.paper_probe:
        probes = probe_by_sgd(model, data.pixels.array, columns, data.split, views=recipe.run_views, seed=seed)
        found["paper_probe"] = {name: round(probe.accuracy, 6) for name, probe in probes.items()}
    return found


def items_digest(data: Prepared, id: str | None) -> str:
    """Twelve digits that tell one set of test items from another, by the ids in a column or, without one, the usual."""
    ids = np.array(data.catalog.ids(id))[data.split.test]
    return hashlib.sha256("\n".join(map(str, ids)).encode()).hexdigest()[:12]


def _score(probe: ProbeResult) -> dict[str, Any]:
    return {
        "accuracy": round(probe.accuracy, 6),
        "validation": defined(round(probe.validation, 6)),
        "classes": probe.classes,
        "n": len(probe.rows),
        "strength": probe.strength,
    }


def _transfer(
    columns: Mapping[str, np.ndarray], split: Split, embedding: Tensor, *, seed: int
) -> dict[str, dict[str, float]]:
    order = np.random.default_rng((seed, len(SHARES))).permutation(split.train)
    found: dict[str, dict[str, float]] = {}
    for share in SHARES:
        some = Split(np.sort(order[: max(1, round(len(order) * share / 100))]), split.val, split.test)
        known = {name: column for name, column in columns.items() if lacking_part(column, some) is None}
        probes = probe_categorical(embedding, known, some, strengths=STRENGTHS)
        found[str(share)] = {name: round(probe.accuracy, 6) for name, probe in probes.items()}
    return found


def _retrieval(
    columns: Mapping[str, np.ndarray], data: Prepared, model: MSConModel, embedding: Tensor
) -> dict[str, dict[str, dict[str, float]]]:
    heads = {f"head {name}": model.project_embedding(embedding, name) for name in model.similarities}
    spaces = {"shared": embedding, **heads}
    if len(heads) > 1:
        spaces["heads"] = torch.cat([F.normalize(z, dim=1) for z in heads.values()], dim=1)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for space, features in spaces.items():
        rankings = rank_categorical(features, columns, data.split.test, groups=data.groups)
        found[space] = {
            name: {
                "map_at_r": round(ranking.mean_average_precision, 6),
                "precision_1": round(ranking.mean_precision(1), 6),
                "precision_10": round(ranking.mean_precision(10), 6),
            }
            for name, ranking in rankings.items()
        }
    return found

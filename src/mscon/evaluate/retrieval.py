"""Retrieval among the test items: how pure the nearest ones are, in the shared embedding and in a label's own head."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from mscon.data.information import labelled
from mscon.data.splits import Split
from mscon.evaluate.bootstrap import resampled_mean
from mscon.evaluate.entries import Resampling, estimate
from mscon.evaluate.ranking import Ranking, rank_categorical
from mscon.evaluate.scores import Label

MOST = 5000
"""Test items that are ranked, at most: every one is compared with every other."""

AT = (1, 10)
"""Of precision at k."""

MEASURES = ("map_at_r", *(f"precision_at_{k}" for k in AT))


def score_retrieval(
    embeddings: Float[Tensor, "n d"],
    heads: Mapping[str, Float[Tensor, "n _"]],
    labels: Mapping[str, Label],
    split: Split,
    draws: Resampling,
) -> dict[str, dict[str, Any]]:
    """What evaluation.json holds under `retrieval`, of every label that has classes or paths.

        {"asked", "chance", "embedding": {"map_at_r", "precision_at_1", "precision_at_10"},
         "own_head": … | None, "difference": … | None}

    - `asked`: test items that have another of their class to find; a label without any has no entry. Of more than
      5,000 test items so many are drawn, the same in every evaluation.
    - `chance`: the precision of a random order.
    - `embedding`, `own_head`: each measure with its 95% interval, by cosine in the shared embedding and, for labels
      that were trained on, in their own projections; `difference`: own head − embedding, paired.
    """
    columns = {name: label.values for name, label in labels.items() if label.is_class}
    rows = split.test
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST, replace=False))
    shared = rank_categorical(embeddings, columns, rows, groups=draws.groups, ks=AT)
    own = {
        name: rank_categorical(heads[name], {name: column}, rows, groups=draws.groups, ks=AT)[name]
        for name, column in columns.items()
        if name in heads
    }
    return {
        name: _entry(found, own.get(name), rows, draws)
        for name, found in shared.items()
        if labelled(found.average_precision).any()
    }


def _entry(shared: Ranking, own: Ranking | None, rows: Int64[np.ndarray, " q"], draws: Resampling) -> dict[str, Any]:
    asked = labelled(shared.average_precision)
    spaces = np.column_stack([_figures(space)[asked] for space in (shared, own) if space is not None])
    samples, values = resampled_mean(spaces, **draws.of(rows[asked])), spaces.mean(0)
    count = len(MEASURES)

    def estimates(values: np.ndarray, samples: np.ndarray) -> dict[str, Any]:
        return {name: estimate(float(values[at]), samples[:, at]) for at, name in enumerate(MEASURES)}

    entry = {"asked": int(asked.sum()), "chance": float(shared.chance[asked].mean())}
    entry |= {"embedding": estimates(values[:count], samples[:, :count]), "own_head": None, "difference": None}
    if own is not None:
        entry["own_head"] = estimates(values[count:], samples[:, count:])
        entry["difference"] = estimates(values[count:] - values[:count], samples[:, count:] - samples[:, :count])
    return entry


def _figures(ranking: Ranking) -> Float64[np.ndarray, "q m"]:
    """The measures of each query, in the order of `MEASURES`."""
    return np.column_stack([ranking.average_precision, *(ranking.precision[k] for k in AT)])

"""k-nearest-neighbour accuracy: how often an item's most similar training items share its label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int64
from torch import Tensor

from mscon.data.splits import Split
from mscon.evaluate.columns import best, by_training_rows, labelled, share

NEIGHBOURS = (20, 5, 1)
# Cosines that are held at a time: 64 MiB in float32.
TILE = 2**24
# What a neighbour's cosine adds to its vote of 1: all of them together stay below one vote and only break ties.
TIE_BREAK = 1e-3


@dataclass(frozen=True)
class NeighbourResult:
    """One label column's `accuracy` on the labelled test rows, by the vote of `neighbours` training items."""

    neighbours: int
    accuracy: float


def knn_categorical(
    features: Float[Tensor, "n d"],
    columns: Mapping[str, Int[np.ndarray, " n"]],
    split: Split,
    *,
    neighbours: Sequence[int] = NEIGHBOURS,
) -> dict[str, NeighbourResult]:
    """k-nearest-neighbour classification by cosine similarity, per label column, scored on the test rows.

    The k labelled training items with the highest cosine vote, ties going to the class whose voters are nearer. Of
    `neighbours` the k with the highest accuracy on the labelled validation rows is taken, the largest among equals,
    and the middle one when fewer than 30 validation rows are labelled. Features are used as they are, neither centred
    nor scaled; a feature row of zeros has cosine 0 to everything.

    **Arguments:**

    - `features`: one row per item.
    - `columns`: codes per label column, −1 where the label is missing.
    - `split`: row indices into `features`.
    - `neighbours`: the k to choose from; more than there are training items means all of them.

    **Returns:** a `NeighbourResult` per column, in the order of `columns`.

    **Raises:** `UserError` for a column without a label in train or in test.
    """
    neighbours = sorted(neighbours, reverse=True)
    asked = np.concatenate([split.val, split.test])
    in_test = np.arange(len(asked)) >= len(split.val)
    results: dict[str, NeighbourResult] = {}
    for group in by_training_rows(columns, split):
        cosines, nearest = _nearest(features, asked, group.train, count=neighbours[0])
        for name in group.names:
            truth = columns[name][asked]
            probed, scored = labelled(truth) & ~in_test, labelled(truth) & in_test
            classes, codes = np.unique(columns[name][group.train], return_inverse=True)
            known = torch.from_numpy(codes).to(features.device)[nearest]
            right = [classes[_vote(cosines[:, :k], known[:, :k]).cpu().numpy()] == truth for k in neighbours]
            chosen = best([share(each, probed) for each in right], rows=int(probed.sum()))
            results[name] = NeighbourResult(neighbours[chosen], share(right[chosen], scored))
    return {name: results[name] for name in columns}


def _nearest(
    features: Float[Tensor, "n d"], asked: Int64[np.ndarray, " q"], known: Int64[np.ndarray, " m"], *, count: int
) -> tuple[Float[Tensor, "q k"], Int64[Tensor, "q k"]]:
    """The highest cosines of every asked row, descending, and the positions in `known` that they belong to."""
    targets, size = _unit(features, known), max(1, TILE // len(known))
    tiles = (asked[first : first + size] for first in range(0, len(asked), size))
    tops = [torch.topk(_unit(features, tile) @ targets.T, min(count, len(known))) for tile in tiles]
    return torch.cat([top.values for top in tops]), torch.cat([top.indices for top in tops])


def _unit(features: Float[Tensor, "n d"], rows: Int64[np.ndarray, " m"]) -> Float[Tensor, "m d"]:
    return F.normalize(features[torch.from_numpy(rows).to(features.device)], dim=1)


def _vote(cosines: Float[Tensor, "q k"], codes: Int64[Tensor, "q k"]) -> Int64[Tensor, " q"]:
    votes = torch.zeros(len(codes), int(codes.max()) + 1, dtype=torch.float64, device=codes.device)
    return votes.scatter_add_(1, codes, 1 + TIE_BREAK * cosines.double()).argmax(1)

"""What an item's most similar training items tell of its labels: nearest neighbours by cosine, without any training."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from mscon.data.circle import as_points, from_points
from mscon.data.information import labelled
from mscon.data.splits import Split
from mscon.evaluate.columns import best, by_training_rows
from mscon.evaluate.measures import correlation, mean_average_precision, single

NEIGHBOURS = (20, 5, 1)
# Cosines that are held at a time: 64 MiB in float32.
BLOCK_NUMBERS = 2**24
# What a neighbour's cosine adds to its vote of 1 while there are few: enough to break ties, and no more.
TIE_BREAK = 1e-3


@dataclass(frozen=True, eq=False)
class NeighbourResult:
    """What the `neighbours` nearest training items say of one label column.

    - `value`: on the labelled test rows: accuracy of classes, ρ of numbers (`correlation`), mAP of tags; NaN where it
      is not defined.
    - `rows`: the labelled test rows, with their `truth` and what is `predicted` for them, row for row.
    """

    neighbours: int
    value: float
    rows: Int64[np.ndarray, " n"]
    truth: np.ndarray
    predicted: np.ndarray


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

    **Returns:** a `NeighbourResult` per column, in the order of `columns`, with codes as truth and predictions.

    **Raises:** `UserError` for a column without a label in train or in test.
    """

    def column(name: str, train: Int64[np.ndarray, " m"]) -> _Column:
        classes, codes = np.unique(columns[name][train], return_inverse=True)

        def predict(near: _Near) -> np.ndarray:
            return classes[_vote(near, torch.from_numpy(codes)).cpu().numpy()]

        return _Column(columns[name], predict, _accuracy)

    return _by_neighbours(features, columns, split, column, neighbours=neighbours)


def knn_continuous(
    features: Float[Tensor, "n d"],
    columns: Mapping[str, Float[np.ndarray, " n"]],
    split: Split,
    *,
    periods: Mapping[str, float] | None = None,
    neighbours: Sequence[int] = NEIGHBOURS,
) -> dict[str, NeighbourResult]:
    """The mean value of the k nearest training items, scored by how it ranks the test items: Spearman's ρ.

    As `knn_categorical`, with numbers (NaN where missing) for codes and ρ for accuracy; the middle k is also taken
    where ρ is not defined on validation. On a circle the mean is the direction of the points' mean, and ρ is Fisher and
    Lee's, see `circular`.

    **Arguments:** `periods`: P by name, of the columns whose numbers lie on a circle.
    """

    def column(name: str, train: Int64[np.ndarray, " m"]) -> _Column:
        values, period = columns[name].astype(np.float64), (periods or {}).get(name)
        known, measure = as_points(values[train], period), correlation(period)
        return _Column(
            values,
            lambda near: from_points(known[near.places.cpu().numpy()].mean(1), period),
            lambda truth, predicted: single(measure(truth, predicted)),
        )

    return _by_neighbours(features, columns, split, column, neighbours=neighbours)


def knn_tags(
    features: Float[Tensor, "n d"],
    columns: Mapping[str, Int64[np.ndarray, " n"]],
    members: Mapping[str, Bool[np.ndarray, "s t"]],
    split: Split,
    *,
    neighbours: Sequence[int] = NEIGHBOURS,
) -> dict[str, NeighbourResult]:
    """The share of the k nearest training items that have a tag, scored by how it ranks the test items: mAP.

    As `knn_categorical`, with numbers of sets of tags for codes and mAP for accuracy. The mean is over the tags that a
    labelled training row and a labelled test row have; equal shares are told apart by how near the neighbours are.

    **Arguments:** `columns`, `members`: as in `probe_tags`.

    **Returns:** results whose truth is a table of test rows and tags, whose predictions are the shares.
    """

    def column(name: str, train: Int64[np.ndarray, " m"]) -> _Column:
        sets, table = columns[name], members[name]
        tested = sets[split.test][labelled(sets)[split.test]]
        tags = np.flatnonzero(table[sets[train]].any(0) & table[tested].any(0))
        # Rows without a label are left out of every score, whatever stands here for them.
        return _Column(
            table[:, tags][sets],
            lambda near: _shares(near, torch.from_numpy(table[:, tags][sets[train]])).cpu().numpy(),
            lambda truth, predicted: single(mean_average_precision(truth, predicted)),
        )

    return _by_neighbours(features, columns, split, column, neighbours=neighbours)


@dataclass(frozen=True, eq=False)
class _Near:
    """The nearest training items of each asked row, nearest first: their cosines, and places among these items."""

    cosines: Float[Tensor, "q k"]
    places: Int64[Tensor, "q k"]

    def first(self, count: int) -> "_Near":
        return _Near(self.cosines[:, :count], self.places[:, :count])

    @property
    def votes(self) -> Float64[Tensor, "q k"]:
        """1 and a little more for the nearer: what all k neighbours add to two classes differs by less than a vote."""
        return 1 + min(TIE_BREAK, 0.5 / self.cosines.shape[1]) * self.cosines.double()


@dataclass(frozen=True, eq=False)
class _Column:
    """One label column: every row's truth, the prediction from neighbours, and what tells how good it is."""

    truth: np.ndarray
    predict: Callable[[_Near], np.ndarray]
    measure: Callable[[np.ndarray, np.ndarray], float]


def _by_neighbours(
    features: Float[Tensor, "n d"],
    columns: Mapping[str, np.ndarray],
    split: Split,
    column: Callable[[str, Int64[np.ndarray, " m"]], _Column],
    *,
    neighbours: Sequence[int],
) -> dict[str, NeighbourResult]:
    """Chooses k on validation and scores it on test, for columns that `column` makes from a name and training rows."""
    neighbours = sorted(neighbours, reverse=True)
    asked = np.concatenate([split.val, split.test])
    in_test = np.arange(len(asked)) >= len(split.val)
    results: dict[str, NeighbourResult] = {}
    for group in by_training_rows(columns, split):
        near = _nearest(features, asked, group.train, count=neighbours[0])
        for name in group.names:
            each = column(name, group.train)
            known, truth = labelled(columns[name])[asked], each.truth[asked]
            probed, scored = known & ~in_test, known & in_test
            guesses = [each.predict(near.first(k)) for k in neighbours]
            validation = [each.measure(truth[probed], guess[probed]) for guess in guesses]
            chosen = best(validation, rows=int(probed.sum()))
            predicted = guesses[chosen][scored]
            value = each.measure(truth[scored], predicted)
            results[name] = NeighbourResult(neighbours[chosen], value, asked[scored], truth[scored], predicted)
    return {name: results[name] for name in columns}


def _nearest(
    features: Float[Tensor, "n d"], asked: Int64[np.ndarray, " q"], known: Int64[np.ndarray, " m"], *, count: int
) -> _Near:
    """The highest cosines of every asked row, descending, and the positions in `known` that they belong to."""
    targets, size = _unit(features, known), max(1, BLOCK_NUMBERS // len(known))
    tiles = (asked[first : first + size] for first in range(0, len(asked), size))
    tops = [torch.topk(_unit(features, tile) @ targets.T, min(count, len(known))) for tile in tiles]
    return _Near(torch.cat([top.values for top in tops]), torch.cat([top.indices for top in tops]))


def _unit(features: Float[Tensor, "n d"], rows: Int64[np.ndarray, " m"]) -> Float[Tensor, "m d"]:
    return F.normalize(features[torch.from_numpy(rows).to(features.device)], dim=1)


def _vote(near: _Near, codes: Int64[Tensor, " m"]) -> Int64[Tensor, " q"]:
    voted, classes = codes.to(near.places.device)[near.places], int(codes.max()) + 1
    size = max(1, BLOCK_NUMBERS // classes)
    return torch.cat(
        [
            votes.new_zeros(len(votes), classes).scatter_add_(1, each, votes).argmax(1)
            for each, votes in zip(voted.split(size), near.votes.split(size), strict=True)
        ]
    )


def _shares(near: _Near, table: Bool[Tensor, "m t"]) -> Float64[Tensor, "q t"]:
    """The neighbours' votes for each tag, one neighbour after another: all at once would be k tables."""
    table = table.to(near.places.device)
    shares = torch.zeros(len(near.places), table.shape[1], dtype=torch.float64, device=table.device)
    for place, vote in zip(near.places.T, near.votes.T, strict=True):
        shares += table[place] * vote[:, None]
    return shares / near.places.shape[1]


def _accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float((truth == predicted).mean()) if len(truth) else math.nan

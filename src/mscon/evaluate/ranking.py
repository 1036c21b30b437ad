"""How good the nearest ones are: precision at k and mean average precision at R of some items among themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from mscon.data.information import labelled

QUERIES = 256
"""That are ranked at a time."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """One label's figures of each query, in the order of the rows asked; NaN for one that has no other of its class.

    - `average_precision`: AP@R, R being how many others of its class there are.
    - `precision`: k → share of its class among the k nearest.
    - `chance`: share of its class among all that can be found: the precision of a random order, at any k.
    """

    average_precision: Float64[np.ndarray, " q"]
    precision: dict[int, Float64[np.ndarray, " q"]]
    chance: Float64[np.ndarray, " q"]

    @property
    def mean_average_precision(self) -> float:
        """mAP@R over the queries; NaN without any."""
        return _mean(self.average_precision)

    def mean_precision(self, k: int) -> float:
        """Precision at k over the queries; NaN without any."""
        return _mean(self.precision[k])


def rank_categorical(
    features: Float[Tensor, "n d"],
    columns: Mapping[str, Int[np.ndarray, " n"]],
    rows: Int64[np.ndarray, " q"],
    *,
    groups: Int[np.ndarray, " n"] | None = None,
    ks: Sequence[int] = (1, 10),
) -> dict[str, Ranking]:
    """Every item asks for the others, nearest first by cosine, equally near ones in a random order that is the same
    every time; those of its class are right.

        AP@R = 1/R Σ_{i ≤ R} [the i-th is right] · (right ones among the first i) / i

    **Arguments:**

    - `features`: one row per item.
    - `columns`: codes per label column, −1 where the label is missing: such items neither ask nor are found.
    - `rows`: the items that ask and are found, such as those of the test split.
    - `groups`: a code per item; an item never finds one of its own group, which would be too easy.
    - `ks`: of precision at k; where fewer can be found, of those.

    **Source:** Musgrave, Belongie and Lim 2020, *A Metric Learning Reality Check*, arXiv 2003.08505, section 3.2.
    """
    unit = F.normalize(features[torch.from_numpy(rows)], dim=1)
    own = torch.from_numpy(np.arange(len(rows)) if groups is None else groups[rows])
    codes = {name: torch.from_numpy(np.asarray(column, dtype=np.int64)[rows]) for name, column in columns.items()}
    found: dict[str, list[Tensor]] = {name: [] for name in columns}
    # The order of a catalog, often by class, would rank the equally near by class: each query begins elsewhere in
    # another one.
    mixed, count = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)), torch.arange(len(rows))
    for places in count.split(QUERIES):
        listed = mixed[(count + places[:, None]) % len(rows)]
        nearest = (unit[places] @ unit.T).gather(1, listed).argsort(dim=1, descending=True, stable=True)
        order = listed.gather(1, nearest)
        others = own[order] != own[places, None]
        for name, column in codes.items():
            valid = others & (column[order] >= 0)
            right = valid & (column[order] == column[places, None]) & (column[places, None] >= 0)
            found[name].append(_figures(right, valid, ks))
    return {name: _ranking(torch.cat(each).numpy(), ks) for name, each in found.items()}


def _figures(right: Bool[Tensor, "q n"], valid: Bool[Tensor, "q n"], ks: Sequence[int]) -> Float64[Tensor, "q _"]:
    """AP@R, precision at each k and that of a random order, side by side."""
    place = valid.cumsum(1)
    hits = right.cumsum(1)
    relevant, candidates = hits[:, -1:], place[:, -1:]
    counted = right & (place <= relevant)
    precision = (hits.double() / place.clamp(min=1)).where(counted, 0.0).sum(1, keepdim=True) / relevant
    at = [(right & (place <= k)).sum(1, keepdim=True).double() / candidates.clamp(min=1, max=k) for k in ks]
    chance = relevant.double() / candidates.clamp(min=1)
    return torch.cat([precision, *at, chance], dim=1).where(relevant > 0, float("nan"))


def _ranking(figures: Float64[np.ndarray, "q _"], ks: Sequence[int]) -> Ranking:
    return Ranking(figures[:, 0], {k: figures[:, place] for place, k in enumerate(ks, start=1)}, figures[:, -1])


def _mean(values: Float64[np.ndarray, " q"]) -> float:
    known = labelled(values)
    return float(values[known].mean()) if known.any() else float("nan")

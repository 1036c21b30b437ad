"""How well vectors find the linked items of an item among all candidates: recall at k and mean reciprocal rank."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from mscon.errors import UserError
from mscon.evaluate.bootstrap import RESAMPLES, Interval, defined, interval, resampled_mean

AT = (1, 5, 10, 50)
# Cosines that are held at a time: 64 MiB in float32.
BLOCK_NUMBERS = 2**24


@dataclass(frozen=True)
class LinkScore:
    """A mean over the asked items, its 95% bootstrap interval, and what a random order of the candidates has."""

    value: float
    interval: Interval
    chance: float

    def to_json(self) -> dict[str, float | None]:
        """As evaluation.json holds it: an interval that is not defined, as of a single group, is None."""
        low, high = defined(self.interval.low), defined(self.interval.high)
        return {"value": self.value, "low": low, "high": high, "chance": self.chance}


@dataclass(frozen=True)
class LinkResult:
    """How `asked` items find their linked ones among the other `candidates`.

    - `recall`: by k, the share of an item's linked ones that are among its k nearest.
    - `reciprocal_rank`: 1 / rank of the nearest linked one.
    - `pairs`: linked pairs among the candidates.
    """

    recall: dict[int, LinkScore]
    reciprocal_rank: LinkScore
    asked: int
    candidates: int
    pairs: int

    def to_json(self) -> dict[str, Any]:
        """The scores as evaluation.json holds them."""
        recall = {str(k): score.to_json() for k, score in self.recall.items()}
        return {"recall": recall, "reciprocal_rank": self.reciprocal_rank.to_json()}


def find_links(
    features: Float[Tensor, "n d"],
    edges: Int64[np.ndarray, "e 2"],
    candidates: Int64[np.ndarray, " m"],
    *,
    at: Sequence[int] = AT,
    groups: Int[np.ndarray, " n"] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> LinkResult:
    """Ranks, for every candidate with a link to another, all other candidates by cosine, and looks where its linked
    ones stand.

        recall@k_i = |{j linked to i : rank_i(j) ≤ k}| / |{j linked to i}|
        reciprocal rank_i = 1 / min_{j linked to i} rank_i(j)

    Items are averaged, each counting once however many links it has. Equal cosines are ranked at random, so vectors
    that are all the same score what chance does.

    **Arguments:**

    - `features`: one row per item, used as it is; a row of zeros has cosine 0 to everything.
    - `edges`: row numbers of linked pairs, in any order; those with an item outside the candidates do not count. To be
      held out, the candidates are items that took no part in training, such as the test split.
    - `candidates`: row numbers, each once.
    - `at`: the k of recall; one beyond the number of candidates finds all.
    - `groups`: a code per row, near-duplicates sharing one; the bootstrap resamples groups.
    - `resamples`, `seed`: of the bootstrap; the seed also orders equal cosines.

    **Returns:** the scores, each beside chance: min(k, m − 1) / (m − 1) for recall, the mean of `expected_reciprocal`
    for the reciprocal rank.

    **Raises:** `UserError`: no two candidates are linked, or a candidate's features are not finite.
    """
    order = np.random.default_rng(seed).permutation(candidates)
    links = _directed(edges, order, len(features))
    if len(links) == 0:
        raise UserError(f"No two of the {len(order)} items are linked, of {len(edges)} pairs: no link can be found.")
    unit = F.normalize(features[torch.from_numpy(order).to(features.device)], dim=1)
    if not (finite := torch.isfinite(unit).all(dim=1)).all():
        row = order[int((~finite).nonzero()[0])]
        raise UserError(f"The features of row {row} are not finite numbers, so its neighbours can't be told.")
    ranks = _ranks(unit, links)
    asked, start, many = np.unique(links[:, 0], return_index=True, return_counts=True)
    reciprocal = 1.0 / np.minimum.reduceat(ranks, start)
    recalls = [np.add.reduceat((ranks <= k).astype(np.float64), start) / many for k in at]
    drawn = None if groups is None else groups[order[asked]]
    values = np.column_stack([reciprocal, *recalls])
    samples = resampled_mean(values, drawn, resamples=resamples, seed=seed)
    others = len(order) - 1
    counts, of = np.unique(many, return_inverse=True)
    expected = np.array([expected_reciprocal(int(count), others) for count in counts])[of].mean()
    chances = [expected, *(min(k, others) / others for k in at)]
    score, *scores = (
        LinkScore(float(column.mean()), interval(drawn_means), float(chance))
        for column, drawn_means, chance in zip(values.T, samples.T, chances, strict=True)
    )
    return LinkResult(
        recall=dict(zip(at, scores, strict=True)),
        reciprocal_rank=score,
        asked=len(asked),
        candidates=len(order),
        pairs=len(links) // 2,
    )


def expected_reciprocal(linked: int, others: int) -> float:
    """Mean of 1 / rank of the first of `linked` among `others` items in random order.

    Σ_r P(first at r) / r,    P(first at r) = linked / (others − r + 1) · Π_{t<r} (1 − linked / (others − t + 1))
    """
    rank = np.arange(1, others - linked + 2)
    hit = linked / (others - rank + 1)
    before = np.append(1.0, np.cumprod(1.0 - hit[:-1]))
    return float((before * hit / rank).sum())


def _directed(edges: np.ndarray, order: np.ndarray, rows: int) -> Int64[np.ndarray, "l 2"]:
    """Each link among the candidates once in both directions, as places in `order`, sorted."""
    places = np.full(rows, -1)
    places[order] = np.arange(len(order))
    pairs = places[edges]
    pairs = pairs[(pairs >= 0).all(axis=1)]
    return np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)


def _ranks(unit: Float[Tensor, "m d"], links: Int64[np.ndarray, "l 2"]) -> Float64[np.ndarray, " l"]:
    """The rank from 1 of each link's second item among all but its first; of equal ones the earlier place is ahead."""
    ranks = np.empty(len(links))
    place, size = torch.arange(len(unit), device=unit.device), max(1, BLOCK_NUMBERS // len(unit))
    for start in range(0, len(links), size):
        one, other = torch.from_numpy(links[start : start + size]).to(unit.device).T
        asked, row = one.unique(return_inverse=True)
        cosines = unit[asked] @ unit.T
        # Ahead of nobody: an item is not its own neighbour.
        cosines[torch.arange(len(asked), device=unit.device), asked] = -torch.inf
        rows = cosines[row]
        own = rows.gather(1, other[:, None])
        ahead = (rows > own) | ((rows == own) & (place < other[:, None]))
        ranks[start : start + size] = (ahead.sum(dim=1) + 1).cpu().numpy()
    return ranks

"""Similarities: notions under which two items are alike, each turning a batch's values into target distributions."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Literal, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mscon.contrast import KernelTargets, LabelTargets, Targets, TypeTargets


@runtime_checkable
class Similarity(Protocol):
    """Anything that turns the values of a batch into targets."""

    def targets(self, values: Tensor) -> Targets | KernelTargets:
        """The target distributions over a batch whose rows carry `values`."""
        ...


@dataclass(frozen=True)
class Categorical:
    """Alike means: the same label. q_i is uniform over the other rows with row i's label."""

    def targets(self, values: Int[Tensor, " n"]) -> Targets:
        """Targets from integer codes, a negative code being a missing label."""
        return LabelTargets.of(values)


@dataclass(frozen=True)
class Instance:
    """Alike means: the same item. q_i is uniform over the other views of row i's item; its values are item numbers."""

    def targets(self, values: Int[Tensor, " n"]) -> Targets:
        """Targets from item numbers, equal for views of one item; a negative number is a row that takes no part."""
        return LabelTargets.of(values)


@dataclass(frozen=True, eq=False)
class Continuous:
    """Alike means: near in rank. q_ij is a normal kernel on the distance of ranks, scaled to sum to 1 over the others.

        u(v) = (share of the reference below v + share of it not above v) / 2           in [0, 1]
        q_ij ∝ exp(−Δ(u_i, u_j)² / 2h²)

    Ranks know no unit: metres and beats per minute behave alike, a long tail is no longer than another, and any rising
    function of the values leaves the targets the same to the last bit. Equal values have equal ranks. (Kernels on the
    labels themselves: y-aware InfoNCE, Dufumier et al. 2021, arXiv 2106.08808.)

    **Arguments:**

    - `bandwidth`: h > 0, a share of all items: at 0.1 the item a tenth of them further up counts e^(−1/2) as much.
    - `period`: of values on a circle, such as 24 for hours: Δ is then the shorter way round.
    - `reference`: the values among which ranks are taken, usually those of the training items, in any order; NaN does
      not count. Left out, the batch is its own reference.

    **Raises:** `ValueError` for a bandwidth or a period that is not positive, or a reference without a number.
    """

    bandwidth: float = 0.1
    period: float | None = None
    reference: Float[Tensor, " n"] | None = None

    def __post_init__(self) -> None:
        if not self.bandwidth > 0.0 or (self.period is not None and not self.period > 0.0):
            raise ValueError(f"bandwidth and period must be positive: {self.bandwidth}, {self.period}")
        if self.reference is not None:
            object.__setattr__(self, "reference", self._sorted(self.reference))
            if len(self.reference) == 0:
                raise ValueError("the reference of a continuous similarity holds no number")

    def targets(self, values: Float[Tensor, " n"]) -> KernelTargets:
        """Targets from numbers, NaN being a missing one."""
        return KernelTargets.of(
            self.ranks(values), bandwidth=self.bandwidth, period=None if self.period is None else 1.0
        )

    def ranks(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """u of each value, float64; NaN where it is missing."""
        values = self._on_circle(values.double())
        among = self._sorted(values) if self.reference is None else self.reference.to(values.device)
        below, not_above = (torch.searchsorted(among, values, right=right) for right in (False, True))
        return ((below + not_above) / (2.0 * max(1, len(among)))).masked_fill(values.isnan(), torch.nan)

    def _sorted(self, values: Tensor) -> Tensor:
        values = self._on_circle(values.double())
        return values[~values.isnan()].sort().values

    def _on_circle(self, values: Tensor) -> Tensor:
        return values if self.period is None else values.remainder(self.period)


class _Groups:
    """What `Tags` and `Hierarchy` share: a table of kinds of items, each with the groups it is in."""

    def __init__(self, groups: Sequence[Sequence[int]], weights: Sequence[Sequence[float]]):
        lengths = torch.tensor([len(each) for each in groups], dtype=torch.int64)
        self.starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        self.groups = torch.tensor([group for each in groups for group in each], dtype=torch.int64)
        self.weights = torch.tensor([weight for each in weights for weight in each], dtype=torch.float64)

    def targets(self, values: Int[Tensor, " n"]) -> Targets:
        """Targets from numbers of kinds; a negative number, or a kind without a group, is a missing label."""
        starts, groups, weights = (each.to(values.device) for each in (self.starts, self.groups, self.weights))
        lengths = starts.diff()
        if len(lengths) == 0:
            return LabelTargets.of(values.clamp(max=-1))
        rows = ((values >= 0) & (lengths[values.clamp(min=0)] > 0)).nonzero().squeeze(1)
        kinds, types = values[rows].unique(return_inverse=True)
        members = torch.arange(len(kinds), device=values.device).repeat_interleave(lengths[kinds])
        within = torch.arange(len(members), device=values.device) - (lengths[kinds].cumsum(0) - lengths[kinds])[members]
        places = starts[kinds][members] + within
        return TypeTargets.of_groups(rows, types, members, groups[places], weights[places], batch=len(values))


class Tags:
    """Alike means: a tag in common. An anchor shares its pull out among its tags, and each tag among its other rows.

        q_ij = Σ_{t in both} w_t / (Σ_{t of i} w_t) / (n_t − 1)           over tags with n_t ≥ 2 rows in the batch

    So the more tags two items share, and the fewer others have them, the harder they pull. With even weights this is
    what MulSupCon averages per label (Zhang and Wu 2024, AAAI), its positives counted once per tag.

    **Arguments:**

    - `sets`: the sets of tags that items have; an item's value is the number of its set here. An empty set is a missing
      label.
    - `weighting`: `"rarity"`, w_t = log(items / items with t), or `"even"`, w_t = 1.
    - `counts`: how many items have each set, for rarity; once each when left out.

    **Raises:** `ValueError` for an unknown weighting, or counts that do not match.
    """

    def __init__(
        self,
        sets: Sequence[Collection[str]],
        *,
        weighting: Literal["rarity", "even"] = "rarity",
        counts: Sequence[int] | None = None,
    ):
        if weighting not in ("rarity", "even"):
            raise ValueError(f"tags are weighted by 'rarity' or 'even', not {weighting!r}")
        if counts is not None and len(counts) != len(sets):
            raise ValueError(f"{len(counts)} counts for {len(sets)} sets of tags")
        self.tags = tuple(sorted({tag for each in sets for tag in each}))
        codes = {tag: code for code, tag in enumerate(self.tags)}
        groups = [sorted(codes[tag] for tag in each) for each in sets]
        weights = [1.0] * len(self.tags)
        if weighting == "rarity":
            weights = _rarity(groups, [1] * len(sets) if counts is None else counts, len(self.tags))
        self._groups = _Groups(groups, [[weights[code] for code in each] for each in groups])

    @classmethod
    def of(cls, items: Sequence[Collection[str] | None], **settings: Any) -> tuple["Tags", Int[Tensor, " n"]]:
        """The similarity for these items, and the value of each: None and an empty set are missing."""
        kinds = Counter(frozenset(each) for each in items if each)
        sets = sorted(kinds, key=sorted)
        numbers = {each: number for number, each in enumerate(sets)}
        values = torch.tensor([numbers[frozenset(each)] if each else -1 for each in items], dtype=torch.int64)
        return cls(sets, counts=[kinds[each] for each in sets], **settings), values

    def targets(self, values: Int[Tensor, " n"]) -> Targets:
        """Targets from numbers of sets, a negative one being a missing label."""
        return self._groups.targets(values)


class Hierarchy:
    """Alike means: the same path, or the same beginning of it. Closer kin pull harder.

        q_ij = Σ_l w_l [i and j agree down to level l] / (Σ_l w_l) / (n_il − 1)

    with n_il the rows of the batch that agree with i down to level l; over the levels where that is 2 or more. What
    agrees further down counts on every level above it too, and shares with fewer. A path may end early: its item takes
    part as far as it goes. (Label hierarchies under a supervised contrastive loss: Zhang et al. 2022, arXiv
    2204.13207.)

    **Arguments:**

    - `paths`: the paths that items have, coarse to fine; an item's value is the number of its path here. Levels need
      not nest: two "Boots" below different parents are different. An empty path is a missing label.
    - `weights`: w_l > 0 of each level, the same for all when left out.

    **Raises:** `ValueError` for a path with a gap, or fewer weights than levels.
    """

    def __init__(self, paths: Sequence[Sequence[str]], *, weights: Sequence[float] | None = None):
        levels = max((len(each) for each in paths), default=0)
        weights = [1.0] * levels if weights is None else list(weights)
        if len(weights) < levels or min(weights, default=1.0) <= 0.0:
            raise ValueError(f"{levels} levels need as many weights above 0, not {weights}")
        codes: dict[tuple[str, ...], int] = {}
        groups = [
            [codes.setdefault(tuple(path[:level]), len(codes)) for level in range(1, len(path) + 1)] for path in paths
        ]
        self._groups = _Groups(groups, [weights[: len(each)] for each in groups])

    def targets(self, values: Int[Tensor, " n"]) -> Targets:
        """Targets from numbers of paths, a negative one being a missing label."""
        return self._groups.targets(values)


class Pairs:
    """Alike means: linked. q_ij is in proportion to how strongly the items of rows i and j are linked.

        q_ij = v_ij / Σ_{k≠i} v_ik,    v_ij = s_ij between two items, max_k s_ik between two views of item i

    For judgements of people, co-purchases, clicks: any table of (item, item, strength). Links go both ways, and only
    their ratios count. An item with a link, be it to an item outside the batch, is as alike to its own other views as
    to its strongest link; an item without one takes part as a negative. Batches must bring linked items together, as
    those of `mscon.data.pair_batches` do.

    **Arguments:**

    - `edges`: numbers of the two items of each pair, any order; a pair that is named twice counts with the sum.
    - `strength`: > 0 per pair, 1 when left out.

    **Raises:** `ValueError` for a strength that is not positive and finite, numbers of strengths and pairs that differ,
    numbers below 0, or an item linked to itself.
    """

    def __init__(self, edges: Int[Tensor, "e 2"], strength: Float[Tensor, " _"] | None = None):
        strength = torch.ones(len(edges), dtype=torch.float64) if strength is None else strength.double()
        if len(strength) != len(edges):
            raise ValueError(f"{len(strength)} strengths for {len(edges)} pairs")
        if not bool(((strength > 0) & strength.isfinite()).all()):
            raise ValueError("the strength of a pair must be positive and finite")
        if len(edges) and (int(edges.min()) < 0 or bool((edges[:, 0] == edges[:, 1]).any())):
            raise ValueError("a pair names two different items by numbers from 0")
        items = int(edges.max()) + 1 if len(edges) else 0
        both = torch.cat([edges, edges.flip(1)]).long().t()
        links = torch.sparse_coo_tensor(  # pyright: ignore[reportUnknownMemberType]
            both, strength.repeat(2), (items, items), check_invariants=False
        ).coalesce()
        (first, self.second), self.strength = links.indices(), links.values()
        zeros = torch.zeros(items, dtype=torch.float64, device=first.device)
        self.strongest = zeros.scatter_reduce(0, first, self.strength, "amax")
        self.starts = torch.searchsorted(first, torch.arange(items + 1, device=first.device))

    def targets(self, values: Int[Tensor, " n"]) -> Targets:
        """Targets from item numbers, equal for views of one item; a negative number is a row that takes no part."""
        device = values.device
        self._move_to(device)
        rows = (values >= 0).nonzero().squeeze(1)
        items, types = cast(
            tuple[Tensor, Tensor],
            values[rows].unique(return_inverse=True),  # pyright: ignore[reportUnknownMemberType]
        )
        # Items beyond the table have no links: their part of it is empty and begins at its end.
        end = len(self.strongest)
        starts = self.starts[items.clamp(max=end)]
        lengths = self.starts[(items + 1).clamp(max=end)] - starts
        one = torch.arange(len(items), device=device).repeat_interleave(lengths)
        places = torch.arange(len(one), device=device) + (starts + lengths - lengths.cumsum(0))[one]
        partner = self.second[places]
        other = torch.searchsorted(items, partner).clamp(max=len(items) - 1)
        here = items[other] == partner
        linked = lengths.nonzero().squeeze(1)
        where = torch.cat([torch.stack([one[here], other[here]]), linked.expand(2, -1)], dim=1)
        strength = torch.cat([self.strength[places[here]], self.strongest[items[linked]]])
        v = torch.sparse_coo_tensor(  # pyright: ignore[reportUnknownMemberType]
            where, strength, (len(items), len(items)), check_invariants=False
        )
        return TypeTargets.of_matrix(rows, types, v, batch=len(values))

    def _move_to(self, device: torch.device) -> None:
        """The table goes where the batches are and stays there: with millions of links, a copy per step would tell."""
        if self.second.device != device:
            self.second, self.strength = self.second.to(device), self.strength.to(device)
            self.strongest, self.starts = self.strongest.to(device), self.starts.to(device)


def _rarity(groups: Sequence[Sequence[int]], counts: Sequence[int], tags: int) -> list[float]:
    having = [0] * tags
    for each, count in zip(groups, counts, strict=True):
        for code in each:
            having[code] += count
    total = sum(count for each, count in zip(groups, counts, strict=True) if each)
    # A tag that all items have says nothing, but an item may have no other.
    return [max(log(total / count), 1e-6) if count else 1.0 for count in having]

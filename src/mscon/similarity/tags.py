"""Alike means: a tag in common."""

from collections import Counter
from collections.abc import Collection, Sequence
from math import inf, log
from typing import Any, Literal

import torch
from jaxtyping import Int, Integer
from torch import Tensor

from mscon.arguments import number
from mscon.contrast import LinearTargets
from mscon.similarity.groups import Groups, refuse_text


class Tags:
    """Alike means: a tag in common. An anchor shares its pull out among its tags, and each tag among its other rows.

        q_ij = Σ_{t in both} w_t / (Σ_{t of i} w_t) / (n_t − 1)           over tags with n_t ≥ 2 rows in the batch

    So the more tags two items share, and the fewer others have them, the harder they pull. With even weights this is
    what MulSupCon averages per label (Zhang and Wu 2024, AAAI), its positives counted once per tag.

    **Arguments:**

    - `sets`: the sets of tags that items have; an item's value is the number of its set here. An empty set is a missing
      label.
    - `weighting`: `"rarity"`, w_t = log(items / items with t) for items that have any, or `"even"`, w_t = 1.
    - `counts`: how many items have each set, for rarity; once each when left out.

    **Raises:** `ValueError` for an unknown weighting, or counts that do not match or are below 0.
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
        refuse_text(sets)
        if counts is not None and len(counts) != len(sets):
            raise ValueError(f"{len(counts)} counts for {len(sets)} sets of tags")
        if counts is not None and not all(0.0 <= number("a count of items", each) < inf for each in counts):
            raise ValueError(f"counts of items must be from 0 on and finite: {list(counts)}")
        self.tags = tuple(sorted({tag for each in sets for tag in each}))
        codes = {tag: code for code, tag in enumerate(self.tags)}
        groups = [sorted({codes[tag] for tag in each}) for each in sets]
        weights = [1.0] * len(self.tags)
        if weighting == "rarity":
            weights = _rarity(groups, [1] * len(sets) if counts is None else counts, len(self.tags))
        self._groups = Groups(groups, [[weights[code] for code in each] for each in groups])

    @classmethod
    def of(cls, items: Sequence[Collection[str] | None], **settings: Any) -> tuple["Tags", Int[Tensor, " n"]]:
        """The similarity for these items, and the value of each: None and an empty set are missing."""
        refuse_text(items)
        kinds = Counter(frozenset(each) for each in items if each)
        sets = sorted(kinds, key=sorted)
        numbers = {each: number for number, each in enumerate(sets)}
        values = torch.tensor([numbers[frozenset(each)] if each else -1 for each in items], dtype=torch.int64)
        return cls(sets, counts=[kinds[each] for each in sets], **settings), values

    def targets(self, values: Integer[Tensor, " n"]) -> LinearTargets:
        """Targets from numbers of sets, a negative one being a missing label."""
        return self._groups.targets(values)


def _rarity(groups: Sequence[Sequence[int]], counts: Sequence[int], tags: int) -> list[float]:
    having = [0] * tags
    for each, count in zip(groups, counts, strict=True):
        for code in each:
            having[code] += count
    total = sum(count for each, count in zip(groups, counts, strict=True) if each)
    # A tag that all items have says nothing, but an item may have no other; one that none has counts as a rarest one.
    return [max(log(max(total, 1) / max(count, 1)), 1e-6) for count in having]

"""What the diagnostics of a run say: its figures, the thresholds they are held against, and warnings in plain words."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

Bound = Literal["least", "most"]

REDUNDANT = 0.77
"""CKA of two heads."""

CONFLICT = -0.1
"""Cosine."""

AT_CHANCE = 0.95
"""Relative excess."""

COLLAPSED, HONEST_RANK = 20.0, 90
"""Effective rank of the embedding."""

POINT = -0.05
"""Uniformity of a head."""

ALONE = 0.1
"""Share of items without a positive but their own views; the same as before training, `mscon inspect`."""


@dataclass(frozen=True)
class HeadFacts:
    """One similarity on the held-out items.

    - `effective_rank`, `uniformity`: of its projections, see `mscon.evaluate.geometry`; None with a single item.
    - `relative_excess`: 0 at the floor … 1 at chance, under views as in training; None without anchors.
    - `weight`: how far training trusted it in the end; None when the run keeps no checkpoint.
    - `bound`: whether that is the `least` or the `most` that the weighting allows.
    - `alone`: share of its labelled items without another of their class in a training batch.
    """

    name: str
    effective_rank: float
    uniformity: float | None
    relative_excess: float | None
    weight: float | None
    bound: Bound | None
    alone: float


@dataclass(frozen=True)
class PairFacts:
    """Two similarities.

    - `cka`: how alike their projections are, 0 … 1; None when one of the heads gives the same for all items.
    - `shared_information`: how much of one label the other carries, 0 … 1; None when one is no category.
    - `gradient_cosine`: whether they ask the same of the embedding, −1 … 1; None when one asks nothing.
    """

    first: str
    second: str
    cka: float | None
    shared_information: float | None
    gradient_cosine: float | None


@dataclass(frozen=True)
class Diagnostics:
    """All of it, on `items` held-out items; `effective_rank` and `uniformity` are those of the shared embedding."""

    items: int
    effective_rank: float
    uniformity: float | None
    heads: tuple[HeadFacts, ...]
    pairs: tuple[PairFacts, ...]

    def to_json(self) -> dict[str, Any]:
        """What evaluation.json holds under `diagnostics`: these fields, and the `warnings`."""
        return asdict(self) | {"warnings": warnings(self)}


def warnings(facts: Diagnostics) -> list[str]:
    """What the figures say in plain words: what was seen, what it means, what to do. Empty for a run in good order.

    In a collapsed embedding all else follows from that, so nothing else is said then.
    """
    if facts.effective_rank < COLLAPSED:
        return [
            f"The embedding has collapsed: held-out items are spread over {facts.effective_rank:.1f} directions"
            f" (effective rank; honest runs had {HONEST_RANK} and more), so it hardly tells them apart. Lower"
            " training.lr or objective.temperature, and train again."
        ]
    return [
        *(warning for head in facts.heads for warning in _head_warnings(head)),
        *(warning for pair in facts.pairs for warning in _pair_warnings(pair)),
    ]


def _head_warnings(head: HeadFacts) -> Iterator[str]:
    name = head.name
    if head.uniformity is not None and head.uniformity > POINT:
        yield (
            f"{name}: its head has collapsed: all held-out items point one way (uniformity {head.uniformity:.2f})."
            f" Lower its temperature (similarities.{name}.temperature)."
        )
    # What is trusted least is so for being at chance in training: once said is enough.
    if head.relative_excess is not None and head.relative_excess > AT_CHANCE and head.bound != "least":
        yield (
            f"{name}: on held-out items its loss is at chance (relative excess {head.relative_excess:.2f}): either its"
            " labels are mostly noise, or images do not tell them. Look at some of its labels, or leave it out."
        )
    match head.bound:
        case "least":
            yield (
                f"{name}: its weight ({head.weight:.2f}) is the least that the weighting allows: training trusts it no"
                " more than noise, but does not switch it off. Look at its labels, or leave it out."
            )
        case "most":
            yield (
                f"{name}: its weight ({head.weight:.2f}) is the most that the weighting allows: it is learned all but"
                " perfectly and leaves little to the others. Set objective.weighting = 'equal', or weights of your own."
            )
        case None:
            pass
    if head.alone > ALONE:
        yield (
            f"{name}: {head.alone:.0%} of its items find no other of their class in a batch, and only their own views"
            f" to be near to. Enlarge training.batch_size, or sample per class (training.sampler = {name!r})."
        )


def _pair_warnings(pair: PairFacts) -> Iterator[str]:
    both = f"{pair.first} and {pair.second}"
    if pair.cka is not None and pair.cka > REDUNDANT:
        labels = "" if pair.shared_information is None else f", labels share {pair.shared_information:.0%}"
        yield (
            f"{both}: their heads learned much the same (CKA {pair.cka:.2f}{labels}), so together they count twice."
            " Leave one out, or give them smaller weights (objective.weighting)."
        )
    if pair.gradient_cosine is not None and pair.gradient_cosine < CONFLICT:
        yield (
            f"{both}: they pull the embedding opposite ways (gradient cosine {pair.gradient_cosine:.2f}): what helps"
            " one harms the other. `mscon ablate` tells whether either costs the other anything on test."
        )

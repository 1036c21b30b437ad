"""What the diagnostics of a run say: its figures, the thresholds they are held against, and warnings in plain words."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mscon.inspection import ALONE, Sampler, larger_batches

Bound = Literal["least", "most", "hottest", "coldest"]

# The numbers below are those of benchmarks/diagnostics.csv: two seeds, footwear at 32 px, 4 epochs (2 for the runs that
# were to collapse), a resnet10t whose embedding is gathered from four stages, weighting by excess. A threshold lies
# between the two sides that they show.

REDUNDANT = 0.77
"""CKA of two heads above which they learned the same.

Honest pairs came to 0.12 to 0.69, the highest being category and usage, of which one label carries 86% of the other's
information; a head trained on pure noise to 0.68 with colour's. A label with half of its values drawn anew came to 0.74
and 0.80 with the label itself (it is named as noise, too), one with a fifth drawn anew to 0.96, a copy to 1.00.
"""

CONFLICT = -0.1
"""Gradient cosine below which two similarities are in each other's way.

No pair of any run came near it: the lowest was −0.004. So this marks what was not seen in sound runs, and how much harm
goes with it was not measured; `mscon ablate` measures that.
"""

AT_CHANCE = 0.97
"""Relative excess on held-out items above which a similarity is not learned, while others are.

Honest labels came to 0.62 to 0.77, and season, which a photograph hardly shows, to 0.95; a label with a fifth of its
values drawn anew to 0.87, with half of them to 0.99, pure noise to 1.00. It depends on the temperature too.
"""

UNLEARNED = 0.8
"""Least relative excess above which nothing is learned: honest runs had 0.65 and less, those with a learning rate of 1
instead of 0.002 0.87, those at τ = 10 instead of 0.1 0.95.
"""

COLLAPSED = 20.0
"""Effective rank below which an embedding from which nothing is learned has collapsed.

The learning rate of 1 left 8 and 10, τ = 10 left 44 and 56, honest runs had 64 to 108. A narrow embedding that is good
has few directions too (letters, 96 numbers: rank 12, excess 0.23), so rank alone says nothing.
"""

POINT = -0.02
"""Uniformity above which all projections of a head point one way.

Heads on honest labels had −0.17 and less; on pure noise, which a head fits best by giving up, −0.05. No head of any run
passed it: 0 is the same direction for all.
"""


@dataclass(frozen=True)
class HeadFacts:
    """One similarity on the held-out items.

    - `effective_rank`, `uniformity`: of its projections, see `mscon.evaluate.geometry`; 0 and None with a single item.
    - `relative_excess`: 0 at the floor … 1 at chance, under views as in training and as `MSConLoss.held_out_sums` reads
      it: a head that is too sure of itself is not at chance for that. None without anchors.
    - `weight`: how far training trusted it in the end; None when the run keeps no checkpoint.
    - `bound`: whether that is the `least` or the `most` that the weighting allows, or its learned temperature the
      highest (`hottest`) or the lowest (`coldest`) allowed.
    - `alone`: share of its labelled items without another that is alike in a training batch; `sampler`: what a sampler
      would bring together, see `mscon.inspection.BatchFacts`.
    """

    name: str
    effective_rank: float
    uniformity: float | None
    relative_excess: float | None
    weight: float | None
    bound: Bound | None
    alone: float
    sampler: Sampler | None = None


@dataclass(frozen=True)
class PairFacts:
    """Two similarities.

    - `cka`: how alike their projections are, 0 … 1; None when one of the heads gives the same for all items.
    - `shared_information`: how much of one label the other carries, 0 … 1; None when one of them is given by no label.
    - `gradient_cosine`: whether they ask the same of the embedding, −1 … 1; None when one asks nothing.
    """

    first: str
    second: str
    cka: float | None
    shared_information: float | None
    gradient_cosine: float | None


@dataclass(frozen=True)
class Diagnostics:
    """All of it, on `items` held-out items; `effective_rank` and `uniformity` are those of the shared embedding.

    - `above_untrained`: whether a linear probe of a trained label is above that of the untrained encoder; False where
      nobody looked. With few items a loss may hardly leave chance, and the embedding be the better for it.
    """

    items: int
    effective_rank: float
    uniformity: float | None
    heads: tuple[HeadFacts, ...]
    pairs: tuple[PairFacts, ...]
    above_untrained: bool = False

    def to_json(self) -> dict[str, Any]:
        """What evaluation.json holds under `diagnostics`: these fields, and the `warnings`."""
        return asdict(self) | {"warnings": warnings(self)}


def warnings(facts: Diagnostics) -> list[str]:
    """What the figures say in plain words: what was seen, what it means, what to do. Empty for a run in good order.

    Where nothing at all was learned, all else follows from that, and nothing else is said.
    """
    excess = [head.relative_excess for head in facts.heads if head.relative_excess is not None]
    unlearned = min(excess) > UNLEARNED if excess else facts.effective_rank < 1.0  # all items at one point
    unlearned = unlearned and not facts.above_untrained
    if unlearned and facts.effective_rank < min(COLLAPSED, facts.items / 2):  # few items span few directions
        return [
            f"The embedding has collapsed: held-out items are spread over {facts.effective_rank:.1f} directions"
            " (effective rank), and no similarity is learned from it. Lower training.lr, and train again."
        ]
    if excess and unlearned:
        return [
            "Hardly anything is learned: on held-out items all losses are near chance (relative excess"
            f" {min(excess):.2f} and more). Lower objective.temperature or training.lr, train longer, or look whether"
            " the images show what the labels say."
        ]
    heads = {head.name: head for head in facts.heads}
    return [
        *(warning for head in facts.heads for warning in _head_warnings(head)),
        *(warning for pair in facts.pairs for warning in _pair_warnings(pair, heads)),
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
            " labels are mostly noise, or images do not show them. Look at some of its labels, or leave it out."
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
        case "hottest":
            yield (
                f"{name}: its learned temperature is the highest that is allowed: training tells its items apart as"
                " little as it may, as it does where labels are noise. Look at its labels, or leave it out."
            )
        case "coldest":
            yield (
                f"{name}: its learned temperature is the lowest that is allowed, where ever finer differences count."
                f" Give it one of your own (similarities.{name}.temperature) and learn none."
            )
        case None:
            pass
    if head.alone > ALONE:
        yield (
            f"{name}: {head.alone:.0%} of its items find no other that is alike in a batch, and only their own views to"
            f" be near to. {larger_batches(name, head.sampler)}"
        )


def _pair_warnings(pair: PairFacts, heads: Mapping[str, HeadFacts]) -> Iterator[str]:
    both = f"{pair.first} and {pair.second}"
    # Heads that have learned nothing are alike in that.
    learned = any((heads[name].relative_excess or 0.0) <= AT_CHANCE for name in (pair.first, pair.second))
    if pair.cka is not None and pair.cka > REDUNDANT and learned:
        labels = "" if pair.shared_information is None else f", labels share {pair.shared_information:.0%}"
        yield (
            f"{both}: their heads learned much the same (CKA {pair.cka:.2f}{labels}), so together they may count"
            " twice. Leave one out, unless objective.weighting is 'excess', which counts once what labels share."
        )
    if pair.gradient_cosine is not None and pair.gradient_cosine < CONFLICT:
        yield (
            f"{both}: they pull the embedding opposite ways (gradient cosine {pair.gradient_cosine:.2f}): what helps"
            " one harms the other. `mscon ablate` tells whether either costs the other anything on test."
        )

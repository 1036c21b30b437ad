"""What the diagnostics of a run say: its figures, the thresholds they are held against, and warnings in plain words."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from mscon.evaluate.bootstrap import FEW, verdict
from mscon.inspection import ALONE, MUCH, Sampler, counted, larger_batches
from mscon.words import joined_names, listed, span

Bound = Literal["least", "most", "hottest", "coldest"]

FLOORS = {"untrained": "the untrained encoder", "pixels": "a thumbnail", "classical": "a histogram of gradients"}
"""What each floor of evaluation.json is, in words."""

# The numbers below are those of benchmarks/diagnostics.csv: two seeds, footwear at 32 px, 4 epochs (2 for the runs that
# were to collapse), a resnet10t whose embedding is gathered from four stages, weighting by excess. A threshold lies
# between the two sides that they show.

FEWEST = 100
"""Held-out items below which nothing is said of pairs, nor of a collapse.

CKA is unbiased, but of 100 items it still varies: by a standard deviation of 0.06 around 0.7, of 24 items by twice that
(simulated in `tests/evaluate/test_diagnostics.py`). And so few items span few directions, whatever the embedding could.
"""

REDUNDANT = 0.83
"""CKA of two heads above which they learned the same: midway between what differs and what repeats.

Honest pairs came to 0.12 to 0.69, the highest being category and usage, of which one label carries 86% of the other's
information; a head trained on pure noise to 0.68 with colour's. A label with a fifth of its values drawn anew came to
0.96 with the label itself, a copy to 1.00; one with half of them drawn anew to 0.74 and 0.80, and it is named as noise.
These were measured with the estimate that takes the held-out items for the whole. On as many items (924) the unbiased
one is lower by no more than √(r s) / 924 for heads of effective ranks r and s, so by 0.011 for the noise (15 and 6) and
by less than 0.008 for the labels (7 at most): `tests/evaluate/test_diagnostics.py` has both laws. The runs with noise
and with five labels, trained again with one seed, moved by 0.003 at most. At 100 items the threshold is two standard
deviations away from either side.
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
has few directions too (letters, 96 numbers: rank 12, excess 0.23), so rank alone says nothing. Nor has all been lost
where losses stand at chance: with the learning rate of 1 the own head still told 60% of the categories on test, of
which the most frequent has 31% (seed 0). So where test items tell a label, training is said to be short, not over.
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
    - `alone`: share of its labelled items without another that is alike in a training batch; `sampler`, `per_class`:
      what a sampler would bring together, see `mscon.inspection.BatchFacts`.
    - `repeats`: the similarity whose copy it is, and beside which it learns without leading the encoder, see
      `mscon.copies`.
    - `told`: whether a probe or its own head is above chance on test, by the lower end of the interval; False where
      nobody looked, or there are too few test items to say.
    """

    name: str
    effective_rank: float
    uniformity: float | None
    relative_excess: float | None
    weight: float | None
    bound: Bound | None
    alone: float
    sampler: Sampler | None = None
    per_class: int | None = None
    repeats: str | None = None
    told: bool = False


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
class BelowFacts:
    """A label of which a probe tells less than of some of the `floors`, by the whole interval of the difference.

    `trained`: whether a similarity is learned from it.
    """

    name: str
    floors: tuple[str, ...]
    trained: bool


@dataclass(frozen=True)
class Diagnostics:
    """All of it, on `items` held-out items; `effective_rank` and `uniformity` are those of the shared embedding.

    - `weighting`: by what the run's similarities are weighted; `"fixed"` for weights that the recipe gives.
    - `above_untrained`: whether a linear probe of a trained label is above that of the untrained encoder; False where
      nobody looked. With few items a loss may hardly leave chance, and the embedding be the better for it.
    - `below`: the labels that some floor tells better; empty where nobody looked.
    """

    items: int
    effective_rank: float
    uniformity: float | None
    heads: tuple[HeadFacts, ...]
    pairs: tuple[PairFacts, ...]
    weighting: str = "excess"
    above_untrained: bool = False
    below: tuple[BelowFacts, ...] = ()

    def beside(self, labels: Mapping[str, Any], links: Mapping[str, Any]) -> "Diagnostics":
        """The same, told what test items say: the entries of evaluation.json under `labels` and `links`. Those of fewer
        than `FEW` test items, whose intervals are too narrow, say nothing.
        """
        labels = {name: each for name, each in labels.items() if each["n"] >= FEW}
        links = {name: each for name, each in links.items() if each["asked"] >= FEW}
        trained = [labels[head.name] for head in self.heads if head.name in labels]
        above = any(_low(each["floors"]["untrained"]["difference"]) > 0.0 for each in trained)
        heads = (replace(head, told=_told(labels.get(head.name), links.get(head.name))) for head in self.heads)
        found = (BelowFacts(name, _better(each), each["role"] == "in-domain") for name, each in labels.items())
        below = tuple(each for each in found if each.floors)
        return replace(self, heads=tuple(heads), above_untrained=above, below=below)

    def to_json(self) -> dict[str, Any]:
        """What evaluation.json holds under `diagnostics`: these fields, and the `warnings`."""
        return asdict(self) | {"warnings": warnings(self)}


def warnings(facts: Diagnostics) -> list[str]:
    """What the figures say in plain words: what was seen, what it means, what to do. Empty for a run in good order.

    Where nothing at all was learned, all else follows from that, and nothing else is said.
    """
    excess = [head.relative_excess for head in facts.heads if head.relative_excess is not None]
    point = facts.items > 1 and facts.effective_rank < 1.0  # all items at one
    unlearned = (min(excess) > UNLEARNED if excess else point) and not facts.above_untrained
    told = [head.name for head in facts.heads if head.told]
    few = facts.items < FEWEST
    if unlearned and (point or (facts.effective_rank < COLLAPSED and not few and not told)):
        return [
            f"The embedding has collapsed: held-out items are spread over {facts.effective_rank:.1f} directions"
            " (effective rank), and no similarity is learned from it. Lower training.lr, and train again."
        ]
    if unlearned and told:
        narrow = facts.effective_rank < COLLAPSED and not few
        directions = f" in an embedding of few directions (effective rank {facts.effective_rank:.1f})" * narrow
        settings = "training.lr" if narrow else "training.lr or objective.temperature"
        return [
            "Hardly anything is learned yet: on held-out items all losses are near chance (relative excess"
            f" {min(excess):.2f} and more){directions}, though on test {listed(told, 'and')} can be told above chance."
            f" Train longer; where the losses no longer fall, lower {settings}."
        ]
    if unlearned:
        return [
            "Hardly anything is learned: on held-out items all losses are near chance (relative excess"
            f" {min(excess):.2f} and more). Lower objective.temperature or training.lr, train longer, or look whether"
            " the images show what the labels say."
        ]
    return [
        *(warning for head in facts.heads for warning in _head_warnings(head)),
        *_not_yet(facts.heads),
        *_below(facts.below),
        *(_few(facts) if few else _pair_warnings(facts)),
    ]


def _low(score: Mapping[str, Any] | None) -> float:
    """The lower end of an interval; −∞ where there is none."""
    low = score["low"] if score else None
    return -math.inf if low is None else low


def _told(label: Mapping[str, Any] | None, links: Mapping[str, Any] | None) -> bool:
    if links is not None:
        ten = links["own_head"]["recall"]["10"]
        return _low(ten) > ten["chance"]
    if label is None:
        return False
    chance = label["majority"] or 0.0  # R² and correlations of ranks are 0 by chance
    return max(_low(label), _low(label["own_head"])) > chance


def _better(label: Mapping[str, Any]) -> tuple[str, ...]:
    """The floors that tell a label better, by the whole interval."""
    gains = {floor: each["difference"] for floor, each in label["floors"].items()}
    return tuple(floor for floor, gain in gains.items() if verdict(gain["low"], gain["high"]) == "below")


def _at_chance(head: HeadFacts) -> bool:
    return head.relative_excess is not None and head.relative_excess > AT_CHANCE


def _head_warnings(head: HeadFacts) -> Iterator[str]:
    name = head.name
    if head.uniformity is not None and head.uniformity > POINT:
        yield (
            f"{name}: its head has collapsed: all held-out items point one way (uniformity {head.uniformity:z.2f})."
            f" Lower its temperature (similarities.{name}.temperature)."
        )
    # What is trusted least is so for being at chance in training: once said is enough.
    if _at_chance(head) and not head.told and head.bound != "least":
        yield (
            f"{name}: on held-out items its loss is at chance (relative excess {head.relative_excess:.2f}): either its"
            " labels are mostly noise, or images do not show them. Look at some of its labels, or leave it out."
        )
    match head.bound:
        case "least" if not head.told:
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
        case _:
            pass
    if head.alone > ALONE:
        yield (
            f"{name}: {head.alone:.0%} of its items find no other that is alike in a batch, and only their own views to"
            f" be near to. {larger_batches(name, head.sampler, head.per_class)}"
        )


def _not_yet(heads: Sequence[HeadFacts]) -> Iterator[str]:
    """Those that training makes nothing of, though test items show them: said once of all."""
    names = [head.name for head in heads if head.told and (_at_chance(head) or head.bound == "least")]
    if names:
        yield (
            f"{listed(names, 'and')}: not learned yet. On held-out items they are at chance, or trusted no more than"
            " noise, but on test a probe or their own head is above chance. Train longer; if that does not help, look"
            " for wrong labels with `mscon audit`."
        )


def _below(below: Sequence[BelowFacts]) -> Iterator[str]:
    """Said once of all trained labels, and once of the others."""
    for trained, advice in (
        (True, "Train longer, on larger images (image.size), or from pretrained weights (model.pretrained)."),
        (False, "If similarities of the kind appearance and instance are not among those trained, try them."),
    ):
        alike = [each for each in below if each.trained == trained]
        if alike:
            floors = [words for floor, words in FLOORS.items() if any(floor in each.floors for each in alike)]
            never = "" if trained else "never trained on, and "
            yield (
                f"{listed([each.name for each in alike], 'and')}: {never}on test a linear probe tells less from the"
                f" embedding than from {listed(floors, 'or')}. {advice}"
            )


def _few(facts: Diagnostics) -> Iterator[str]:
    pairs = ", heads that learned the same or losses that are in each other's way" if facts.pairs else ""
    yield (
        f"Only {facts.items} held-out item{'s' * (facts.items != 1)}: too few to say anything of a collapse{pairs}."
        f" {FEWEST} would do: enlarge the validation split."
    )


def _pair_warnings(facts: Diagnostics) -> Iterator[str]:
    heads = {head.name: head for head in facts.heads}
    pairs = [pair for pair in facts.pairs if _tells(pair, heads)]
    redundant = [pair for pair in pairs if pair.cka is not None and pair.cka > REDUNDANT]
    for names in joined_names((pair.first, pair.second) for pair in redundant):
        alike = [pair for pair in redundant if pair.first in names]
        shared = [pair.shared_information for pair in alike if pair.shared_information is not None]
        labels = f", labels share {span(shared, '.0%')}" if shared else ""
        copies = {name: same for name in names if (same := heads[name].repeats)}
        yield (
            f"{listed(names, 'and')}: their heads learned much the same (CKA"
            f" {span([pair.cka or 0.0 for pair in alike], '.2f')}{labels})."
            f" {counted(facts.weighting, labelled=bool(shared), copies=copies)}"
        )
    for pair in pairs:
        if pair.gradient_cosine is not None and pair.gradient_cosine < CONFLICT:
            yield (
                f"{pair.first} and {pair.second}: they pull the embedding opposite ways (gradient cosine"
                f" {pair.gradient_cosine:.2f}): what helps one harms the other. `mscon ablate` tells whether either"
                " costs the other anything on test."
            )


def _tells(pair: PairFacts, heads: Mapping[str, HeadFacts]) -> bool:
    """Of a head that has learned nothing, no pair tells anything, unless the two labels are much the same."""
    learned = not any(_at_chance(heads[name]) for name in (pair.first, pair.second))
    return learned or (pair.shared_information or 0.0) > MUCH

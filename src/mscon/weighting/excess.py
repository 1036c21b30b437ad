"""Weights from what each similarity is still short of, freed of how many classes it has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mscon.terms import BatchTerms
from mscon.weighting.calibration import LEAST_SPAN, Classes, noise_share
from mscon.weighting.weights import Weights, check_similarities

Function = Literal["calibrated", "signal", "odds", "inverse"]
"""What `Excess` makes of a relative excess."""

LEAST_EXCESS = 0.05
"""Of what r may be in 1/r: a similarity that is learned perfectly does not take all of the weight."""

TEMPERATURE = 0.1
"""That of `MSConLoss` when none is given."""


@dataclass(frozen=True)
class Trust:
    """How far each similarity is trusted as things stand, and why.

    - `relative_excess`: r, 1 where nothing was seen yet or nothing is told apart.
    - `noise_share`: η̂ in [0, 1], the share of labels which, were they chance, would give the best model this r.
    - `weight`: sums to C; where some are `silent`, those of the others sum to their number.
    - `held_out`: whether r is that of held-out items.
    """

    relative_excess: Float[Tensor, " c"]
    noise_share: Float[Tensor, " c"]
    weight: Float[Tensor, " c"]
    held_out: Bool[Tensor, " c"]


@dataclass(frozen=True)
class _Solved:
    """What was made of these numbers last."""

    given: Tensor
    trust: Trust

    def is_of(self, given: Tensor) -> bool:
        return self.given.device == given.device and torch.equal(self.given, given)


class Excess(nn.Module):
    """Weights from the relative excess: how much of what its labels could tell is a similarity still short of?

        r_c = Σ (L_c − floor_c) / Σ (chance_c − floor_c)        0 = clean … 1 = noise
        weight_c ∝ (least + f(r_c)) / Σ_d shared_cd,  summing to C

    `function` is f, with r kept in [0.05, 1]:

    - `"calibrated"`: (1 − η̂)², the share of pairs whose labels both survived if all that is missing were label noise
      (`noise_share`). What a similarity tells the encoder is the clean gradient times that share, under about the
      same noise, so it is also the weight that sums such gradients best; class count, balance and temperature are
      taken out.
    - `"signal"`: 1 − r.
    - `"odds"`: (1 − r) / r.
    - `"inverse"`: 1 / r, which leaves pure noise a large weight.

    The sums run over the anchors of the training batches with an exponential decay (a ratio of sums, never a mean of
    ratios: a batch of few anchors counts little). Heads learn noise by heart, so batches flatter it; once
    `observe_held_out` was called, r is that of the held-out items alone, for every similarity with anchors there. A
    loop that never calls it stays with the batches.

    Before anything is learned all r are near 1, so all weights near equal. `least` keeps a similarity that comes later
    than the others in the encoder's view: 0.1 leaves pure noise a fifteenth or so of the weight beside two that are
    half learned. What is merely hard to see counts as noise too: η̂ says how many replaced
    labels would be as bad, not how many were replaced.

    Similarities that say the same share one weight: `shared_cd` in [0, 1] tells how much c and d have in common, 1 for
    a similarity and itself, so that of three copies each counts a third. Those that are `silent` have no part in this,
    nor in the sum: for heads that learn from the embedding and have no say in it.

    **Arguments:**

    - `similarities`: C.
    - `decay`: of the sums over batches, per step.
    - `least`: added to every f, so what pure noise gets where a perfect similarity gets 1 + `least`.
    - `held_out`: False ignores what is held out.
    - `temperatures`: τ of each similarity, for the calibration; 0.1 when left out. An `MSConLoss` sets its own.
    - `histograms`: class counts or shares of each similarity, for the calibration. Where left out, or None for one of
      them: balanced classes, as many as chance − floor speaks of, which fits any kind of similarity; it takes
      unbalanced ones for a little cleaner than they are (a survival of 0.36 is read as 0.40 at 80 : 20, and as 0.49
      at 95 : 5).
    - `shared`: (C, C), symmetric with a diagonal of 1, as `mscon.data.information.in_common` makes it; when left out,
      no two have anything in common.
    - `silent`: for each similarity, whether no gradient of it is to reach the embedding (which is the caller's to see
      to); none is when left out. It is weighted by the same formula as the others.

    **Raises:** `ValueError` for no similarity, settings out of range or not one for each similarity, or an unknown
    function.
    """

    function: Function
    batches: Tensor
    held_out_items: Tensor
    temperatures: Tensor
    class_share: Tensor
    class_mass: Tensor
    multiplicity: Tensor
    speaks: Tensor

    def __init__(
        self,
        similarities: int,
        *,
        function: Function = "calibrated",
        held_out: bool = True,
        decay: float = 0.99,
        least: float = 0.1,
        temperatures: Sequence[float] | None = None,
        histograms: Sequence[Sequence[float | int] | None] | None = None,
        shared: Sequence[Sequence[float | int]] | None = None,
        silent: Sequence[bool] | None = None,
    ):
        super().__init__()
        check_similarities(similarities)
        if function not in get_args(Function):
            raise ValueError(f"function must be one of {', '.join(get_args(Function))}, not {function!r}")
        if not (0.0 <= decay < 1.0 and 0.0 < least < float("inf")):
            raise ValueError(f"need 0 ≤ decay < 1 and a finite least > 0: {decay=}, {least=}")
        temperatures = [TEMPERATURE] * similarities if temperatures is None else list(temperatures)
        histograms = [None] * similarities if histograms is None else list(histograms)
        if len(temperatures) != similarities or not all(0.0 < each < float("inf") for each in temperatures):
            raise ValueError(f"need {similarities} temperatures above 0: {temperatures}")
        if len(histograms) != similarities:
            raise ValueError(f"need {similarities} histograms, or None for some, not {len(histograms)}")
        speaks = [True] * similarities if silent is None else [not each for each in silent]
        if len(speaks) != similarities or not any(speaks):
            raise ValueError(f"need {similarities} values of silent, not all true, not {silent}")
        self.similarities, self.function, self.held_out = similarities, function, held_out
        self.decay, self.least = decay, least
        self._solved: _Solved | None = None
        # Rows: Σ excess, Σ (chance − floor), how many anchors.
        self.register_buffer("batches", torch.zeros(3, similarities, dtype=torch.float64))
        self.register_buffer("held_out_items", torch.zeros(3, similarities, dtype=torch.float64))
        # Settings, not state: buffers only to follow the module to its device.
        known = Classes.of_histograms(histograms)
        self.register_buffer("temperatures", torch.tensor(temperatures, dtype=torch.float64), persistent=False)
        self.register_buffer("class_share", known.share, persistent=False)
        self.register_buffer("class_mass", known.mass, persistent=False)
        self.register_buffer("speaks", torch.tensor(speaks), persistent=False)
        self.register_buffer("multiplicity", _multiplicity(shared, self.speaks), persistent=False)

    def forward(self, terms: BatchTerms) -> Weights:
        """Weights from what was seen up to and with this batch."""
        if self.training:
            sums = _sums(terms)
            seen = sums[2] > 0
            self.batches.copy_(torch.where(seen, self.decay * self.batches + (1.0 - self.decay) * sums, self.batches))
        weight = self.trust.weight.to(terms.loss.dtype, copy=True)
        return Weights(weight=weight, penalty=terms.loss.new_zeros(()))

    def observe_held_out(self, terms: BatchTerms) -> None:
        """Take r from held-out items, in whatever mode the module is; this takes the place of what was held out before.

        Best with one view per item: several share their item's label, noise and all, so that they agree even where
        labels are chance.

        **Arguments:** `terms`: means over all anchors of all held-out batches, and how many anchors those were. A
        similarity without anchors, or with nothing told apart among them (a single class), keeps what it had.
        """
        sums = _sums(terms)
        tells = sums[1] > LEAST_SPAN * sums[2]
        self.held_out_items.copy_(torch.where(tells, sums, self.held_out_items))

    @property
    def trust(self) -> Trust:
        """Relative excess, noise share and weight of each similarity as things stand."""
        # What is kept must serve a training as well, even if a validation asked first.
        with torch.inference_mode(mode=False), torch.no_grad():
            held_out = (self.held_out_items[2] > 0) & self.held_out
            sums = torch.where(held_out, self.held_out_items, self.batches)
            given = torch.cat([sums, self.temperatures.unsqueeze(0), held_out.unsqueeze(0)])
            # Held-out sums change once per validation, and the noise share is a bisection.
            if self._solved is None or not self._solved.is_of(given):
                self._solved = _Solved(given, self._trust(sums, held_out))
            return self._solved.trust

    def _trust(self, sums: Float[Tensor, "3 c"], held_out: Bool[Tensor, " c"]) -> Trust:
        excess, span = sums[:2] / sums[2].where(sums[2] > 0, 1.0)
        tells = span > LEAST_SPAN
        r = torch.where(tells, excess / span.where(tells, 1.0), 1.0)
        noise = noise_share(r, Classes(self.class_share, self.class_mass).filled(span), self.temperatures)
        value = (self.least + self._value(r.clamp(LEAST_EXCESS, 1.0), noise)) / self.multiplicity
        weight = value * (self.speaks.sum() / (value * self.speaks).sum())
        return Trust(relative_excess=r, noise_share=noise, weight=weight, held_out=held_out)

    def _value(self, r: Tensor, noise: Tensor) -> Tensor:
        match self.function:
            case "calibrated":
                return (1.0 - noise).square()
            case "signal":
                return 1.0 - r
            case "odds":
                return (1.0 - r) / r
            case "inverse":
                return 1.0 / r


def _multiplicity(shared: Sequence[Sequence[float | int]] | None, speaks: Bool[Tensor, " c"]) -> Float[Tensor, " c"]:
    """As how many similarities each one counts: 1, and what others that speak have in common with it."""
    similarities = len(speaks)
    if shared is None:
        return torch.ones(similarities, dtype=torch.float64)
    given = torch.as_tensor(shared, dtype=torch.float64)
    square = given.shape == (similarities, similarities) and bool((given == given.T).all())
    if not square or not bool((given.diagonal() == 1.0).all() and ((given >= 0.0) & (given <= 1.0)).all()):
        raise ValueError(f"shared must be {similarities} × {similarities}, symmetric, in [0, 1] with a diagonal of 1")
    return given[:, speaks].sum(dim=1).clamp(min=1.0)


def _sums(terms: BatchTerms) -> Tensor:
    """Σ excess, Σ (chance − floor) and Σ 1 over the anchors; zeros where there are none, or the loss overflowed."""
    floor = terms.floor.double()
    sums = torch.stack([terms.loss.detach().double() - floor, terms.chance.double() - floor, torch.ones_like(floor)])
    return torch.where((terms.anchors > 0) & sums.isfinite().all(dim=0), terms.mass.double() * sums, 0.0)

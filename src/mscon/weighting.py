"""Weightings: how far each similarity is trusted.

A weighting sees, for each of C similarities in a batch, the mean loss over its anchors, the floor under it and the
loss of chance, and returns C weights. All but the paper's joint form return weights that sum to C, so that changing
the weighting does not change the length of the encoder's steps.

State moves in training mode only, once per call: call the objective once per optimiser step. A similarity without
anchors in a batch is skipped and keeps its state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mscon.calibration import LEAST_SPAN, Classes, noise_share
from mscon.terms import BatchTerms

Function = Literal["calibrated", "signal", "odds", "inverse"]
"""What `Excess` makes of a relative excess."""

LEAST_EXCESS = 0.05
"""Of what r may be in 1/r: a similarity that is learned perfectly does not take all of the weight."""

TEMPERATURE = 0.1
"""That of `MSConLoss` when none is given."""


@dataclass(frozen=True)
class Weights:
    """The objective is Σ_c weight_c · loss_c + penalty."""

    weight: Float[Tensor, " c"]
    penalty: Float[Tensor, ""]


class Fixed(nn.Module):
    """Weights that the user chose, scaled to sum to C; `Fixed([1.0] * C)` trusts all similarities alike."""

    weight: Tensor

    def __init__(self, weights: Sequence[float]):
        """**Raises** `ValueError` for a negative weight, or when none is positive."""
        super().__init__()
        if not weights or min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            raise ValueError(f"weights must be at least 0, finite, and not all 0: {list(weights)}")
        self.similarities = len(weights)
        given = torch.tensor(list(weights), dtype=torch.float64)
        self.register_buffer("weight", (given * (len(weights) / given.sum())).float())

    def forward(self, terms: BatchTerms) -> Weights:
        """The same weights for every batch."""
        return Weights(weight=self.weight.to(terms.loss.dtype), penalty=terms.loss.new_zeros(()))


class Uncertainty(nn.Module):
    """The paper's homoscedastic uncertainty (Mu et al. 2023, arXiv 2307.02712; Kendall et al. 2018 in the
    classification form).

        L = Σ_c L_c / σ_c² + log σ_c²

    That is the published approximation: tempering similarity c's softmax with σ_c² adds a term to L_c / σ_c² which
    log σ_c² stands for, exactly so at σ_c = 1. Unapproximated, the loss is that at a temperature of τ σ_c².

    At the optimum σ_c² = L_c, so the weight is 1/L_c; and L_c ≥ mean log |P_c(i)|, so a similarity of few classes is
    trusted less than one of many, whatever its noise. `Excess` is free of that.

    By default log σ² starts at 0, stays in [−4, 4] and is trained on its own: the objective above with detached
    losses reaches log σ² alone (its value is taken out of the total, its gradient is not), while the encoder sees the
    detached weights 1/σ_c², scaled to sum to C. Give it its own learning rate and no weight decay
    (`MSConLoss.parameter_groups`).

    `paper=True` is the published joint form: raw weights 1/σ_c² carrying the gradient, log σ_c² started at 1 and not
    bounded, and trained like any other parameter of the encoder, weight decay included.
    """

    BOUND = 4.0

    def __init__(self, similarities: int, *, paper: bool = False):
        super().__init__()
        self.similarities, self.paper = similarities, paper
        self.log_variance = nn.Parameter(torch.full((similarities,), 1.0 if paper else 0.0))

    def forward(self, terms: BatchTerms) -> Weights:
        """Weights from σ²; the penalty teaches σ²."""
        present = (terms.anchors > 0).to(terms.loss.dtype)
        if self.paper:
            return Weights(weight=torch.exp(-self.log_variance), penalty=(present * self.log_variance).sum())
        raw = self.log_variance
        bounded = (
            raw + (raw.clamp(-self.BOUND, self.BOUND) - raw).detach()
        )  # the gradient passes, so a bound can be left again
        precision = torch.exp(-bounded)
        own = (present * (terms.loss.detach() * precision + bounded)).sum()
        return Weights(weight=_sum_to_count(precision.detach()).to(terms.loss.dtype), penalty=own - own.detach())


@dataclass(frozen=True)
class Trust:
    """How far each similarity is trusted as things stand, and why.

    - `relative_excess`: r, 1 where nothing was seen yet or nothing is told apart.
    - `noise_share`: η̂ in [0, 1], the share of labels which, were they chance, would give the best model this r.
    - `weight`: sums to C.
    - `held_out`: whether r is that of held-out items.
    """

    relative_excess: Float[Tensor, " c"]
    noise_share: Float[Tensor, " c"]
    weight: Float[Tensor, " c"]
    held_out: Bool[Tensor, " c"]


class Excess(nn.Module):
    """Weights from the relative excess: how much of what its labels could tell is a similarity still short of?

        r_c = Σ (L_c − floor_c) / Σ (chance_c − floor_c)        0 = clean … 1 = noise
        weight_c ∝ least + f(r_c),  summing to C

    `function` is f, with r kept in [0.05, 1]:

    - `"calibrated"`: (1 − η̂)², the share of pairs whose labels both survived if all that is missing were label noise
      (`mscon.calibration.noise_share`). What a similarity tells the encoder is the clean gradient times that share,
      under about the same noise, so it is also the weight that sums such gradients best; class count, balance and
      temperature are taken out.
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

    **Arguments:**

    - `similarities`: C.
    - `decay`: of the sums over batches, per step.
    - `least`: added to every f, so what pure noise gets where a perfect similarity gets 1 + `least`.
    - `held_out`: False ignores what is held out.
    - `temperatures`: τ of each similarity, for the calibration; `MSConLoss`'s own default when left out.
    - `histograms`: class counts or shares of each similarity, for the calibration. Where left out, or None for one of
      them: balanced classes, as many as chance − floor speaks of, which fits any kind of similarity; it takes
      unbalanced ones for a little cleaner than they are (a survival of 0.36 for 0.40 at 80 : 20, 0.49 at 95 : 5).

    **Raises:** `ValueError` for settings out of range or not one for each similarity, or an unknown function.
    """

    function: Function
    batches: Tensor
    held_out_items: Tensor
    temperatures: Tensor
    class_share: Tensor
    class_mass: Tensor

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
    ):
        super().__init__()
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
        self.similarities, self.function, self.held_out = similarities, function, held_out
        self.decay, self.least = decay, least
        # Rows: Σ excess, Σ (chance − floor), how many anchors.
        self.register_buffer("batches", torch.zeros(3, similarities, dtype=torch.float64))
        self.register_buffer("held_out_items", torch.zeros(3, similarities, dtype=torch.float64))
        # Settings, not state: buffers only to follow the module to its device.
        known = Classes.of_histograms(histograms)
        self.register_buffer("temperatures", torch.tensor(temperatures, dtype=torch.float64), persistent=False)
        self.register_buffer("class_share", known.share, persistent=False)
        self.register_buffer("class_mass", known.mass, persistent=False)

    def forward(self, terms: BatchTerms) -> Weights:
        """Weights from what was seen up to and with this batch."""
        if self.training:
            sums = _sums(terms)
            seen = sums[2] > 0
            self.batches.copy_(torch.where(seen, self.decay * self.batches + (1.0 - self.decay) * sums, self.batches))
        return Weights(weight=self.trust.weight.to(terms.loss.dtype), penalty=terms.loss.new_zeros(()))

    def observe_held_out(self, terms: BatchTerms) -> None:
        """Take r from held-out items, in whatever mode the module is; this takes the place of what was held out before.

        Best with one view per item: several share their item's label, noise and all, so that they agree even where
        labels are chance.

        **Arguments:** `terms`: means over all anchors of all held-out batches, and how many anchors those were. A
        similarity without anchors keeps what it had.
        """
        sums = _sums(terms)
        self.held_out_items.copy_(torch.where(sums[2] > 0, sums, self.held_out_items))

    @property
    def trust(self) -> Trust:
        """Relative excess, noise share and weight of each similarity as things stand."""
        held_out = (self.held_out_items[2] > 0) & self.held_out
        sums = torch.where(held_out, self.held_out_items, self.batches)
        excess, span = sums[:2] / sums[2].where(sums[2] > 0, 1.0)
        tells = span > LEAST_SPAN
        r = torch.where(tells, excess / span.where(tells, 1.0), 1.0)
        noise = noise_share(r, Classes(self.class_share, self.class_mass).filled(span), self.temperatures)
        weight = _sum_to_count(self.least + self._value(r.clamp(LEAST_EXCESS, 1.0), noise))
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


Weighting = Fixed | Uncertainty | Excess


def _sum_to_count(weights: Tensor) -> Tensor:
    return weights * (len(weights) / weights.sum())


def _sums(terms: BatchTerms) -> Tensor:
    """Σ excess, Σ (chance − floor) and how many anchors; zeros where there are none, or the loss overflowed."""
    anchors, floor = terms.anchors.double(), terms.floor.double()
    sums = torch.stack([terms.loss.detach().double() - floor, terms.chance.double() - floor, torch.ones_like(floor)])
    return torch.where((anchors > 0) & sums.isfinite().all(dim=0), anchors * sums, 0.0)

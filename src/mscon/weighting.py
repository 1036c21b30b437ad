"""Weightings: how far each similarity is trusted.

A weighting sees, for each of C similarities in a batch, the mean loss over its anchors, the floor under it and the
loss of chance, and returns C weights. All but the paper's joint form return weights that sum to C, so that changing
the weighting does not change the length of the encoder's steps.

State moves in training mode only, once per call: call the objective once per optimiser step. A similarity without
anchors in a batch is skipped and keeps its state.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class BatchTerms:
    """What one batch says of each similarity, detached from the encoder unless stated.

    - `loss`: mean over the anchors, in nats, with the encoder's graph.
    - `floor`, `chance`: means over the anchors, in nats.
    - `anchors`: how many there were.
    """

    loss: Float[Tensor, " c"]
    floor: Float[Tensor, " c"]
    chance: Float[Tensor, " c"]
    anchors: Int[Tensor, " c"]


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


class Excess(nn.Module):
    """Weights from the relative excess, which does not depend on how many classes a similarity has.

        r_c = Σ (L_c − floor_c) / Σ (chance_c − floor_c)        0 = clean … 1 = noise
        weight_c ∝ 1 / r_c,  summing to C

    Both sums run over anchors with an exponential decay, so a batch of few anchors counts little (a ratio of sums,
    never a mean of ratios). r is kept in [`least`, 1]; a similarity that has not been seen yet counts as noise. Equal
    weights for the first `warmup` training steps, while r still tells more of the initialisation than of the labels.
    """

    excess: Tensor
    span: Tensor
    steps: Tensor

    def __init__(self, similarities: int, *, decay: float = 0.99, least: float = 0.05, warmup: int = 100):
        """**Raises** `ValueError` unless 0 ≤ decay < 1, 0 < least ≤ 1 and warmup ≥ 0."""
        super().__init__()
        if not (0.0 <= decay < 1.0 and 0.0 < least <= 1.0 and warmup >= 0):
            raise ValueError(f"need 0 ≤ decay < 1, 0 < least ≤ 1, warmup ≥ 0: {decay=}, {least=}, {warmup=}")
        self.similarities, self.decay, self.least, self.warmup = similarities, decay, least, warmup
        self.register_buffer("excess", torch.zeros(similarities, dtype=torch.float64))
        self.register_buffer("span", torch.zeros(similarities, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def relative_excess(self) -> Float[Tensor, " c"]:
        """r_c as it stands, bounded to [`least`, 1]."""
        seen = self.span > 0
        return (self.excess / self.span.where(seen, 1.0)).where(seen, 1.0).clamp(self.least, 1.0)

    def forward(self, terms: BatchTerms) -> Weights:
        """Weights from what was seen up to and with this batch."""
        if self.training:
            self._observe(terms)
        dtype = terms.loss.dtype
        if int(self.steps) <= self.warmup:
            weight = torch.ones_like(terms.loss.detach())
        else:
            weight = _sum_to_count(1.0 / self.relative_excess).to(dtype)
        return Weights(weight=weight, penalty=terms.loss.new_zeros(()))

    @torch.no_grad()
    def _observe(self, terms: BatchTerms) -> None:
        anchors = terms.anchors.double()
        excess, span = terms.loss.double() - terms.floor.double(), terms.chance.double() - terms.floor.double()
        keep = torch.where(terms.anchors > 0, self.decay, 1.0)
        self.excess.mul_(keep).add_((1.0 - keep) * anchors * excess)
        self.span.mul_(keep).add_((1.0 - keep) * anchors * span)
        self.steps.add_(1)


Weighting = Fixed | Uncertainty | Excess


def _sum_to_count(weights: Tensor) -> Tensor:
    return weights * (len(weights) / weights.sum())

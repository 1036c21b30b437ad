"""Weights from one learned variance per similarity, as published."""

from math import inf, isfinite

import torch
from torch import nn

from mscon.terms import BatchTerms
from mscon.weighting.weights import Weights, check_similarities, sum_to_count


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
    bounded, and trained like any other parameter of the encoder, weight decay included. `start` is where log σ_c²
    starts there, and `penalty` what it is multiplied by: 0 and ½ are Kendall, Gal and Cipolla's L_c / σ_c² + log σ_c
    for cross-entropies (2018, arXiv 1705.07115, equation 10).

    **Raises:** `ValueError` for `start` or `penalty` without `paper` or out of range, and for no similarity.
    """

    BOUND = 4.0

    def __init__(self, similarities: int, *, paper: bool = False, start: float = 1.0, penalty: float = 1.0):
        super().__init__()
        check_similarities(similarities)
        if not (isfinite(start) and 0.0 <= penalty < inf):
            raise ValueError(f"start must be finite, and penalty from 0 on: {start=}, {penalty=}")
        if not paper and (start, penalty) != (1.0, 1.0):
            raise ValueError("start and penalty are of the joint form: give paper=True with them")
        self.similarities, self.paper, self.penalty = similarities, paper, penalty
        self.log_variance = nn.Parameter(torch.full((similarities,), start if paper else 0.0))

    def forward(self, terms: BatchTerms) -> Weights:
        """Weights from σ²; the penalty teaches σ²."""
        present = (terms.anchors > 0).to(terms.loss.dtype)
        if self.paper:
            penalty = self.penalty * (present * self.log_variance).sum()
            return Weights(weight=torch.exp(-self.log_variance), penalty=penalty)
        if self.training:
            with torch.no_grad():  # where the optimiser went beyond a bound, or it would take as long to come back
                self.log_variance.clamp_(-self.BOUND, self.BOUND)
        raw = self.log_variance
        bounded = raw + (raw.clamp(-self.BOUND, self.BOUND) - raw).detach()  # where clamp lets no gradient back in
        precision = torch.exp(-bounded)
        own = (present * (terms.loss.detach() * precision + bounded)).sum()
        return Weights(weight=sum_to_count(precision.detach()).to(terms.loss.dtype), penalty=own - own.detach())

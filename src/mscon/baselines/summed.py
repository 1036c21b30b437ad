"""A weighted sum of losses that are not contrastive, with the terms and weights that contrastive ones have."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from mscon.arguments import check_batch
from mscon.contrast import AnchorLosses, Ranks
from mscon.terms import MSConOutput, mean_terms, terms_of
from mscon.weighting import Fixed, Uncertainty, WeightingChoice, new_weighting


@runtime_checkable
class RowLosses(Protocol):
    """A loss of each row of a batch, from what its head says and its label."""

    def __call__(self, outputs: Float[Tensor, "n d"], values: Tensor, *, training: bool) -> AnchorLosses:
        """The losses in float32, with the least that they can be and what chance has; rows without a label are no
        anchors.
        """
        ...


class SummedLosses(nn.Module):
    """total = Σ_c weight_c · mean_i loss_c,i, with a loss of any kind for each similarity.

    It stands where `MSConLoss` does in a training and answers in the same terms, so that `floor`, `chance` and the
    relative excess between them can be read alike.

    **Arguments:**

    - `losses`: name → loss.
    - `weighting`: `"equal"`, `"uncertainty"`, name → fixed weight, or a `Fixed` or `Uncertainty`. With cross-entropies
      `Uncertainty(…, paper=True, start=0, penalty=0.5)` is Kendall, Gal and Cipolla's (2018, arXiv 1705.07115).

    In a batch over several processes each computes the losses of its own rows, and means run over the rows of all;
    gradients are such that their average over the processes is that of one process with all rows.

    **Raises:** `ValueError` for no loss, names that do not match, or a weighting that needs contrastive losses.
    """

    def __init__(self, losses: Mapping[str, RowLosses], *, weighting: WeightingChoice = "equal"):
        super().__init__()
        if not losses:
            raise ValueError("SummedLosses needs at least one loss")
        self.losses = dict(losses)
        self.weighting = new_weighting(weighting, list(self.losses), temperatures=[1.0] * len(self.losses))
        if not isinstance(self.weighting, Fixed | Uncertainty) or weighting == "uncertainty-exact":
            raise ValueError(f"weighting {weighting!r} reads contrastive losses: take 'equal' or 'uncertainty'")

    def forward(
        self,
        projections: Mapping[str, Tensor],
        labels: Mapping[str, Tensor],
        *,
        anchor_weights: Mapping[str, Tensor] | None = None,
        log_variance: Mapping[str, Tensor] | None = None,
        embedding: Tensor | None = None,
    ) -> MSConOutput:
        """The sum over one batch.

        **Arguments:** `projections`, `labels`: as of `MSConLoss`; the others must be left out.

        **Raises:** `ValueError` for names or lengths that do not match.
        """
        if anchor_weights or log_variance or embedding is not None:
            raise ValueError("anchor_weights, log_variance and embedding are for MSConLoss alone: leave them out")
        names = list(self.losses)
        check_batch(projections, labels, names)
        losses = [
            loss(projections[name].float(), labels[name], training=self.training) for name, loss in self.losses.items()
        ]
        ranks = Ranks.here()
        batch = mean_terms(losses, [None] * len(names), ranks)
        if ranks:  # each has the gradient of its own rows, and DistributedDataParallel takes the mean of them
            batch = replace(batch, loss=batch.loss + (ranks.size - 1) * (batch.loss - batch.loss.detach()))
        weights = self.weighting(batch)
        total = (weights.weight * batch.loss).sum() + weights.penalty
        return MSConOutput(total=total, terms=terms_of(names, batch, weights.weight.detach()))

    @property
    def trust(self) -> dict[str, dict[str, float]]:
        """Empty: no weighting here tells how far it trusts a label."""
        return {}

    @property
    def temperature(self) -> dict[str, float]:
        """Empty: there is none."""
        return {}

    def parameter_groups(self, *, lr: float = 0.01) -> list[dict[str, Any]]:
        """Optimiser groups for what the weighting learns, as of `MSConLoss`."""
        parameters = list(self.parameters())
        return [{"params": parameters, "lr": lr, "weight_decay": 0.0}] if parameters else []

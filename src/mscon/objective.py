"""MSConLoss: one projection per similarity and its labels in, one number and its parts out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mscon.contrast import (
    Engine,
    Head,
    Precision,
    Ranks,
    Shares,
    check_engine,
    contrastive_losses,
    product_precision,
    unit_rows,
)
from mscon.similarity import Similarity
from mscon.weighting import BatchTerms, Excess, Fixed, Uncertainty, Weighting

WeightingChoice = Literal["equal", "uncertainty", "excess"] | Mapping[str, float] | Weighting
"""A weighting by name, fixed weights by similarity, or one built by hand, such as `Uncertainty(2, paper=True)`."""


NARROWEST = 1e-5
"""Of the chance's loss: where the floor is no further below it, float32 cannot tell the two apart."""


@dataclass(frozen=True)
class Term:
    """One similarity's part of the objective. All but `loss` are detached; all are in nats but the last three.

    - `loss`: mean over the anchors; 0 when the batch has none.
    - `floor`: the least value that loss can take: the mean entropy of the targets.
    - `chance`: the loss of an anchor that ranks all others alike.
    - `excess`: loss − floor, the mean KL(q ‖ p) ≥ 0.
    - `relative_excess`: excess / (chance − floor), from 0 (clean) to about 1 (noise); NaN without anchors, and where
      chance is no higher than the floor, all of the batch being alike.
    - `weight`: what the loss was multiplied by.
    - `anchors`: how many rows had a label and a positive.
    """

    loss: Float[Tensor, ""]
    floor: Float[Tensor, ""]
    chance: Float[Tensor, ""]
    excess: Float[Tensor, ""]
    relative_excess: Float[Tensor, ""]
    weight: Float[Tensor, ""]
    anchors: Int[Tensor, ""]


@dataclass(frozen=True)
class MSConOutput:
    """`total` is the number to call `backward` on; `terms` holds one part per similarity."""

    total: Float[Tensor, ""]
    terms: dict[str, Term]


class MSConLoss(nn.Module):
    """The multi-similarity contrastive objective (Mu, Guttag and Makar 2023, arXiv 2307.02712).

        total = Σ_c weight_c · mean_i loss_c,i

    with one contrastive loss per similarity c over its own projections (`mscon.contrast.contrastive_loss`) and
    weights that a weighting learns or fixes (`mscon.weighting`).

        loss_fn = MSConLoss({"category": Categorical(), "closure": Categorical()}, temperature=0.1, weighting="excess")
        out = loss_fn(projections, labels)
        out.total.backward()

    **Arguments:**

    - `similarities`: name → similarity.
    - `temperature`: τ for all, or name → τ.
    - `weighting`: `"excess"`, `"equal"`, `"uncertainty"`, name → fixed weight, or a module of `mscon.weighting`.
    - `engine`: how the quadratic part is computed, see `contrastive_loss`.
    - `gather_distributed`: the batch is spread over the processes of torch.distributed, each calling this with rows of
      its own (their numbers may differ): losses run over the rows of all, as if one process held them. Total and terms
      are then the same everywhere, and gradients such that their average over the processes, which
      `DistributedDataParallel` takes, is that of one process. In one process it changes nothing.

    **Raises:** `ValueError` for no similarity, names that do not match, or an unknown weighting or engine.
    """

    def __init__(
        self,
        similarities: Mapping[str, Similarity],
        *,
        temperature: float | Mapping[str, float] = 0.1,
        weighting: WeightingChoice = "excess",
        engine: Engine = "auto",
        gather_distributed: bool = False,
    ):
        super().__init__()
        if not similarities:
            raise ValueError("MSConLoss needs at least one similarity")
        self.similarities = dict(similarities)
        names = list(self.similarities)
        for name, each in self.similarities.items():
            if isinstance(each, type) or not isinstance(cast(object, each), Similarity):
                raise ValueError(f"similarities[{name!r}] must be a similarity, such as Categorical(), not {each!r}")
        if isinstance(temperature, Mapping):
            _same_names("temperature", temperature, names)
            self.temperature = {name: float(temperature[name]) for name in names}
        else:
            self.temperature = dict.fromkeys(names, float(temperature))
        if bad := {name: each for name, each in self.temperature.items() if not each > 0.0}:
            raise ValueError(f"temperature must be positive: {bad}")
        self.weighting = _weighting(weighting, names)
        check_engine(engine)
        self.engine: Engine = engine
        self.gather_distributed = gather_distributed

    def forward(self, projections: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> MSConOutput:
        """The objective over one batch, all views of all items as rows.

        **Arguments:**

        - `projections`: name → (N, d) floats, d free to differ; rows are normalised inside.
        - `labels`: name → (N,) values for that similarity, for categories integer codes with −1 = missing; repeat
          them per view.

        **Returns:** the total and its terms. A similarity without anchors adds 0 with a gradient of 0 and says so in
        `anchors`.

        **Raises:** `ValueError` for names or lengths that do not match.
        """
        names = list(self.similarities)
        _same_names("projections", projections, names)
        _same_names("labels", labels, names)
        for name in names:
            _check_rows(name, projections[name], labels[name])
        batch = self._batch_terms([projections[name] for name in names], [labels[name] for name in names])
        weights = self.weighting(batch)
        total = (weights.weight * batch.loss).sum() + weights.penalty
        return MSConOutput(total=total, terms=_terms(names, batch, weights.weight.detach()))

    def parameter_groups(self, *, lr: float = 0.01) -> list[dict[str, Any]]:
        """Optimiser groups for what the weighting learns: an own learning rate, no weight decay; empty when it learns
        nothing.

        The paper's joint form (`Uncertainty(…, paper=True)`) belongs into the encoder's own group instead.
        """
        parameters = list(self.parameters())
        return [{"params": parameters, "lr": lr, "weight_decay": 0.0}] if parameters else []

    def _batch_terms(self, projections: list[Tensor], values: list[Tensor]) -> BatchTerms:
        """The mean loss of every similarity and the marks beside it, over the rows of all processes."""
        precisions: list[Precision] = [
            product_precision(z, temperature)
            for z, temperature in zip(projections, self.temperature.values(), strict=True)
        ]
        units = [unit_rows(z) for z in projections]
        ranks = Ranks.here() if self.gather_distributed else None
        shares: Shares | None = None
        if ranks:
            _check_equal_rows(projections)
            shares = ranks.shares(len(units[0]), units[0].device)
            units, values = shares.gather_projections(units), shares.gather(values)
        kinds = zip(self.similarities.values(), self.temperature.values(), strict=True)
        heads = [
            Head(z, similarity.targets(each), temperature, precision)
            for (similarity, temperature), z, each, precision in zip(kinds, units, values, precisions, strict=True)
        ]
        losses = contrastive_losses(heads, engine=self.engine, shares=shares)
        loss = torch.stack([each.mean for each in losses])
        floor = torch.stack([each.mean_floor for each in losses])
        if ranks:
            loss, floor = ranks.sum_of_shares(loss), ranks.sum(floor)
        return BatchTerms(
            loss=loss,
            floor=floor,
            chance=torch.stack([each.chance for each in losses]),
            anchors=torch.stack([each.count for each in losses]),
        )


def _weighting(choice: WeightingChoice, names: list[str]) -> Weighting:
    if isinstance(choice, Mapping):
        _same_names("weighting", choice, names)
        return Fixed([float(choice[name]) for name in names])
    if isinstance(choice, str):
        match choice:
            case "equal":
                return Fixed([1.0] * len(names))
            case "uncertainty":
                return Uncertainty(len(names))
            case "excess":
                return Excess(len(names))
            case _:
                raise ValueError(f"weighting must be equal, uncertainty, excess, a mapping or a module, not {choice!r}")
    if not isinstance(cast(object, choice), Fixed | Uncertainty | Excess):
        raise ValueError(f"weighting must be equal, uncertainty, excess, a mapping or a module, not {choice!r}")
    if choice.similarities != len(names):
        raise ValueError(f"the weighting is for {choice.similarities} similarities, there are {len(names)}")
    return choice


def _terms(names: list[str], batch: BatchTerms, weight: Tensor) -> dict[str, Term]:
    excess = batch.loss.detach() - batch.floor
    span = batch.chance - batch.floor
    relative = excess / span.where((span > NARROWEST * batch.chance) & (batch.anchors > 0), float("nan"))
    return {
        name: Term(
            loss=batch.loss[c],
            floor=batch.floor[c],
            chance=batch.chance[c],
            excess=excess[c],
            relative_excess=relative[c],
            weight=weight[c],
            anchors=batch.anchors[c],
        )
        for c, name in enumerate(names)
    }


def _check_rows(name: str, z: Tensor, values: Tensor) -> None:
    if z.ndim != 2 or not z.is_floating_point() or values.ndim != 1 or len(z) != len(values):
        raise ValueError(
            f"projections[{name!r}] must be (N, d) floats and labels[{name!r}] (N,) codes:"
            f" {tuple(z.shape)} {z.dtype} against {tuple(values.shape)}"
        )
    if z.device != values.device:
        raise ValueError(f"projections[{name!r}] are on {z.device}, labels[{name!r}] on {values.device}")


def _check_equal_rows(projections: list[Tensor]) -> None:
    if len(counts := {len(z) for z in projections}) > 1:
        raise ValueError(f"with gather_distributed all similarities come with the same rows, not with {sorted(counts)}")


def _same_names(what: str, given: Mapping[str, object], names: list[str]) -> None:
    if set(given) != set(names):
        raise ValueError(f"{what} names {sorted(given)}, the similarities are {sorted(names)}")

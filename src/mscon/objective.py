"""MSConLoss: one projection per similarity and its labels in, one number and its parts out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mscon.contrast import (
    AnchorLosses,
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
from mscon.similarity import Categorical, Similarity
from mscon.temperature import Temperatures
from mscon.weighting import BatchTerms, Excess, Fixed, Uncertainty, Weighting

WeightingChoice = Literal["equal", "uncertainty", "uncertainty-exact", "excess"] | Mapping[str, float] | Weighting
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
    - `learn_temperature`: train τ of each similarity from there on, within `temperature_bounds`.
    - `weighting`: `"excess"`, `"equal"`, `"uncertainty"`, name → fixed weight, or a module of `mscon.weighting`;
      `"uncertainty-exact"` is the paper's uncertainty without its approximation: equal weights, and τ_c σ_c² learned
      with log σ_c² in [−4, 4].
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
        learn_temperature: bool = False,
        temperature_bounds: tuple[float, float] = (0.02, 1.0),
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
        given = temperature if isinstance(temperature, Mapping) else dict.fromkeys(names, temperature)
        _same_names("temperature", given, names)
        values = [float(given[name]) for name in names]
        self.temperatures = Temperatures(values, learned=learn_temperature, bounds=temperature_bounds)
        if weighting == "uncertainty-exact":
            if learn_temperature:
                raise ValueError("weighting 'uncertainty-exact' learns the temperatures: leave out learn_temperature")
            self.temperatures = _tempered(values)
        self.weighting = _weighting(weighting, names)
        check_engine(engine)
        self.engine: Engine = engine
        self.gather_distributed = gather_distributed

    @property
    def temperature(self) -> dict[str, float]:
        """τ of each similarity as it stands."""
        return dict(zip(self.similarities, self.temperatures.values, strict=True))

    def forward(
        self,
        projections: Mapping[str, Tensor],
        labels: Mapping[str, Tensor],
        *,
        anchor_weights: Mapping[str, Tensor] | None = None,
    ) -> MSConOutput:
        """The objective over one batch, all views of all items as rows.

        **Arguments:**

        - `projections`: name → (N, d) floats, d free to differ; rows are normalised inside.
        - `labels`: name → (N,) values for that similarity, for categories integer codes with −1 = missing; repeat
          them per view.
        - `anchor_weights`: name → (N,) weights ≥ 0 of that similarity's anchors, for all or some of the names; 1 each
          when left out. Means over anchors, of the loss and of the marks beside it, are then weighted ones.

        **Returns:** the total and its terms. A similarity without anchors adds 0 with a gradient of 0 and says so in
        `anchors`.

        **Raises:** `ValueError` for names or lengths that do not match.
        """
        names = list(self.similarities)
        _same_names("projections", projections, names)
        _same_names("labels", labels, names)
        given = dict(anchor_weights or {})
        if unknown := set(given) - set(names):
            raise ValueError(f"anchor_weights names {sorted(unknown)}, the similarities are {sorted(names)}")
        for name in names:
            _check_rows(name, projections[name], labels[name], given.get(name))
        counts = [_anchor_weights(self.similarities[name], labels[name], given.get(name)) for name in names]
        batch = self._batch_terms([projections[name] for name in names], [labels[name] for name in names], counts)
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

    def _batch_terms(
        self, projections: list[Tensor], values: list[Tensor], anchor_weights: list[Tensor | None]
    ) -> BatchTerms:
        """The mean loss of every similarity and the marks beside it, over the rows of all processes."""
        temperatures = self.temperatures.values
        precisions: list[Precision] = [
            product_precision(z, temperature) for z, temperature in zip(projections, temperatures, strict=True)
        ]
        units = [unit_rows(z) for z in projections]
        ranks = Ranks.here() if self.gather_distributed else None
        shares: Shares | None = None
        if ranks:
            _check_equal_rows(projections)
            shares = ranks.shares(len(units[0]), units[0].device)
            units, values = shares.gather_projections(units), shares.gather(values)
        units = self.temperatures.attached(units, ranks)
        kinds = zip(self.similarities.values(), temperatures, units, values, precisions, strict=True)
        heads = [
            Head(z, similarity.targets(each), temperature, precision)
            for similarity, temperature, z, each, precision in kinds
        ]
        losses = contrastive_losses(heads, engine=self.engine, shares=shares)
        sums = [_sums(each, weights) for each, weights in zip(losses, anchor_weights, strict=True)]
        marks = torch.stack([each for _, each in sums])
        total = torch.stack([each for each, _ in sums])
        if ranks:
            total, marks = ranks.sum_of_shares(total), ranks.sum(marks)
        weight = marks[:, 0]
        floor, chance = (marks[:, 1:] / weight.where(weight > 0, 1.0).unsqueeze(1)).unbind(dim=1)
        return BatchTerms(
            loss=total / weight.where(weight > 0, 1.0).to(total.dtype),
            floor=floor.to(total.dtype),
            chance=chance.to(total.dtype),
            anchors=torch.stack([each.count for each in losses]),
        )


def _sums(losses: AnchorLosses, weights: Tensor | None) -> tuple[Float[Tensor, ""], Float[Tensor, "3"]]:
    """Over this process's anchors, weighted: of the loss; and of 1, floor and chance, in float64."""
    each = losses.anchors.to(losses.loss.dtype)
    if weights is not None:
        each = each * weights.detach().to(each.dtype)
    marks = torch.stack([each, each * losses.floor, each * losses.chance]).double().sum(dim=1)
    return (each * losses.loss).sum(), marks


def _anchor_weights(similarity: Similarity, values: Tensor, given: Tensor | None) -> Tensor | None:
    own = similarity.anchor_weights(values) if isinstance(similarity, Categorical) else None
    return given if own is None else own if given is None else own * given


def _tempered(values: Sequence[float]) -> Temperatures:
    """Learned as τ σ², log σ² in the bounds that `Uncertainty` has."""
    widest = exp(Uncertainty.BOUND)
    return Temperatures(values, learned=True, bounds=[(value / widest, value * widest) for value in values])


def _weighting(choice: WeightingChoice, names: list[str]) -> Weighting:
    match choice:
        case "equal" | "uncertainty-exact":
            return Fixed([1.0] * len(names))
        case "uncertainty":
            return Uncertainty(len(names))
        case "excess":
            return Excess(len(names))
        case Mapping():
            _same_names("weighting", choice, names)
            return Fixed([float(choice[name]) for name in names])
        case Fixed() | Uncertainty() | Excess():
            if choice.similarities != len(names):
                raise ValueError(f"the weighting is for {choice.similarities} similarities, there are {len(names)}")
            return choice
        case _:
            known = "equal, uncertainty, uncertainty-exact, excess, a mapping or a module"
            raise ValueError(f"weighting must be {known}, not {choice!r}")


def _terms(names: list[str], batch: BatchTerms, weight: Tensor) -> dict[str, Term]:
    excess = batch.loss.detach() - batch.floor
    relative = relative_excess(batch.loss.detach(), batch.floor, batch.chance)
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


def relative_excess(loss: Tensor, floor: Tensor, chance: Tensor) -> Tensor:
    """(loss − floor) / (chance − floor); NaN where there is nothing between the two."""
    span = chance - floor
    return (loss - floor) / span.where(span > NARROWEST * chance, float("nan"))


def _check_rows(name: str, z: Tensor, values: Tensor, weights: Tensor | None) -> None:
    if z.ndim != 2 or not z.is_floating_point() or values.ndim != 1 or len(z) != len(values):
        raise ValueError(
            f"projections[{name!r}] must be (N, d) floats and labels[{name!r}] (N,) codes:"
            f" {tuple(z.shape)} {z.dtype} against {tuple(values.shape)}"
        )
    if weights is not None and weights.shape != values.shape:
        raise ValueError(f"anchor_weights[{name!r}] must be one number per row: {tuple(weights.shape)}")
    if z.device != values.device:
        raise ValueError(f"projections[{name!r}] are on {z.device}, labels[{name!r}] on {values.device}")


def _check_equal_rows(projections: list[Tensor]) -> None:
    if len(counts := {len(z) for z in projections}) > 1:
        raise ValueError(f"with gather_distributed all similarities come with the same rows, not with {sorted(counts)}")


def _same_names(what: str, given: Mapping[str, object], names: list[str]) -> None:
    if set(given) != set(names):
        raise ValueError(f"{what} names {sorted(given)}, the similarities are {sorted(names)}")

"""MSConLoss: one projection per similarity and its labels in, one number and its parts out."""

from collections.abc import Callable, Mapping, Sequence
from math import exp
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mscon.arguments import (
    check_batch,
    check_equal_rows,
    check_mapping,
    check_names,
    check_numbers,
    check_weights,
    number,
)
from mscon.contrast import (
    AnchorLosses,
    AnyTargets,
    Engine,
    Head,
    KeyTargets,
    Precision,
    Ranks,
    Shares,
    check_engine,
    contrastive_losses,
    product_precision,
    unit_rows,
)
from mscon.contrast.compiler import outside_compiler
from mscon.held_out import TEMPERS, best_tempered
from mscon.item_uncertainty import heteroscedastic
from mscon.similarity import Categorical, Instance, Similarity
from mscon.temperature import Temperatures
from mscon.terms import BatchTerms, MSConOutput, mean_terms, terms_of
from mscon.weighting import Aggregated, Excess, Uncertainty, WeightingChoice, gradient_products, new_weighting


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
      with log σ_c² in [−4, 4]; `"UPGrad"`, `"PCGrad"` and others are TorchJD's (`mscon.weighting.Aggregated`) and
      need the shared `embedding` in every call.
    - `engine`: how the quadratic part is computed, see `contrastive_loss`.
    - `gather_distributed`: the batch is spread over the processes of torch.distributed, each calling this with rows of
      its own (their numbers may differ): losses run over the rows of all, as if one process held them. Total and terms
      are then the same everywhere, and gradients such that their average over the processes, which
      `DistributedDataParallel` takes, is that of one process. In one process it changes nothing.

    **Raises:** `ValueError` for no similarity, or one that is none; names that do not match; a temperature that is not
    positive and finite; an unknown weighting or engine.
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
        check_mapping("similarities", similarities, "category")
        if not similarities:
            raise ValueError("MSConLoss needs at least one similarity")
        self.similarities = dict(similarities)
        names = list(self.similarities)
        for name, each in self.similarities.items():
            if isinstance(each, type) or not isinstance(cast(object, each), Similarity):
                raise ValueError(f"similarities[{name!r}] must be a similarity, such as Categorical(), not {each!r}")
        given = temperature if isinstance(temperature, Mapping) else dict.fromkeys(names, temperature)
        check_names("temperature", given, names)
        values = [number("a temperature", given[name]) for name in names]
        self.temperatures = Temperatures(values, learned=learn_temperature, bounds=temperature_bounds)
        if learn_temperature and isinstance(weighting, Uncertainty) and weighting.paper:
            raise ValueError("the paper's joint form goes into the encoder's own group: leave out learn_temperature")
        if weighting == "uncertainty-exact":
            if learn_temperature:
                raise ValueError("weighting 'uncertainty-exact' learns the temperatures: leave out learn_temperature")
            self.temperatures = _tempered(values)
        self.weighting = new_weighting(weighting, names, temperatures=values)
        self._tell_temperatures()
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
        log_variance: Mapping[str, Tensor] | None = None,
        embedding: Tensor | None = None,
    ) -> MSConOutput:
        """The objective over one batch, all views of all items as rows.

        **Arguments:**

        - `projections`: name → (N, d) floats, d free to differ; rows are normalised inside.
        - `labels`: name → (N,) values for that similarity, for categories integer codes with −1 = missing; repeat
          them per view.
        - `anchor_weights`: name → (N,) weights ≥ 0 of that similarity's anchors, for all or some of the names; 1 each
          when left out. Means over anchors, of the loss and of the marks beside it, are then weighted ones.
        - `log_variance`: name → (N,) log σ² of each item under that similarity, from an uncertainty head that is to
          learn (`item_uncertainty.heteroscedastic`); for all or some of the names. The gradient reaches nothing else.
        - `embedding`: (N, D), what the projections were made from, for a weighting that looks at gradients there.

        **Returns:** the total and its terms. A similarity without anchors, as in a batch of no rows, adds 0 with a
        gradient of 0 and says so in `anchors`.

        **Raises:** `ValueError` for names or lengths that do not match, and weights of anchors that are no weights.
        """
        names = list(self.similarities)
        check_batch(projections, labels, names)
        none: Mapping[str, Tensor] = {}
        given, log_variances = (none if each is None else each for each in (anchor_weights, log_variance))
        check_numbers("anchor_weights", given, labels)
        check_numbers("log_variance", log_variances, labels)
        check_weights("anchor_weights", given)
        (losses,), ranks = outside_compiler(self._losses)(projections, labels)
        counts = [_anchor_weights(self.similarities[name], labels[name], given.get(name)) for name in names]
        batch = mean_terms(losses, counts, ranks)
        if self.temperatures.learned:
            self._tell_temperatures()
        if isinstance(self.weighting, Aggregated):
            weights = self.weighting(batch, self._gradients(self.weighting, batch, embedding, ranks))
        elif isinstance(self.weighting, Excess):
            # Trust is in labels, not in classes: anchors that `balance` weighs count alike here.
            asked = [given.get(name) for name in names]
            balanced = any(one is not other for one, other in zip(counts, asked, strict=True))
            weights = self.weighting(mean_terms(losses, asked, ranks) if balanced else batch)
        else:
            weights = self.weighting(batch)
        total = (weights.weight * batch.loss).sum() + weights.penalty
        if log_variances:
            of_name = dict(zip(names, losses, strict=True))
            own = _taught([(of_name[name], each) for name, each in log_variances.items()], ranks)
            total = total + (own - own.detach())
        return MSConOutput(total=total, terms=terms_of(names, batch, weights.weight.detach()))

    __call__: Callable[..., MSConOutput]  # of a module's call type checkers know nothing else

    @torch.no_grad()
    def held_out_sums(
        self, projections: Mapping[str, Tensor], labels: Mapping[str, Tensor], *, views: int = 1
    ) -> Float[Tensor, "t 4 c"]:
        """What a batch of held-out items has to say to the weighting; add up those of all batches for
        `observe_held_out`.

        Of each item the first view counts, for views share their item's label, noise and all, and would agree where
        labels are chance. Of `Instance`, which has no positives without them, all views do. Anchors count alike,
        whatever weights they have in training: trust is in labels, not in classes.

        **Arguments:**

        - `projections`, `labels`: as of `forward`.
        - `views`: how many views of each item the rows are, view by view.

        **Returns:** Σ 1, Σ loss, Σ floor and Σ chance over the anchors of each similarity, float64, at each of the
        temperatures τ · `TEMPERS`.

        **Raises:** `ValueError` for names or lengths that do not match, and rows that are not so many views of the
        same items.
        """
        check_batch(projections, labels, list(self.similarities))
        if views < 1:
            raise ValueError(f"rows are 1 view of each item, or more, not {views}")
        if odd := [name for name in labels if len(labels[name]) % views]:
            raise ValueError(f"{len(labels[odd[0]])} rows of {odd[0]!r} are not {views} views of the same items")
        of_first = self._sums(
            {name: z[: len(z) // views] for name, z in projections.items()},
            {name: values[: len(values) // views] for name, values in labels.items()},
        )
        of_views = [isinstance(each, Instance) for each in self.similarities.values()]
        if views == 1 or not any(of_views):
            return of_first
        return torch.where(torch.tensor(of_views, device=of_first.device), self._sums(projections, labels), of_first)

    def _sums(self, projections: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Float[Tensor, "t 4 c"]:
        """Those of all rows."""
        sums: list[Tensor] = []
        tempered, ranks = self._losses(projections, labels, TEMPERS)
        for losses in tempered:
            terms = mean_terms(losses, [None] * len(losses), ranks)
            marks = torch.stack([torch.ones_like(terms.loss), terms.loss, terms.floor, terms.chance]).double()
            sums.append(marks * terms.mass)
        return torch.stack(sums)

    def observe_held_out(self, sums: Float[Tensor, "t 4 c"]) -> None:
        """Tell the weighting what held-out items say, where it listens (`Excess.observe_held_out`).

        **Arguments:** `sums`: of `held_out_sums`, added up over all held-out batches.
        """
        if isinstance(self.weighting, Excess):
            self._tell_temperatures()
            self.weighting.observe_held_out(best_tempered(sums))

    @property
    def trust(self) -> dict[str, dict[str, float]]:
        """name → relative excess, noise share and weight as `Excess` has them now; empty under other weightings."""
        if not isinstance(self.weighting, Excess):
            return {}
        self._tell_temperatures()  # what was loaded may have others
        now = self.weighting.trust
        each = zip(self.similarities, now.relative_excess, now.noise_share, now.weight, strict=True)
        return {
            name: {"relative_excess": float(r), "noise_share": float(noise), "weight": float(weight)}
            for name, r, noise, weight in each
        }

    @staticmethod
    def _gradients(
        weighting: Aggregated, batch: BatchTerms, embedding: Tensor | None, ranks: Ranks | None
    ) -> Tensor | None:
        """Inner products of the losses' gradients at the embedding; None where nothing is trained."""
        if not (weighting.training and batch.loss.requires_grad):
            return None
        if embedding is None or not embedding.requires_grad:
            raise ValueError("this weighting needs the embedding that the projections were made from, with its graph")
        products = gradient_products(batch.loss.unbind(), embedding, backward=weighting.backward)
        return ranks.sum(products) if ranks else products

    def parameter_groups(self, *, lr: float = 0.01) -> list[dict[str, Any]]:
        """Optimiser groups for what the objective itself learns, weights and temperatures: an own learning rate, no
        weight decay; empty when it learns nothing.

        The paper's joint form (`Uncertainty(…, paper=True)`) belongs into the encoder's own group instead.
        """
        parameters = list(self.parameters())
        return [{"params": parameters, "lr": lr, "weight_decay": 0.0}] if parameters else []

    def _tell_temperatures(self) -> None:
        """To the weighting whose calibration depends on them."""
        if isinstance(self.weighting, Excess):
            self.weighting.temperatures.copy_(torch.tensor(self.temperatures.values, dtype=torch.float64))

    def _losses(
        self, projections: Mapping[str, Tensor], labels: Mapping[str, Tensor], factors: Sequence[float] = (1.0,)
    ) -> tuple[list[list[AnchorLosses]], Ranks | None]:
        """The losses of this process's rows against those of all, per similarity; and the processes, if several.

        Once for each of the `factors`, at temperatures that are so many times as high.
        """
        rows, values = ([of_all[name] for name in self.similarities] for of_all in (projections, labels))
        units = [unit_rows(z) for z in rows]
        ranks = Ranks.here() if self.gather_distributed else None
        shares: Shares | None = None
        if ranks:
            check_equal_rows(rows)
            shares = ranks.shares(len(units[0]), units[0].device)
            units, values = shares.gather_projections(units), shares.gather(values)
        targets = [
            _targets(name, similarity, each)
            for (name, similarity), each in zip(self.similarities.items(), values, strict=True)
        ]
        units = self.temperatures.attached(units, [isinstance(each, KeyTargets) for each in targets], ranks)
        found: list[list[AnchorLosses]] = []
        for factor in factors:
            temperatures = [factor * each for each in self.temperatures.values]
            precisions: list[Precision] = [product_precision(*each) for each in zip(rows, temperatures, strict=True)]
            heads = [Head(*each) for each in zip(units, targets, temperatures, precisions, strict=True)]
            found.append(contrastive_losses(heads, engine=self.engine, shares=shares))
        return found, ranks


def _taught(heads: list[tuple[AnchorLosses, Tensor]], ranks: Ranks | None) -> Tensor:
    """The loss of this process's uncertainty heads, as many times as there are processes: gradients are averaged."""
    means = [
        heteroscedastic(losses, log_variance.to(losses.loss.dtype)).sum() / losses.count.clamp(min=1)
        for losses, log_variance in heads
    ]
    return torch.stack(means).sum() * (ranks.size if ranks else 1)


def _anchor_weights(similarity: Similarity, values: Tensor, given: Tensor | None) -> Tensor | None:
    own = similarity.anchor_weights(values) if isinstance(similarity, Categorical) else None
    return given if own is None else own if given is None else own * given


def _tempered(values: Sequence[float]) -> Temperatures:
    """Learned as τ σ², log σ² in the bounds that `Uncertainty` has."""
    widest = exp(Uncertainty.BOUND)
    return Temperatures(values, learned=True, bounds=[(value / widest, value * widest) for value in values])


def _targets(name: str, similarity: Similarity, values: Tensor) -> AnyTargets:
    found = similarity.targets(values)
    if not hasattr(found, "batch"):
        raise ValueError(
            f"similarities[{name!r}].targets must return targets, such as TypeTargets.of_matrix(…), not {type(found)}"
        )
    return found

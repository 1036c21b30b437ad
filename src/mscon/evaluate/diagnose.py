"""Diagnose a run: the figures of its heads and of their embedding on held-out items."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Float64
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mscon.build import new_contrastive
from mscon.checkpoint import checkpoints
from mscon.copies import silent_copies
from mscon.data.views import apply_views, draw_views
from mscon.evaluate.bootstrap import defined
from mscon.evaluate.diagnostics import Bound, Diagnostics, HeadFacts, PairFacts
from mscon.evaluate.geometry import cosines, effective_rank, linear_cka, uniformity
from mscon.held_out import best_tempered
from mscon.inspection import batch_facts, redundancies
from mscon.log import TermMeans
from mscon.model import MSConModel
from mscon.objective import MSConLoss
from mscon.prepare import Prepared
from mscon.run import Run
from mscon.temperature import Temperatures
from mscon.terms import relative_excess
from mscon.weighting import Aggregated, AnyWeighting, Excess, Fixed, Uncertainty, gradient_products

SAMPLE = 2000
"""Validation items that are looked at, at most."""

NEAR = 1.0 + 1e-4
"""Times which a temperature is at its bound, having been kept there as a logarithm in float32."""


def diagnose(run: Run, data: Prepared, embeddings: Float[Tensor, "n d"]) -> Diagnostics:
    """Look at a trained run's held-out items.

    **Arguments:**

    - `run`: a trained run.
    - `data`: what its recipe prepares.
    - `embeddings`: the model's shared embedding of `data.pixels`, row for row.

    **Raises:** `UserError` for a run without a model.
    """
    rows = np.random.default_rng(0).permutation(data.split.val)[:SAMPLE]
    model, objective = run.model(), _objective(run, data)
    loss_fn = new_contrastive(run.recipe, data).eval() if objective is None else objective
    projections = {name: model.project_embedding(embeddings[rows], name) for name in model.similarities}
    products, terms, excess = _under_views(run, data, rows, model, loss_fn)
    cosine = cosines(products)
    batches = {each.name: each for each in batch_facts(run.recipe, data)}
    copies = silent_copies(run.recipe, data)
    shared = {frozenset((each.first, each.second)): each.shared for each in redundancies(data)}
    bounds = [None] * len(projections) if objective is None else at_bound(objective)
    heads = [
        HeadFacts(
            name=name,
            effective_rank=effective_rank(z),
            uniformity=defined(uniformity(z)),
            relative_excess=excess.get(name),
            weight=None if objective is None else terms.get(name, {}).get("weight"),
            bound=bound,
            alone=batches[name].lonely,
            sampler=batches[name].sampler,
            per_class=batches[name].per_class,
            repeats=copies.get(name),
        )
        for (name, z), bound in zip(projections.items(), bounds, strict=True)
    ]
    pairs = [
        PairFacts(
            first=a,
            second=b,
            cka=defined(linear_cka(projections[a], projections[b])),
            shared_information=shared.get(frozenset((a, b))),
            gradient_cosine=defined(float(cosine[i, j])),
        )
        for (i, a), (j, b) in combinations(enumerate(projections), 2)
    ]
    h, weighting = embeddings[rows], run.recipe.objective.weighting
    return Diagnostics(
        items=len(rows),
        effective_rank=effective_rank(h),
        uniformity=defined(uniformity(h)),
        heads=tuple(heads),
        pairs=tuple(pairs),
        weighting=weighting if isinstance(weighting, str) else "fixed",
    )


def at_bound(objective: MSConLoss) -> list[Bound | None]:
    """Per similarity, whether its weight or its learned temperature is at a bound of the objective's.

    Under `Excess` all labels may look like chance, which leaves a similarity the `least`; one that looks clean is no
    reason to worry. `Uncertainty` bounds log σ² to [−4, 4] (in the paper's form nothing holds it there, but it has left
    what is plausible). Fixed weights, and what has seen nothing yet, are at no bound.
    """
    of_temperature = _temperature_at_bound(objective.temperatures)
    return [a or b for a, b in zip(_weight_at_bound(objective.weighting), of_temperature, strict=True)]


def _temperature_at_bound(temperatures: Temperatures) -> list[Bound | None]:
    if not temperatures.learned:
        return [None] * len(temperatures.values)
    return [
        "coldest" if value <= least * NEAR else "hottest" if value * NEAR >= most else None
        for value, (least, most) in zip(temperatures.values, temperatures.bounds, strict=True)
    ]


def _weight_at_bound(weighting: AnyWeighting) -> list[Bound | None]:
    if weighting.similarities == 1:  # which has all the weight there is
        return [None]
    match weighting:
        case Uncertainty():
            bound = weighting.BOUND
            return [
                "most" if each <= -bound else "least" if each >= bound else None
                for each in weighting.log_variance.tolist()
            ]
        case Excess():
            seen = (weighting.batches[2] > 0) | (weighting.held_out_items[2] > 0)
            return ["least" if each >= 1.0 else None for each in weighting.trust.noise_share.where(seen, 0.0).tolist()]
        case Fixed() | Aggregated():
            return [None] * weighting.similarities


def _objective(run: Run, data: Prepared) -> MSConLoss | None:
    """The objective as training left it, from the newest checkpoint that can be read; None when there is none, or it
    was another's.
    """
    if run.recipe.objective.loss != "contrastive":
        return None
    objective = new_contrastive(run.recipe, data)
    for path in checkpoints(run.checkpoints):
        try:
            with safe_open(path, framework="pt") as file:
                state = {key: file.get_tensor(f"objective/{key}") for key in objective.state_dict()}
            objective.load_state_dict(state)
        except (OSError, SafetensorError, RuntimeError):
            continue
        return objective.eval()
    return None


def _under_views(
    run: Run, data: Prepared, rows: np.ndarray, model: MSConModel, loss_fn: MSConLoss
) -> tuple[Float64[Tensor, "c c"], Mapping[str, Mapping[str, float | None]], Mapping[str, float | None]]:
    """Inner products of the losses' gradients at the embedding, the losses' terms, and the relative excess as `Excess`
    would read it (`MSConLoss.held_out_sums`), over whole batches of views.
    """
    recipe = run.recipe
    views, size = recipe.training.views_per_item, min(recipe.training.batch_size, len(rows))
    generator = torch.Generator().manual_seed(0)
    count = len(model.similarities)
    products, terms, held_out = torch.zeros(count, count, dtype=torch.float64), TermMeans(), torch.zeros(())
    pixels = np.array(data.pixels.array[rows])  # at once: without a cache each row group is read once
    for start in range(0, len(rows) - size + 1, size):
        item = torch.from_numpy(rows[start : start + size]).repeat(views)
        here = np.tile(np.arange(start, start + size), views)
        images = torch.from_numpy(pixels[here]).permute(0, 3, 1, 2)
        drawn = draw_views(len(item), recipe.run_views, generator=generator)
        values = {
            name: torch.from_numpy(data.values[name])[item] if name in data.values else item
            for name in recipe.similarities
        }

        h = model.embed(apply_views(images, drawn)).clone().requires_grad_()
        projections = model.project_all(h)
        out = loss_fn(projections, values, embedding=h)
        terms.add(out)
        held_out = held_out + loss_fn.held_out_sums(projections, values, views=views)
        products += gradient_products([out.terms[name].loss for name in model.similarities], h)
    best = best_tempered(held_out)
    excess = relative_excess(best.loss, best.floor, best.chance).tolist()
    return products, terms.take(), dict(zip(model.similarities, map(defined, excess), strict=True))

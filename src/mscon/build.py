"""What a recipe asks for, built: model, objective, optimiser and its rates."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from mscon.baselines import Contrastive, CrossEntropy, RowLosses, SummedLosses, Triplets
from mscon.copies import silent_copies
from mscon.data.appearance import COMPONENTS, kept_appearance_features
from mscon.data.information import in_common
from mscon.data.labels import LabelColumn
from mscon.data.pairs import training_pairs
from mscon.encoder import Stage
from mscon.errors import UserError
from mscon.model import MSConModel, build_model
from mscon.objective import MSConLoss
from mscon.prepare import Prepared
from mscon.recipe import Recipe
from mscon.settings import TrainingSettings
from mscon.similarity import (
    Appearance,
    Categorical,
    Continuous,
    Hierarchy,
    Instance,
    Pairs,
    RankNContrast,
    Similarity,
    Tags,
    balanced_weights,
)
from mscon.weighting import Excess, Uncertainty, WeightingChoice


def new_model(recipe: Recipe, *, pretrained: bool, labels: Mapping[str, LabelColumn] | None = None) -> MSConModel:
    """The model that a recipe describes, before any training; torch's global seed decides its random weights.

    Projections are as wide as the recipe says; those of classifiers, as their label in `labels` has classes.
    """
    settings = recipe.model
    widths = {name: each.head_dim or settings.head_dim for name, each in recipe.similarities.items()}
    widths |= {name: COMPONENTS for name in widths if recipe.kind(name) == "appearance"}
    if recipe.objective.loss == "cross-entropy":
        widths |= {name: len(_classes(name, recipe, labels or {}).classes) for name in recipe.labelled}
    return build_model(
        settings.backbone,
        widths,
        image_size=recipe.image.size,
        stages=[Stage(**each.model_dump()) for each in settings.stages],
        pretrained=pretrained,
        head_layers=settings.head_layers,
        own_layers={name: recipe.head_layers(name) for name in widths},
        head_width=settings.head_width,
        head_norm=settings.head_norm,
        norm=settings.norm,
        uncertainty=recipe.objective.item_uncertainty,
        heads=settings.heads,
        embedding_dim=settings.embedding_dim,
        embedding_norm=settings.embedding_norm,
    )


def new_objective(recipe: Recipe, data: Prepared) -> MSConLoss | SummedLosses:
    """The objective that a recipe describes, over the batch of all processes.

    Beside the losses that only labels have, what is given by none keeps its contrastive one.
    """
    settings = recipe.objective
    if settings.loss == "contrastive":
        return new_contrastive(recipe, data)
    losses: dict[str, RowLosses] = {}
    for name in recipe.similarities:
        if name not in recipe.labelled:
            losses[name] = Contrastive(new_similarity(name, recipe, data), recipe.temperature(name))
            continue
        label = _classes(name, recipe, data.labels)
        classes = torch.from_numpy(data.values[name][data.split.train])
        counts = torch.bincount(classes[classes >= 0], minlength=len(label.classes))
        losses[name] = CrossEntropy(counts) if settings.loss == "cross-entropy" else Triplets()
    kendall = Uncertainty(len(losses), paper=True, start=0.0, penalty=0.5) if settings.paper else None
    return SummedLosses(losses, weighting=kendall or settings.weighting)


def _classes(name: str, recipe: Recipe, labels: Mapping[str, LabelColumn]) -> LabelColumn:
    """A similarity's label, which must be one of classes. **Raises** `UserError` for any other."""
    label = labels.get(name)
    if label is None or label.kind != "categorical":
        kind = recipe.kind(name) if label is None else label.kind
        raise UserError(f"objective.loss {recipe.objective.loss} needs classes, but {name!r} is {kind}: leave it out")
    return label


def new_contrastive(recipe: Recipe, data: Prepared) -> MSConLoss:
    """The contrastive objective over a recipe's similarities; with equal weights where it trains by another loss."""
    settings = recipe.objective
    similarities = {name: new_similarity(name, recipe, data) for name in recipe.similarities}
    temperatures = {name: recipe.temperature(name) for name in similarities}
    weighting: WeightingChoice = settings.weighting
    if settings.loss != "contrastive":
        weighting = "equal"
    elif settings.paper:
        weighting = Uncertainty(len(similarities), paper=True)
    elif weighting == "excess":
        histograms = [_histogram(data, name) for name in similarities]
        shared = in_common(
            [data.values[name][data.split.train] if name in data.labels else None for name in similarities]
        )
        taus, copies = list(temperatures.values()), silent_copies(recipe, data)
        silent = [name in copies for name in similarities]
        weighting = Excess(len(taus), temperatures=taus, histograms=histograms, shared=shared, silent=silent)
    try:
        return MSConLoss(
            similarities,
            temperature=temperatures,
            learn_temperature=settings.learn_temperature,
            temperature_bounds=settings.temperature_bounds,
            weighting=weighting,
            gather_distributed=True,
        )
    except ImportError as error:
        raise UserError(f"objective.{error}") from None


def _histogram(data: Prepared, name: str) -> list[int] | None:
    """How many training items each class has, of a similarity that has classes."""
    if name not in data.labels or data.labels[name].kind != "categorical":
        return None
    codes = data.values[name][data.split.train]
    return np.bincount(codes[codes >= 0]).tolist()


def new_similarity(name: str, recipe: Recipe, data: Prepared) -> Similarity:
    """One of a recipe's similarities, with what it needs to know of the training items."""
    settings, kind = recipe.similarities[name], recipe.kind(name)
    if kind == "instance":
        return Instance()
    if kind == "appearance":
        return Appearance(kept_appearance_features(data.pixels, data.split.train))
    if kind == "pairs":
        pairs = training_pairs(data.pairs[name], data.split)
        return Pairs(torch.from_numpy(pairs.edges), torch.from_numpy(pairs.strength))
    if kind == "rank_n_contrast":
        return RankNContrast(settings.period)
    label, values = data.labels[name], data.values[name][data.split.train]
    match label.kind:
        case "continuous":
            reference = torch.tensor(label.reference, dtype=torch.float64)
            return Continuous(settings.bandwidth or Continuous.bandwidth, settings.period, reference)
        case "tags":
            counts = np.bincount(values[values >= 0], minlength=len(label.members))
            rarity = settings.rarity is not False
            sets = [label.names(number) for number in range(len(label.members))]
            return Tags(sets, weighting="rarity" if rarity else "even", counts=counts.tolist())
        case "hierarchy":
            paths = [label.names(number) for number in range(len(label.members))]
            depth, given = max(map(len, paths)), settings.level_weights
            return Hierarchy(paths, weights=given and given[:depth])
        case "categorical":
            counts = torch.bincount(torch.from_numpy(values[values >= 0]), minlength=len(label.classes))
            return Categorical(balanced_weights(counts, settings.balance) if settings.balance else None)


def clipped_apart(model: MSConModel) -> list[list[nn.Parameter]]:
    """The parameters whose gradient is clipped together: a head that has no say in the encoder has none in the length
    of its steps.
    """
    named = zip(model.similarities, model.heads, strict=True)
    silent = [head for name, head in named if name in model.silent]
    apart = [list(each.parameters()) for each in (*silent, model.uncertainty) if each is not None]
    places = {id(each) for part in apart for each in part}
    return [[each for each in model.parameters() if id(each) not in places], *apart]


def new_optimizer(recipe: Recipe, model: MSConModel, loss_fn: MSConLoss | SummedLosses) -> torch.optim.Optimizer:
    """The optimiser over all that is learned; each group keeps its highest rate for `set_rates`."""
    settings = recipe.training
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    if recipe.objective.paper and recipe.objective.loss == "contrastive":
        decayed += list(loss_fn.parameters())
        own = []
    else:
        own = loss_fn.parameter_groups(lr=recipe.objective.weighting_lr)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}, *own]
    if settings.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(groups, lr=settings.lr, fused=True)
    else:
        optimizer = torch.optim.SGD(groups, lr=settings.lr, momentum=0.9, nesterov=settings.nesterov, fused=True)
    for group in optimizer.param_groups:
        group["highest_lr"] = group["lr"]
    return optimizer


def set_rates(
    optimizer: torch.optim.Optimizer, step: int, steps: int, settings: TrainingSettings, *, epoch: int
) -> None:
    """Every group's highest rate, times what `rate_factor` says."""
    factor = rate_factor(step, steps, warmup=settings.warmup, decay=settings.decay, epoch=epoch)
    for group in optimizer.param_groups:
        group["lr"] = group["highest_lr"] * factor


def rate_factor(step: int, steps: int, *, warmup: float, decay: float | None = None, epoch: int = 0) -> float:
    """Linear from 0 to 1 over the first `warmup` share of the steps, then half a cosine down to 0; with a `decay`,
    then that to the power of the epochs that have passed.
    """
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    if decay is not None:
        return decay**epoch
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))

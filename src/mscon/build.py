"""What a recipe asks for, built: device and processes, model, objective, optimiser and its rates."""

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from mscon.baselines import Contrastive, CrossEntropy, RowLosses, SummedLosses, Triplets
from mscon.connect import connect
from mscon.copies import silent_copies
from mscon.data.appearance import COMPONENTS, appearance_features
from mscon.data.information import in_common
from mscon.data.labels import LabelColumn
from mscon.data.pairs import training_pairs
from mscon.encoder import Stage
from mscon.errors import UserError
from mscon.heartbeat import timeout
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

SMALLEST_BF16 = 32
"""Pixels of an image's side that bfloat16 takes on a CPU, see `precision`."""


def new_fabric(recipe: Recipe) -> Fabric:
    """The device and precision of a training, and all the processes that torchrun started for it, connected."""
    settings = recipe.training
    device = accelerator(settings.device)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    if processes > 1:  # a process that hangs in a step is named by its heartbeat: this ends what is outside of steps
        connect("nccl" if device == "cuda" else "gloo", seconds=2 * timeout())
    fabric = Fabric(
        accelerator=device,
        strategy="ddp" if processes > 1 else "auto",
        devices=here,
        num_nodes=processes // here,
        precision=precision(settings.precision, device, size=recipe.image.size),
    )
    fabric.launch()
    return fabric


def accelerator(wish: str) -> str:
    """`auto` as cuda where there is a device, else cpu; any other wish as it is."""
    if wish == "cuda" and not torch.cuda.is_available():
        raise UserError("training.device is cuda, but torch finds no CUDA device here; leave it out, or set it to cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if wish == "auto" else wish


def precision(wish: str, device: str, *, size: int) -> Any:
    """`auto` as bf16-mixed where the device multiplies bfloat16 in hardware, else 32-true; any other wish as it is.

    On a CPU, images under 32 px stay in float32, and wishing bf16-mixed for them is refused: where a map has shrunk to
    one cell, the bfloat16 gradient of a 3×3 convolution with stride 2 holds memory that was never written (torch
    2.15 with oneDNN; every 3×3 filter at stride 2 on a 1×1 map, and no other case of 1–4 cells, strides 1 and 2).
    """
    if wish == "bf16-mixed" and device == "cpu" and size < SMALLEST_BF16:
        raise UserError(
            f"training.precision is bf16-mixed, which on a CPU needs images of {SMALLEST_BF16} px or more, not {size}; "
            "below that some gradients come out at random. Set it to 32-true, or leave it out"
        )
    if wish != "auto":
        return wish
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # older torch cannot tell
    return "bf16-mixed" if capabilities.get("amx_bf16") and size >= SMALLEST_BF16 else "32-true"


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
        return Appearance(appearance_features(data.pixels.array, data.split.train))
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

"""Training, to be read from top to bottom: catalog → views → encoder → heads → objective → one step, and again.

Everything that chance decides is a pure function of the seed and the step (batches, views) or kept in the checkpoint
(dropout), so a run that was stopped and resumed ends, on a CPU, with the same bits as one that never was.
"""

import logging
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mscon.checkpoint import Position, latest_checkpoint, load_checkpoint, save_checkpoint
from mscon.data.views import augment
from mscon.encoder import Stage
from mscon.errors import UserError
from mscon.interrupt import InterruptedRun, stop_signals
from mscon.log import Display, Log, TermMeans
from mscon.model import MSConModel, build_model
from mscon.objective import MSConLoss, MSConOutput
from mscon.prepare import Prepared, prepare, training_batches
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.similarity import Categorical, Instance
from mscon.weighting import Uncertainty


def train(recipe: Recipe, folder: Path, *, resume: bool = False, display: Display | None = None) -> Run:
    """Train a model as the recipe says and keep everything in a run folder.

    **Arguments:**

    - `recipe`: what to train; with `resume`, it must equal the run's own.
    - `folder`: the run's folder; made if it is not there.
    - `resume`: go on from the run's last checkpoint, or from the start when there is none.
    - `display`: told of progress.

    **Returns:** the run, its `model.safetensors` written.

    **Raises:**

    - `UserError`: the catalog or the recipe cannot be used, the loss is not finite any more, or the disk is full.
    - `InterruptedRun`: SIGINT or SIGTERM came; resume to go on.
    """
    if not resume and (folder / "recipe.toml").exists():
        raise UserError(f"{folder} holds a run already: go on with --resume, or choose another folder with --out")
    settings = recipe.training
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    device = accelerator(settings.device)
    fabric = Fabric(
        accelerator=device, devices=1, precision=precision(settings.precision, device, size=recipe.image.size)
    )
    kept_run = Run.open(folder) if resume else None
    data = prepare(recipe, labels=kept_run.labels if kept_run else None, progress=display.decoding if display else None)
    train_batches = training_batches(recipe, data)

    torch.manual_seed(settings.seed)
    model = new_model(recipe, pretrained=recipe.model.pretrained).to(memory_format=torch.channels_last)
    loss_fn = _objective(recipe)
    optimizer = _optimizer(recipe, model, loss_fn)
    average = (
        AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)
        if settings.ema
        else None
    )
    kept = cast(MSConModel, average.module) if average else model  # what is validated and kept
    parts: dict[str, nn.Module] = {"model": model, "objective": loss_fn}
    if average:
        parts["average"] = average

    run = kept_run or Run.create(folder, recipe, data.labels)
    run.write_json("skipped.json", [asdict(each) for each in data.pixels.skipped])
    wrapped, stepper = fabric.setup(model, optimizer)
    for part in parts.values():
        fabric.to_device(part)
    last = latest_checkpoint(run.checkpoints)
    at = load_checkpoint(last, parts, optimizer) if last else Position(epoch=0, batch=0, step=0)
    run.cut_metrics(at.step)
    steps = settings.epochs * len(train_batches)
    log = Log(run, at, items=settings.batch_size * settings.views_per_item, display=display)
    if display:
        display.started(run, data, at, steps)

    with stop_signals() as stopped:
        for epoch in range(at.epoch, settings.epochs):
            model.train()
            for batch, items in enumerate(train_batches.epoch(epoch, start=at.batch), start=at.batch):
                _set_rates(optimizer, _rate(at.step, steps, settings.warmup))
                images, values = _views(recipe, data, items, seed=(settings.seed, at.step), device=fabric.device)
                out: MSConOutput = loss_fn(wrapped(images), values)
                _check_finite(out, at.step, last_good=run.checkpoints)
                optimizer.zero_grad()
                fabric.backward(out.total)
                length = nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
                if not length.isfinite():
                    raise UserError(_not_finite("gradient", at.step, "all similarities together", run.checkpoints))
                stepper.step()
                if average:
                    average.update_parameters(model)
                at = Position(epoch, batch + 1, at.step + 1, at.best, log.seconds)
                log.step(at, out, rate=optimizer.param_groups[0]["lr"], epochs=epoch + (batch + 1) / len(train_batches))
                if stopped():
                    save_checkpoint(run.checkpoints, at, parts, optimizer)
                    raise InterruptedRun(folder)
            at = Position(epoch + 1, 0, at.step, at.best, log.seconds)
            final = at.epoch == settings.epochs
            if final or at.epoch % settings.checkpoint_epochs == 0:
                score = _validate(recipe, data, kept, loss_fn, fabric, log, at)
                better = score is not None and (at.best is None or score < at.best)
                if better or settings.keep == "last" or score is None:
                    kept.save(run.model_path)
                at = Position(at.epoch, 0, at.step, score if better else at.best, log.seconds)
                save_checkpoint(run.checkpoints, at, parts, optimizer)
    log.close()
    return run


def accelerator(wish: str) -> str:
    """`auto` as cuda where there is a device, else cpu; any other wish as it is."""
    if wish == "cuda" and not torch.cuda.is_available():
        raise UserError("training.device is cuda, but torch finds no CUDA device here; leave it out, or set it to cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if wish == "auto" else wish


def precision(wish: str, device: str, *, size: int) -> Any:
    """`auto` as bf16-mixed where the device multiplies bfloat16 in hardware, else 32-true; any other wish as it is.

    On a CPU, images under 32 px stay in float32: where maps shrink to one cell before the last stage, bfloat16
    gradients of the filters were seen to differ from run to run, and to overflow.
    """
    if wish != "auto":
        return wish
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # older torch cannot tell
    return "bf16-mixed" if capabilities.get("amx_bf16") and size >= 32 else "32-true"


def new_model(recipe: Recipe, *, pretrained: bool) -> MSConModel:
    """The model that a recipe describes, before any training; torch's global seed decides its random weights."""
    settings = recipe.model
    return build_model(
        settings.backbone,
        {name: each.head_dim or settings.head_dim for name, each in recipe.similarities.items()},
        image_size=recipe.image.size,
        stages=[Stage(**each.model_dump()) for each in settings.stages],
        pretrained=pretrained,
        head_layers=settings.head_layers,
        head_width=settings.head_width,
        head_norm=settings.head_norm,
    )


def _objective(recipe: Recipe) -> MSConLoss:
    settings = recipe.objective
    similarities = {name: Instance() if recipe.is_instance(name) else Categorical() for name in recipe.similarities}
    return MSConLoss(
        similarities,
        temperature={name: each.temperature or settings.temperature for name, each in recipe.similarities.items()},
        weighting=Uncertainty(len(similarities), paper=True) if settings.paper else settings.weighting,
    )


def _optimizer(recipe: Recipe, model: MSConModel, loss_fn: MSConLoss) -> torch.optim.Optimizer:
    settings = recipe.training
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    if recipe.objective.paper:
        decayed += list(loss_fn.parameters())
        own = []
    else:
        own = loss_fn.parameter_groups(lr=recipe.objective.weighting_lr)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}, *own]
    if settings.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(groups, lr=settings.lr)
    else:
        optimizer = torch.optim.SGD(groups, lr=settings.lr, momentum=0.9, nesterov=True)
    for group in optimizer.param_groups:
        group["highest_lr"] = group["lr"]
    return optimizer


def _rate(step: int, steps: int, warmup: float) -> float:
    """Linear from 0 to 1 over the first `warmup` share of the steps, then half a cosine down to 0."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))


def _set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["highest_lr"] * factor


def _views(
    recipe: Recipe, data: Prepared, items: Tensor, *, seed: tuple[int, int], device: torch.device
) -> tuple[Tensor, dict[str, Tensor]]:
    """Every view of every item, view by view, and each similarity's values for those rows."""
    count = recipe.training.views_per_item
    images = torch.from_numpy(data.pixels.array[items.numpy()]).permute(0, 3, 1, 2).to(device)
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))
    views = augment(images.repeat(count, 1, 1, 1), recipe.run_views, generator=generator)
    values = {
        name: items if recipe.is_instance(name) else torch.from_numpy(data.values[name])[items]
        for name in recipe.similarities
    }
    return views, {name: each.repeat(count).to(device) for name, each in values.items()}


@torch.inference_mode()
def _validate(
    recipe: Recipe, data: Prepared, model: MSConModel, loss_fn: MSConLoss, fabric: Fabric, log: Log, at: Position
) -> float | None:
    """Mean relative excess over the similarities on held-out items, under views that are the same every time.

    Whole batches only: the rows of a last incomplete one do not count. None when no similarity has a positive there.
    """
    model.eval()
    loss_fn.eval()
    size = min(recipe.training.batch_size, len(data.split.val))
    order = np.random.default_rng(0).permutation(data.split.val)
    terms = TermMeans()
    for number, start in enumerate(range(0, len(order) - size + 1, size)):
        items = torch.from_numpy(order[start : start + size])
        images, values = _views(recipe, data, items, seed=(0, number), device=fabric.device)
        with fabric.autocast():
            projections = model(images)
        out = loss_fn(projections, values)
        _check_finite(out, at.step, last_good=log.run.checkpoints)
        terms.add(out)
    loss_fn.train()
    means = terms.take()
    relative = [each["relative_excess"] for each in means.values() if each["relative_excess"] is not None]
    score = sum(relative) / len(relative) if relative else None
    log.validated(at, means, score)
    return score


def _check_finite(out: MSConOutput, step: int, last_good: Path) -> None:
    if not out.total.isfinite():
        bad = [name for name, term in out.terms.items() if not term.loss.isfinite()]
        raise UserError(_not_finite("loss", step, ", ".join(bad) or "the weighting", last_good))


def _not_finite(what: str, step: int, where: str, checkpoints: Path) -> str:
    last = latest_checkpoint(checkpoints)
    kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
    advice = "Lower training.lr, or raise the temperature"
    return f"the {what} is not finite any more at step {step} ({where}); {kept}. {advice}"

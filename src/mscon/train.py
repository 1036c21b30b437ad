"""Training, to be read from top to bottom: catalog → views → encoder → heads → objective → one step, and again.

Everything that chance decides (batches, views, dropout) is a pure function of the seed and the step, so a run that was
stopped and resumed ends, on a CPU, with the same bits as one that never was; with several processes, if they are as
many again, up to the order in which gradients are added up among them.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from functools import partial
from itertools import compress, islice
from pathlib import Path
from time import monotonic
from typing import cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mscon.build import clipped_apart, new_model, new_objective, new_optimizer, set_rates
from mscon.checkpoint import Position, Resumed, load_newest, save_checkpoint
from mscon.data.items import Items
from mscon.doubts import Doubts
from mscon.errors import DivergedError, UserError
from mscon.fabric import new_fabric
from mscon.heartbeat import heartbeats
from mscon.interrupt import InterruptedRun, stop_signals
from mscon.lightning import Fabric
from mscon.log import Display, Log
from mscon.memory import freed_memory_kept
from mscon.micro_batch import micro_batched, split_rows
from mscon.model import MSConModel
from mscon.prepare import AnyBatches, Prepared, prepare, training_batches
from mscon.processes import any_process, each_process, highest, lost_connection_told, share_buffers
from mscon.recipe import Recipe
from mscon.run import Run, check_no_run
from mscon.run_lock import run_lock
from mscon.step import check_finite, fetched, not_finite, objective_of, seed_of, step_views
from mscon.terms import MSConOutput
from mscon.trained_on import check_trained_on, write_trained_on
from mscon.unreadable import Unreadable
from mscon.validation import validate
from mscon.weighting import Aggregated, Excess

CHECKPOINT_SECONDS = 600
"""Between two checkpoints, but for the time that a validation takes: a training that is killed loses no more."""


def train(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    known: Items | None = None,
    display: Display | None = None,
) -> Run:
    """Train a model as the recipe says and keep everything in a run folder.

    **Arguments:**

    - `recipe`: what to train; with `resume`, the run's own.
    - `folder`: the run's folder; made if it is not there.
    - `resume`: go on from the run's last checkpoint that can be used, or from the start when there is none, or no run.
    - `known`: another run's items, for a run that shall have them in the same parts; one that is resumed has its own.
    - `display`: told of progress.

    **Returns:** the run, its `model.safetensors` written.

    **Raises:**

    - `UserError`: the catalog or the recipe cannot be used, or is not that of the run to resume; another process
      trains in the folder; the loss is not finite any more; the disk is full.
    - `InterruptedRun`: SIGINT, SIGTERM or SIGUSR1 came; resume to go on.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = new_fabric(recipe)
    with ExitStack() as held, lost_connection_told(fabric), heartbeats(fabric) as begins:
        each_process(fabric, lambda: held.enter_context(run_lock(folder)) if fabric.is_global_zero else None)
        return _train(recipe, folder, resume, known, fabric, display if fabric.is_global_zero else None, begins)


def _train(
    recipe: Recipe,
    folder: Path,
    resume: bool,
    known: Items | None,
    fabric: Fabric,
    display: Display | None,
    begins: Callable[[int], None],
) -> Run:
    first = fabric.is_global_zero  # of the processes that train together, the one that writes and shows
    # What the first process decodes and downloads, the others find there.
    begin = partial(_begin, recipe, folder, resume, known, fabric, display)
    kept_run, data, train_batches = each_process(fabric, begin)
    recipe = kept_run.recipe if kept_run else recipe  # whose similarities are in the order of the heads
    settings = recipe.training

    torch.manual_seed(settings.seed)
    model = each_process(fabric, partial(new_model, recipe, pretrained=recipe.model.pretrained, labels=data.labels))
    model = model.to(memory_format=torch.channels_last)
    loss_fn = each_process(fabric, partial(new_objective, recipe, data))  # the first makes appearance's features
    if isinstance(loss_fn.weighting, Excess):
        model.silent = frozenset(compress(recipe.similarities, ~loss_fn.weighting.speaks))
    if isinstance(loss_fn.weighting, Aggregated):
        model.returns_embedding, loss_fn.weighting.backward = True, fabric.backward
    optimizer = new_optimizer(recipe, model, loss_fn)
    average = (
        AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)
        if settings.ema
        else None
    )
    kept = cast(MSConModel, average.module) if average else model  # what is validated and kept
    doubts = Doubts(data, recipe.labelled) if settings.audit_epochs else None
    parts: dict[str, nn.Module] = {"model": model, "objective": loss_fn}
    if doubts:
        parts["doubts"] = doubts
    if average:
        parts["average"] = average

    run = each_process(fabric, partial(_opened, kept_run, folder, recipe, data, writes=first))
    unreadable = Unreadable(run, data, fabric)
    each_process(fabric, unreadable.take_up)
    wrapped, stepper = fabric.setup(model, optimizer)
    for part in parts.values():
        fabric.to_device(part)
    found = each_process(fabric, partial(load_newest, run.checkpoints, parts, optimizer))
    at, data = found.at, replace(data, notes=(*data.notes, *_unusable_notes(found)))
    if any_process(fabric, at.step != fabric.broadcast(at.step)):
        raise UserError(f"{folder}: not every process finds the same checkpoint there: it must be one folder for all")
    if first:
        run.cut_metrics(at.step)
    steps, clipped = settings.steps or settings.epochs * len(train_batches), clipped_apart(model)
    epochs_in_all = -(-steps // len(train_batches))
    if at.step:
        over = at.step >= steps and at.epoch >= epochs_in_all
        at = each_process(fabric, partial(_with_model, run, at, over=over))  # all end where there is none
    log = Log(run, at, items=settings.batch_size * settings.views_per_item, display=display, writes=first)

    def save(at: Position) -> float:
        """And say when."""
        unreadable.write()
        if first:
            save_checkpoint(run.checkpoints, replace(at, unlogged=log.unlogged), parts, optimizer)
        return monotonic()

    if display:
        display.started(run, data, at, steps)

    # Memory that is kept is not there for others, which is what micro-batches are about.
    kept_memory = nullcontext() if settings.micro_batch else freed_memory_kept()
    saved = monotonic()
    with closing(log), stop_signals() as stopped, kept_memory:
        for epoch in range(at.epoch, epochs_in_all):
            model.train()
            drawn = train_batches.epoch(epoch, start=at.batch)
            drawn = islice(drawn, steps - at.step)  # the images of no more than these are read ahead
            for batch, here in enumerate(fetched(data, drawn), start=at.batch):
                begins(at.step)
                items = here.items
                set_rates(optimizer, at.step, steps, settings, epoch=epoch)
                views, values = step_views(recipe, data, here, seed=(settings.seed, at.step), fabric=fabric)
                if doubts:
                    values = doubts.left_out(values, items.repeat(settings.views_per_item))
                optimizer.zero_grad()
                torch.manual_seed(seed_of(settings.seed, at.step, 1 + fabric.global_rank))  # dropout
                out: MSConOutput = micro_batched(
                    wrapped,
                    split_rows(len(items) * settings.views_per_item, settings.micro_batch),
                    partial(objective_of, loss_fn, values, weighed=recipe.objective.item_weights),
                    prepare=views,
                    backward=fabric.backward,
                    no_sync=partial(fabric.no_backward_sync, wrapped),
                )
                check_finite(out, at.step, last_good=run.checkpoints)
                for part in clipped:
                    _clip(part, settings.clip, at.step, last_good=run.checkpoints)
                stepper.step()
                if average:
                    average.update_parameters(model)
                at = Position(epoch, batch + 1, at.step + 1, at.best, log.seconds)
                unreadable.check()
                due = first and monotonic() - saved > CHECKPOINT_SECONDS
                stop, due = divmod(highest(fabric, 2 * stopped() + due), 2)
                rate, epochs = optimizer.param_groups[0]["lr"], epoch + (batch + 1) / len(train_batches)
                log.step(at, out, rate=rate, epochs=epochs, last=at.step == steps)
                if stop:
                    save(at)
                    raise InterruptedRun(folder, stop)
                if due:
                    saved = save(at)
            at = Position(epoch + 1, 0, at.step, at.best, log.seconds)
            final = at.epoch == epochs_in_all
            if doubts and at.epoch % settings.audit_epochs == 0 and not final:
                each_process(fabric, partial(doubts.ask, kept, data) if first else lambda: None)
                share_buffers(fabric, doubts)
            if final or at.epoch % settings.checkpoint_epochs == 0:
                doubted = doubts.counts if doubts else {}
                begins(at.step)
                score = validate(recipe, data, kept, loss_fn, fabric, log, at, doubted, begins)
                better = score is not None and (at.best is None or score < at.best)
                if first and (better or settings.keep == "last" or score is None):
                    kept.save(run.model_path)
                at = Position(at.epoch, 0, at.step, score if better else at.best, log.seconds)
                saved = save(at)
    fabric.barrier()  # the model is there for every process
    return run


def _begin(
    recipe: Recipe, folder: Path, resume: bool, known: Items | None, fabric: Fabric, display: Display | None
) -> tuple[Run | None, Prepared, AnyBatches]:
    """The run to go on with, if that is asked for, what there is to learn from, and this process's part of it."""
    if not resume:
        check_no_run(folder)
    run = Run.open(folder) if (folder / "recipe.toml").exists() else None
    progress = display.decoding if display else None
    if run:
        run.check_recipe(recipe)
        recipe = run.recipe
        data = run.prepare(progress=progress)
        if fabric.is_global_zero:
            check_trained_on(folder, recipe, data)
    else:
        data = prepare(recipe, items=known, progress=progress)
    return run, data, training_batches(recipe, data, rank=fabric.global_rank, world_size=fabric.world_size)


def _opened(kept: Run | None, folder: Path, recipe: Recipe, data: Prepared, *, writes: bool) -> Run:
    """The run that is there, or a new one, as it is to begin the training with."""
    if not writes:
        return kept or Run(folder, recipe, data.labels)
    if kept is None:
        write_trained_on(folder, recipe, data)
    run = kept or Run.create(folder, recipe, data.labels, items=data.items)
    run.remove_drafts()
    return run


def _with_model(run: Run, at: Position, *, over: bool) -> Position:
    """Where the training stands by the model that it has kept: with none that can be read, the next validation keeps
    one again.

    **Raises** `UserError` where there is no other validation to come.
    """
    try:
        run.model()
    except UserError as error:
        if over:
            raise UserError(
                f"{error}. The training is over and has nothing left to make it from: start a new run"
            ) from None
        return replace(at, best=None)
    return at


def _unusable_notes(found: Resumed) -> Iterator[str]:
    for mistake in found.unusable:
        yield f"{mistake}. Going on from the one before, at step {found.at.step:,}"


def _clip(parameters: list[nn.Parameter], longest: float, step: int, last_good: Path) -> None:
    """Shorten their gradient. **Raises** `DivergedError` for one that is not finite."""
    length = nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
    if not length.isfinite():
        raise DivergedError(not_finite("gradient", step, "all similarities together", last_good))
    if length > longest:
        nn.utils.clip_grads_with_norm_(parameters, longest, length)

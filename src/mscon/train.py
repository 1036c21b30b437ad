"""Training, to be read from top to bottom: catalog → views → encoder → heads → objective → one step, and again.

Everything that chance decides (batches, views, dropout) is a pure function of the seed and the step, so a run that was
stopped and resumed ends, on a CPU, with the same bits as one that never was; with several processes, if they are as
many again, up to the order in which gradients are added up among them.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress, islice, tee
from math import nan
from pathlib import Path
from time import monotonic
from typing import cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mscon.baselines import SummedLosses
from mscon.build import clipped_apart, new_model, new_objective, new_optimizer, set_rates
from mscon.checkpoint import Position, Resumed, latest_checkpoint, load_newest, save_checkpoint
from mscon.data.items import Items
from mscon.data.streamed import Fetched, StreamedImages
from mscon.data.views import apply_views, draw_views
from mscon.doubts import Doubts
from mscon.errors import DivergedError, UserError
from mscon.fabric import new_fabric
from mscon.heartbeat import heartbeats
from mscon.interrupt import InterruptedRun, stop_signals
from mscon.item_uncertainty import item_weights
from mscon.log import Display, Log, TermMeans
from mscon.memory import freed_memory_kept
from mscon.micro_batch import joined, micro_batched, split_rows
from mscon.model import EMBEDDING, LOG_VARIANCE, MSConModel
from mscon.objective import MSConLoss
from mscon.prepare import AnyBatches, Prepared, prepare, training_batches, window_batches
from mscon.processes import any_process, each_process, highest, lost_connection_told, share_buffers
from mscon.recipe import Recipe
from mscon.run import Run, check_no_run
from mscon.run_lock import run_lock
from mscon.terms import MSConOutput
from mscon.trained_on import check_trained_on, write_trained_on
from mscon.unreadable import Unreadable
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
    loss_fn = new_objective(recipe, data)
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
            for batch, here in enumerate(_fetched(data, drawn), start=at.batch):
                begins(at.step)
                items = here.items
                set_rates(optimizer, at.step, steps, settings, epoch=epoch)
                views, values = _views(recipe, data, here, seed=(settings.seed, at.step), fabric=fabric)
                if doubts:
                    values = doubts.left_out(values, items.repeat(settings.views_per_item))
                optimizer.zero_grad()
                torch.manual_seed(_seed(settings.seed, at.step, 1 + fabric.global_rank))  # dropout
                out: MSConOutput = micro_batched(
                    wrapped,
                    split_rows(len(items) * settings.views_per_item, settings.micro_batch),
                    partial(_objective, loss_fn, values, weighed=recipe.objective.item_weights),
                    prepare=views,
                    backward=fabric.backward,
                    no_sync=partial(fabric.no_backward_sync, wrapped),
                )
                _check_finite(out, at.step, last_good=run.checkpoints)
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
                score = _validate(recipe, data, kept, loss_fn, fabric, log, at, doubted, begins)
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
    """Where the training stands by the model that it has kept: with none, the next validation keeps one again.

    **Raises** `UserError` where there is no other validation to come.
    """
    if over:
        try:
            run.model()
        except UserError as error:
            raise UserError(
                f"{error}. The training is over and has nothing left to make it from: start a new run"
            ) from None
    return at if run.model_path.exists() else replace(at, best=None)


def _unusable_notes(found: Resumed) -> Iterator[str]:
    for mistake in found.unusable:
        yield f"{mistake}. Going on from the one before, at step {found.at.step:,}"


def _seed(*of: int) -> int:
    """A number that other numbers lead to; zeros at the end do not count."""
    return int(np.random.SeedSequence(of).generate_state(1, np.uint64)[0] >> 1)


@dataclass(frozen=True, eq=False)
class _Batch:
    """The items of a step, and, where they are not all at hand, their images."""

    items: Tensor
    fetched: Fetched | None = None

    def images(self, data: Prepared, rows: np.ndarray) -> np.ndarray:
        """Of some of the step's rows, which are the items view by view."""
        places = rows % len(self.items)
        if self.fetched is not None:
            return self.fetched.images[places]
        return data.pixels.array[self.items.numpy()[places]]


def _fetched(data: Prepared, batches: Iterable[Tensor]) -> Iterator[_Batch]:
    """Each batch in turn; without a cache the images of the next ones are decoded meanwhile."""
    images = data.pixels.array
    if not isinstance(images, StreamedImages):
        yield from map(_Batch, batches)
        return
    mine, ahead = tee(batches)
    with closing(images.fetched(each.numpy() for each in ahead)) as found:
        yield from (_Batch(items, each.with_replacements()) for items, each in zip(mine, found, strict=False))


def _views(
    recipe: Recipe, data: Prepared, batch: _Batch, *, seed: tuple[int, int], fabric: Fabric
) -> tuple[Callable[[Tensor], Tensor], dict[str, Tensor]]:
    """From row numbers to views, and each similarity's values for all rows: every view of every item, view by view.

    All that chance decides is drawn here, a few numbers a row, by each process for the rows of all. So a row's view is
    the same whichever rows are asked for with it, however often, and on however many processes.
    """
    count, items = recipe.training.views_per_item, batch.items
    everywhere, item = len(items) * fabric.world_size, items.repeat(count)
    generator = torch.Generator().manual_seed(_seed(*seed))
    drawn = draw_views(count * everywhere, recipe.run_views, generator=generator)
    mine = torch.arange(len(items)) + fabric.global_rank * len(items)
    places = torch.cat([mine + view * everywhere for view in range(count)])

    def views(rows: Tensor) -> Tensor:
        images = torch.from_numpy(batch.images(data, rows.numpy())).permute(0, 3, 1, 2).to(fabric.device)
        return apply_views(images, drawn[places[rows]])

    labelled = {name: torch.from_numpy(data.values[name])[item] for name in recipe.labelled}
    values = {name: labelled.get(name, item) for name in recipe.similarities}
    if batch.fetched is not None and batch.fetched.unreadable.any():
        bad = torch.from_numpy(batch.fetched.unreadable).repeat(count)
        values = {name: each.masked_fill(bad, nan if each.is_floating_point() else -1) for name, each in values.items()}
    return views, {name: each.to(fabric.device) for name, each in values.items()}


def _objective(
    loss_fn: MSConLoss | SummedLosses, values: dict[str, Tensor], outputs: dict[str, Tensor], *, weighed: bool = False
) -> MSConOutput:
    """The objective of what the model returned, an uncertainty head's part included; its anchors `weighed` by it."""
    projections = {name: outputs[name] for name in values}
    log_variance, weights = None, None
    if LOG_VARIANCE in outputs:
        log_variance = dict(zip(values, outputs[LOG_VARIANCE].unbind(dim=1), strict=True))
        weights = {name: item_weights(each) for name, each in log_variance.items()} if weighed else None
    return loss_fn(
        projections, values, anchor_weights=weights, log_variance=log_variance, embedding=outputs.get(EMBEDDING)
    )


@torch.inference_mode()
def _validate(
    recipe: Recipe,
    data: Prepared,
    model: MSConModel,
    loss_fn: MSConLoss | SummedLosses,
    fabric: Fabric,
    log: Log,
    at: Position,
    doubted: dict[str, int],
    begins: Callable[[int], None],
) -> float | None:
    """Mean relative excess over the similarities on held-out items, under views that are the same every time.

    Whole batches only, each shared out among the processes: what is left over does not count. None when no similarity
    has a positive there.
    """
    share_buffers(fabric, model)  # the model that is kept is the first process's
    model.eval()
    loss_fn.eval()
    world = fabric.world_size
    size = min(recipe.training.batch_size, len(data.split.val)) // world * world
    terms, held_out = TermMeans(), torch.zeros(())
    listening = loss_fn if isinstance(loss_fn, MSConLoss) and isinstance(loss_fn.weighting, Excess) else None
    for number, batch in enumerate(_fetched(data, _held_out(recipe, data, size, fabric))):
        begins(at.step)
        items = batch.items
        views, values = _views(recipe, data, batch, seed=(0, number), fabric=fabric)
        micro_batches = split_rows(len(items) * recipe.training.views_per_item, recipe.training.micro_batch)
        with fabric.autocast():
            projections = joined([model(views(rows)) for rows in micro_batches])
        projections = {name: z.float() for name, z in projections.items()}  # as in training
        out = _objective(loss_fn, values, projections)
        _check_finite(out, at.step, last_good=log.run.checkpoints)
        terms.add(out)
        if listening:
            of_all = {name: projections[name] for name in values}
            held_out = held_out + listening.held_out_sums(of_all, values, views=recipe.training.views_per_item)
    loss_fn.train()
    if listening:
        listening.observe_held_out(held_out)
    means = terms.take()
    led_by = [each for name, each in means.items() if name not in model.silent]
    relative = [each["relative_excess"] for each in led_by if each["relative_excess"] is not None]
    score = sum(relative) / len(relative) if relative else None
    log.validated(at, means, score, trust=loss_fn.trust, temperature=loss_fn.temperature, doubted=doubted)
    return score


def _held_out(recipe: Recipe, data: Prepared, size: int, fabric: Fabric) -> Iterator[Tensor]:
    """This process's parts of whole batches of held-out items, in an order that is the same every time."""
    rank, world, rows = fabric.global_rank, fabric.world_size, data.split.val
    if isinstance(data.pixels.array, StreamedImages) and data.catalog.stored is not None:
        yield from window_batches(recipe, data, rows, size, seed=0, rank=rank, world_size=world).epoch(0)
        return
    order = np.random.default_rng(0).permutation(rows)
    for start in range(0, len(order) - size + 1, size):
        yield torch.from_numpy(np.split(order[start : start + size], world)[rank])


def _check_finite(out: MSConOutput, step: int, last_good: Path) -> None:
    if not out.total.isfinite():
        bad = [name for name, term in out.terms.items() if not term.loss.isfinite()]
        raise DivergedError(_not_finite("loss", step, ", ".join(bad) or "the weighting", last_good))


def _clip(parameters: list[nn.Parameter], longest: float, step: int, last_good: Path) -> None:
    """Shorten their gradient. **Raises** `DivergedError` for one that is not finite."""
    length = nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
    if not length.isfinite():
        raise DivergedError(_not_finite("gradient", step, "all similarities together", last_good))
    if length > longest:
        nn.utils.clip_grads_with_norm_(parameters, longest, length)


def _not_finite(what: str, step: int, where: str, checkpoints: Path) -> str:
    last = latest_checkpoint(checkpoints)
    kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
    advice = "Lower training.lr, or raise the temperature"
    return f"the {what} is not finite any more at step {step} ({where}); {kept}. {advice}"

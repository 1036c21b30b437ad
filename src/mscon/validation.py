"""Validation: how well held-out items are told apart, by views that are the same every time."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from mscon.baselines import SummedLosses
from mscon.checkpoint import Position
from mscon.data.streamed import StreamedImages
from mscon.lightning import Fabric
from mscon.log import Log, TermMeans
from mscon.micro_batch import joined, split_rows
from mscon.model import MSConModel
from mscon.objective import MSConLoss
from mscon.prepare import Prepared, window_batches
from mscon.processes import share_buffers
from mscon.recipe import Recipe
from mscon.step import check_finite, fetched, objective_of, step_views
from mscon.weighting import Excess


@torch.inference_mode()
def validate(
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
    for number, batch in enumerate(fetched(data, _held_out(recipe, data, size, fabric))):
        begins(at.step)
        items = batch.items
        views, values = step_views(recipe, data, batch, seed=(0, number), fabric=fabric)
        micro_batches = split_rows(len(items) * recipe.training.views_per_item, recipe.training.micro_batch)
        with fabric.autocast():
            projections = joined([model(views(rows)) for rows in micro_batches])
        projections = {name: z.float() for name, z in projections.items()}  # as in training
        out = objective_of(loss_fn, values, projections)
        check_finite(out, at.step, last_good=log.run.checkpoints)
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

"""One step, of training or validation: its items, their views and values, and the objective of what comes of them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import tee
from math import nan
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mscon.baselines import SummedLosses
from mscon.checkpoint import latest_checkpoint
from mscon.data.streamed import Fetched, StreamedImages
from mscon.data.views import apply_views, draw_views
from mscon.errors import DivergedError
from mscon.item_uncertainty import item_weights
from mscon.lightning import Fabric
from mscon.model import EMBEDDING, LOG_VARIANCE
from mscon.objective import MSConLoss
from mscon.prepare import Prepared
from mscon.recipe import Recipe
from mscon.terms import MSConOutput


@dataclass(frozen=True, eq=False)
class StepItems:
    """The items of a step, and, where they are not all at hand, their images."""

    items: Tensor
    fetched: Fetched | None = None

    def images(self, data: Prepared, rows: np.ndarray) -> np.ndarray:
        """Of some of the step's rows, which are the items view by view."""
        places = rows % len(self.items)
        if self.fetched is not None:
            return self.fetched.images[places]
        return data.pixels.array[self.items.numpy()[places]]


def fetched(data: Prepared, batches: Iterable[Tensor]) -> Iterator[StepItems]:
    """Each batch in turn; without a cache the images of the next ones are decoded meanwhile."""
    images = data.pixels.array
    if not isinstance(images, StreamedImages):
        yield from map(StepItems, batches)
        return
    mine, ahead = tee(batches)
    with closing(images.fetched(each.numpy() for each in ahead)) as found:
        yield from (StepItems(items, each.with_replacements()) for items, each in zip(mine, found, strict=False))


def step_views(
    recipe: Recipe, data: Prepared, batch: StepItems, *, seed: tuple[int, int], fabric: Fabric
) -> tuple[Callable[[Tensor], Tensor], dict[str, Tensor]]:
    """From row numbers to views, and each similarity's values for all rows: every view of every item, view by view.

    All that chance decides is drawn here, a few numbers a row, by each process for the rows of all. So a row's view is
    the same whichever rows are asked for with it, however often, and on however many processes.
    """
    count, items = recipe.training.views_per_item, batch.items
    everywhere, item = len(items) * fabric.world_size, items.repeat(count)
    generator = torch.Generator().manual_seed(seed_of(*seed))
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


def objective_of(
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


def check_finite(out: MSConOutput, step: int, last_good: Path) -> None:
    """**Raises** `DivergedError` for an objective that is not, with the similarities that are to blame."""
    if not out.total.isfinite():
        bad = [name for name, term in out.terms.items() if not term.loss.isfinite()]
        raise DivergedError(not_finite("loss", step, ", ".join(bad) or "the weighting", last_good))


def not_finite(what: str, step: int, where: str, checkpoints: Path) -> str:
    """What to say of a loss or a gradient that is not finite."""
    last = latest_checkpoint(checkpoints)
    kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
    advice = "Lower training.lr, or raise the temperature"
    return f"the {what} is not finite any more at step {step} ({where}); {kept}. {advice}"


def seed_of(*of: int) -> int:
    """A number that other numbers lead to; zeros at the end do not count."""
    return int(np.random.SeedSequence(of).generate_state(1, np.uint64)[0] >> 1)

"""Labels in doubt while a training goes on: audited now and then, and left out for as long as they are doubted."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mscon.errors import UserError
from mscon.evaluate.audit import Audited
from mscon.evaluate.audit_label import all_projections, audit_label
from mscon.evaluate.colours import colour_features
from mscon.model import MSConModel
from mscon.prepare import Prepared

MOST_NOISE = 0.5
"""Of the labels that an audit may find to be chance, if it is to be followed: a model that knows nothing of a label yet
finds that of all of them, and what it is not taught it will not learn."""

FEWEST = 20
"""Items of a class whose labels may be doubted: of one with fewer the model knows too little, and without them it would
stay so."""


class Doubts(nn.Module):
    """Which labels of the training items the last audit found wrong: those, the objective does not get to see.

    An audit judges the labels as they were given, so one that is doubted is asked again every time and can come back.
    Numbers are not doubted: what is far from its prediction is as likely hard to see as wrong. Part of a run's
    checkpoints.

    **Arguments:**

    - `data`: what is trained on.
    - `names`: the similarities that have a label column.
    """

    doubted: Tensor
    places: Tensor

    def __init__(self, data: Prepared, names: Sequence[str]):
        super().__init__()
        self.names = [name for name in names if data.labels[name].kind != "continuous"]
        train = torch.from_numpy(data.split.train)
        # By place among the training items, which stays where items that are only tested on are lost or added.
        self.register_buffer("doubted", torch.zeros(len(self.names), len(train), dtype=torch.bool))
        places = torch.zeros(len(data.catalog), dtype=torch.int64).index_copy(0, train, torch.arange(len(train)))
        self.register_buffer("places", places, persistent=False)

    def left_out(self, values: Mapping[str, Tensor], items: Tensor) -> dict[str, Tensor]:
        """Values of a batch, −1 (missing) where they are doubted.

        **Arguments:**

        - `values`: name → (N,), of all similarities.
        - `items`: (N,), the training item of each row.
        """
        given, places = dict(values), self.places[items.to(self.places.device)]
        for name, doubted in zip(self.names, self.doubted, strict=True):
            given[name] = given[name].masked_fill(doubted[places], -1)
        return given

    def ask(self, model: MSConModel, data: Prepared) -> None:
        """Audit the labels of all training items anew; one that is wrong rather than right is doubted from now on.

        None is, of a column that has too few labels for an audit, or more noise than `MOST_NOISE`, or of a class with
        fewer than `FEWEST` items.
        """
        rows = data.split.train
        projections = all_projections(model, data.pixels.array, rows=rows)
        colours = colour_features(data.pixels.array, rows=rows)
        data = data.readable()
        self.doubted.zero_()
        for name, doubted in zip(self.names, self.doubted, strict=True):
            try:
                found = audit_label(data, name, projections, colours, rows=rows)
            except UserError:
                continue
            doubted[torch.from_numpy(wrong_rows(found))] = True

    @property
    def counts(self) -> dict[str, int]:
        """name → how many labels are doubted."""
        return dict(zip(self.names, self.doubted.sum(dim=1).tolist(), strict=True))


def wrong_rows(found: Audited) -> np.ndarray:
    """The rows whose class is wrong rather than right, of classes with `FEWEST` items; none at all of numbers, or if
    more labels than `MOST_NOISE` look like chance.
    """
    if found.noise is None or found.noise > MOST_NOISE:
        return found.rows[:0]
    _, number, counts = np.unique(found.given, return_inverse=True, return_counts=True)
    return found.rows[(found.score > 0.5) & (counts[number] >= FEWEST)]

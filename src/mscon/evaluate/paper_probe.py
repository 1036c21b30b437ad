"""The linear probe by stochastic gradients on augmented images, for scores to be put beside the paper's.

What is known of the paper's own probe is what the first author's precursor code does: see `probe_by_sgd`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor
from torch.nn import functional as F

from mscon.data.information import labelled
from mscon.data.splits import Split
from mscon.data.streamed import AnyImages
from mscon.data.views import ViewSettings, draw_views
from mscon.embed import embed_pixels
from mscon.evaluate.classified import Classified
from mscon.evaluate.columns import check_labelled, share
from mscon.model import MSConModel

EPOCHS, LR = 10, 0.1
"""As in the first author's precursor code."""

MOMENTUM, WEIGHT_DECAY, BATCH_SIZE = 0.9, 1e-4, 64
"""What that code trains its encoder with; for the probe they are our choice."""

ORDER, VIEWS = 1, 2
"""What chance decides in an epoch, each with numbers of its own."""


@dataclass(frozen=True, eq=False)
class SgdProbe(Classified):
    """One label column's probe.

    - `epoch`: the one whose classifier is kept, counted from 1.
    - `validation`: accuracy on the labelled validation rows after each epoch, NaN when there are none.
    """

    epoch: int
    validation: tuple[float, ...]


def probe_by_sgd(
    model: MSConModel,
    pixels: AnyImages,
    columns: Mapping[str, Int[np.ndarray, " n"]],
    split: Split,
    *,
    views: ViewSettings,
    epochs: int = EPOCHS,
    lr: float = LR,
    momentum: float = MOMENTUM,
    weight_decay: float = WEIGHT_DECAY,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, SgdProbe]:
    """A linear classifier of every label column on the frozen encoder's embedding, trained by SGD on augmented images.

        L = mean over a batch's rows of −log softmax(W h + b)_y,   θ = (W, b)
        v ← μ v + ∇L + λ θ,   θ ← θ − lr · v

    In every epoch each training image is embedded once, under a view drawn anew. Each column then takes its labelled
    rows in a new order, in batches. After the epoch it is asked of the validation images as they are; the classifier of
    the best epoch, the earlier among equals, answers for the test images as they are. Without a labelled validation row
    the last epoch's does.

    10 epochs, a rate of 0.1, augmented images and the best epoch on validation are those of the first author's
    precursor code, whose defaults are not confirmed as the paper's. Ours are: W and b begin at 0, the rate stays as it
    is, μ, λ and the batches are what that code trains its encoder with, and the encoder is in evaluation mode, where
    that code leaves it in training mode, so that its statistics move. The embedding is not standardised: the rate of
    0.1 is for numbers of about that code's size, 128 to a row.

    The encoder is frozen and every column has batches of its own, so each scores the same, to the last bit, alone as
    beside others. Rows without a label have no say in a column: added at the end of the catalog they change nothing but
    the encoder's rounding.

    **Arguments:**

    - `model`: a model on any device; its weights, its buffers and its mode are left as they are.
    - `pixels`: RGB images in [0, 255], such as `Pixels.array`.
    - `columns`: codes per label column, −1 where the label is missing. Codes need not be consecutive.
    - `split`: row numbers of `pixels`.
    - `views`: how strongly the training images are augmented.
    - `epochs`, at least 1; `lr`, `momentum` (μ), `weight_decay` (λ), `batch_size`: of the SGD.
    - `seed`: of views and orders; on one machine the same seed gives the same bits.
    - `progress`: called with views embedded and views in all.

    **Returns:** an `SgdProbe` per column, in the order of `columns`.

    **Raises:** `UserError` for a column without a label in train or in test.
    """
    check_labelled(columns, split)
    if not columns:
        return {}
    sgd = partial(torch.optim.SGD, lr=lr, momentum=momentum, weight_decay=weight_decay)
    width = model.architecture.embedding_dim
    heads = {name: _Head(codes.astype(np.int64), split, width, sgd) for name, codes in columns.items()}
    held_out = embed_pixels(model, pixels, rows=split.val)
    for epoch in range(epochs):
        drawn = draw_views(len(split.train), views, generator=_generator(seed, epoch))
        told = _told(progress, epoch * len(split.train), epochs * len(split.train))
        h = embed_pixels(model, pixels, rows=split.train, views=drawn, progress=told)
        for head in heads.values():
            order = np.random.default_rng((seed, epoch, ORDER)).permutation(len(head.rows))
            for batch in torch.from_numpy(order).split(batch_size):
                head.step(h, batch)
            head.validate(held_out)
    asked = embed_pixels(model, pixels, rows=split.test)
    return {name: head.probe(asked) for name, head in heads.items()}


class _Head:
    """One column's classifier in training: its labelled training rows, and the best that it has been so far."""

    def __init__(
        self,
        codes: Int64[np.ndarray, " n"],
        split: Split,
        width: int,
        sgd: Callable[[list[Tensor]], torch.optim.Optimizer],
    ):
        self.codes, self.split = codes, split
        among = codes[split.train]
        self.known, targets = np.unique(among[labelled(among)], return_inverse=True)
        self.targets = torch.from_numpy(targets)
        self.rows = torch.from_numpy(np.flatnonzero(labelled(among)))  # counted among the training rows
        self.now = [torch.zeros(shape, requires_grad=True) for shape in ((len(self.known), width), (len(self.known),))]
        self.optimizer = sgd(self.now)
        self.validation: list[float] = []
        self.best, self.epoch = self.now, 0

    def step(self, h: Float[Tensor, "m d"], batch: Int64[Tensor, " b"]) -> None:
        """One step on some of the labelled rows, given the embedding of all training rows."""
        self.optimizer.zero_grad()
        F.cross_entropy(F.linear(h[self.rows[batch]], *self.now), self.targets[batch]).backward()
        self.optimizer.step()

    def validate(self, h: Float[Tensor, "v d"]) -> None:
        """Ends an epoch: the classifier is kept if it is better than those before, or if there is no telling."""
        truth = self.codes[self.split.val]
        accuracy = share(self._predicted(h, self.now) == truth, labelled(truth))
        self.validation.append(accuracy)
        if math.isnan(accuracy) or accuracy > max(self.validation[:-1], default=-1.0):
            self.best, self.epoch = [each.detach().clone() for each in self.now], len(self.validation)

    def probe(self, h: Float[Tensor, "t d"]) -> SgdProbe:
        """What the classifier that was kept says of the test rows."""
        test = self.split.test
        scored = labelled(self.codes[test])
        return SgdProbe(
            rows=test[scored],
            truth=self.codes[test][scored],
            predicted=self._predicted(h, self.best)[scored],
            common=int(self.known[np.bincount(self.targets.numpy()).argmax()]),
            known=self.known,
            epoch=self.epoch,
            validation=tuple(self.validation),
        )

    def _predicted(self, h: Float[Tensor, "t d"], classifier: Sequence[Tensor]) -> Int64[np.ndarray, " t"]:
        return self.known[F.linear(h, *classifier).argmax(1).numpy()]


def _generator(seed: int, epoch: int) -> torch.Generator:
    state = np.random.SeedSequence((seed, epoch, VIEWS)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> 1))


def _told(progress: Callable[[int, int], None] | None, before: int, total: int) -> Callable[[int, int], None] | None:
    return progress and (lambda done, _: progress(before + done, total))

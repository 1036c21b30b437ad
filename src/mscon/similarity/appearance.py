"""Alike means: near in features that were there before training."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

from mscon.contrast import LinearTargets, TypeTargets
from mscon.contrast.sparse import distinct
from mscon.contrast.targets import whole_numbers

SAMPLE = 1024
"""Items on which the kernel's width is found, each beside as many others."""

HALVINGS = 60
"""Of the span from the coldest to the warmest kernel, in search of the width."""


@dataclass(frozen=True, eq=False)
class Appearance:
    """Alike means: near in features that were there before training: of the picture itself, or a teacher's.

        q_ij = exp(cos(x_i, x_j) / τ) / Σ_{k≠i} exp(cos(x_i, x_k) / τ)

    with x of the row's item. Another view of the same item, whose cosine of 1 would leave hardly anything to others,
    counts as the nearest other item of the batch does. (A relational distillation: as in SEED, Fang et al. 2021, arXiv
    2101.04731, but that the features are fixed and the pairs those of the batch.)

    **Arguments:**

    - `features`: x of every item, of any length; a row's value says which is its own. One of length 0 is as far from
      all.
    - `temperature`: τ of the features, above 0, not that of the projections.

    **Raises:** `ValueError` for a temperature that is not positive, and features that are not finite.
    """

    features: Float[Tensor, "n d"]
    temperature: float

    def __post_init__(self) -> None:
        if not self.temperature > 0.0 or not bool(self.features.isfinite().all()):
            raise ValueError(f"features must be finite, their temperature positive: {self.temperature}")

    @classmethod
    def of(
        cls, features: Float[Tensor, "n d"], *, bandwidth: float = 0.05, reference: Integer[Tensor, " m"] | None = None
    ) -> "Appearance":
        """With the τ at which an item's positives are as many as a share `bandwidth` of all items.

        Their number is e^H(q_i), in the geometric mean of a sample of items: of those that `reference` names, usually
        the training items, or of all. **Raises:** `ValueError` for a bandwidth that is not between 0 and 1, or fewer
        than three items.
        """
        among = features if reference is None else features[reference]
        if not 0.0 < bandwidth < 1.0 or len(among) < 3:
            raise ValueError(f"a bandwidth is between 0 and 1, of at least 3 items: {bandwidth}, {len(among)}")
        some = F.normalize(among[:: math.ceil(len(among) / SAMPLE)].double(), dim=1)
        cosines = (some @ some.T).fill_diagonal_(-torch.inf)
        wanted = math.log(max(1.0, bandwidth * (len(some) - 1)))
        low, high = math.log(1e-4), math.log(1e4)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            log_q = (cosines / math.exp(middle)).log_softmax(dim=1)
            entropy = -(log_q.exp() * log_q.clamp(min=-1e4)).sum(dim=1).mean()
            low, high = (low, middle) if entropy > wanted else (middle, high)
        return cls(features, math.exp((low + high) / 2))

    def targets(self, values: Integer[Tensor, " n"]) -> LinearTargets:
        """Targets from item numbers, the rows of `features`; a negative number is a row that takes no part.

        **Raises** `ValueError` for an item that has no features.
        """
        values = whole_numbers(values)
        rows = (values >= 0).nonzero().squeeze(1)
        items, types, _ = distinct(values[rows])
        if len(items) and int(items.max()) >= len(self.features):
            raise ValueError(f"item {int(items.max())} has no features: there are those of {len(self.features)} items")
        if self.features.device != values.device:  # once, and not at every step
            object.__setattr__(self, "features", self.features.to(values.device))
        x = F.normalize(self.features[items].double(), dim=1)
        below = (x @ x.T).fill_diagonal_(-torch.inf)
        # Counted from each item's nearest: to one that is far from all others nothing would be left.
        below = below - below.amax(dim=1, keepdim=True) if len(items) > 1 else torch.zeros_like(below)
        alike = (below.fill_diagonal_(0.0) / self.temperature).exp()
        return TypeTargets.of_matrix(rows, types, alike, batch=len(values))

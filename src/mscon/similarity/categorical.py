"""Alike means: the same label."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Int, Integer
from torch import Tensor

from mscon.arguments import check_tensor
from mscon.contrast import LabelTargets
from mscon.contrast.targets import whole_numbers


@dataclass(frozen=True, eq=False)
class Categorical:
    """Alike means: the same label. q_i is uniform over the other rows with row i's label.

    **Arguments:**

    - `class_weights`: how much an anchor of each class counts in the similarity's mean loss, ≥ 0; alike when left out.
      `balanced_weights` makes them from the classes' sizes.

    **Raises:** `ValueError` for weights that are no tensor (k,), below 0, or not finite.
    """

    class_weights: Float[Tensor, " k"] | None = None

    def __post_init__(self) -> None:
        weights = self.class_weights
        if weights is None:
            return
        check_tensor("class_weights", weights, "k")
        if not bool(((weights >= 0) & weights.isfinite()).all()):
            raise ValueError(f"class_weights must be numbers from 0 on: {weights}")

    def targets(self, values: Integer[Tensor, " n"]) -> LabelTargets:
        """Targets from integer codes, a negative code being a missing label."""
        return LabelTargets.of(values)

    def anchor_weights(self, values: Integer[Tensor, " n"]) -> Float[Tensor, " n"] | None:
        """The weight of each row as an anchor, 0 without a label; None when all are alike.

        **Raises:** `ValueError` for a class that has no weight, and codes that are no integers.
        """
        if self.class_weights is None:
            return None
        values = whole_numbers(values)
        if len(values) and int(values.max()) >= len(self.class_weights):
            raise ValueError(f"class {int(values.max())}, where there are {len(self.class_weights)} weights")
        return F.pad(self.class_weights.to(values.device), (0, 1))[values.clamp(min=-1)]


def balanced_weights(counts: Int[Tensor, " k"], balance: float) -> Float[Tensor, " k"]:
    """n_k^(−balance), scaled to a mean of 1 over the items: 0 counts items alike, 1 classes; 0 for an empty class."""
    raw = (counts.clamp(min=1).double() ** -balance).where(counts > 0, 0.0)
    return (raw * counts.sum() / (raw * counts).sum().clamp(min=1e-9)).float()

"""Alike means: having the same features, of those that were there before training."""

from dataclasses import dataclass

from jaxtyping import Float, Integer
from torch import Tensor

from mscon.arguments import check_tensor
from mscon.contrast import KeyTargets


@dataclass(frozen=True, eq=False)
class Appearance:
    """Alike means: having the same features, that were there before training: of the picture itself, or a teacher's.

        loss_i = −log exp(cos(z_i, x_i) / τ) / Σ_k exp(cos(z_i, x_k) / τ)        k over the items of the batch

    with x the features of the row's item. The projection, which is as wide as they are, learns to tell an item's
    features from those of the others, so what they hold stays in the embedding; with a linear head, where a linear
    probe finds it. There are no positives among the other items, and views share their item's features.

    Source: contrastive representation distillation (Tian, Krishnan and Isola 2020, arXiv 1910.10699), with the
    teacher's features as they are, and the items of the batch as the only negatives.

    **Arguments:** `features`: x of every item; a row's value says which is its own.

    **Raises:** `ValueError` for features that are no tensor (n, d) of finite floats.
    """

    features: Float[Tensor, "n d"]

    def __post_init__(self) -> None:
        check_tensor("features", self.features, "n", "d")
        if not (self.features.is_floating_point() and bool(self.features.isfinite().all())):
            raise ValueError(f"features must be finite floats: {self.features.dtype}")

    def targets(self, values: Integer[Tensor, " n"]) -> KeyTargets:
        """Targets from item numbers, the rows of `features`; a negative number is a row that takes no part.

        **Raises** `ValueError` for an item that has no features.
        """
        if self.features.device != values.device:  # once, and not at every step
            object.__setattr__(self, "features", self.features.to(values.device))
        return KeyTargets.of(values, self.features)

"""What every weighting returns."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Weights:
    """The objective is Σ_c weight_c · loss_c + penalty."""

    weight: Float[Tensor, " c"]
    penalty: Float[Tensor, ""]


def sum_to_count(weights: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
    """Scaled to sum to their number."""
    return weights * (len(weights) / weights.sum())

"""What every weighting returns."""

from dataclasses import dataclass
from numbers import Integral

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Weights:
    """The objective is Σ_c weight_c · loss_c + penalty."""

    weight: Float[Tensor, " c"]
    penalty: Float[Tensor, ""]


def check_similarities(count: object) -> None:
    """**Raises** `ValueError` for what is no number of similarities that a weighting could be for."""
    if not isinstance(count, Integral) or count < 1:
        raise ValueError(f"a weighting is for 1 similarity or more, given by their number, not {count!r}")


def sum_to_count(weights: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
    """Scaled to sum to their number."""
    return weights * (len(weights) / weights.sum())

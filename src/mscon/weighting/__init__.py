"""Weightings: how far each similarity is trusted.

A weighting sees, for each of C similarities in a batch, the mean loss over its anchors, the floor under it and the
loss of chance, and returns C weights. All but the paper's joint form return weights that sum to C, so that changing
the weighting does not change the length of the encoder's steps.

State moves in training mode only, once per call: call the objective once per optimiser step. A similarity without
anchors in a batch is skipped: what it has learned stays as it is, but for an optimiser's momentum.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from mscon.weighting.aggregated import Aggregated, Aggregator, gradient_products
from mscon.weighting.calibration import Classes, noise_share, relative_excess_of
from mscon.weighting.excess import Excess, Function, Trust
from mscon.weighting.fixed import Fixed
from mscon.weighting.uncertainty import Uncertainty
from mscon.weighting.weights import Weights

__all__ = [
    "Aggregated",
    "Aggregator",
    "AnyWeighting",
    "Classes",
    "Excess",
    "Fixed",
    "Function",
    "Trust",
    "Uncertainty",
    "WeightingChoice",
    "WeightingName",
    "Weights",
    "gradient_products",
    "new_weighting",
    "noise_share",
    "relative_excess_of",
]

AnyWeighting = Fixed | Uncertainty | Excess | Aggregated
"""What stands behind every choice of a weighting."""

WeightingName = Literal["equal", "uncertainty", "uncertainty-exact", "excess"]
"""A weighting of the package's own; those of TorchJD are named by `Aggregator`."""

WeightingChoice = WeightingName | Aggregator | Mapping[str, float] | AnyWeighting
"""A weighting by name, fixed weights by similarity, or one built by hand, such as `Uncertainty(2, paper=True)`."""


def new_weighting(choice: WeightingChoice, names: Sequence[str], *, temperatures: Sequence[float]) -> AnyWeighting:
    """The weighting that a choice means.

    **Arguments:**

    - `names`: of the similarities, in order.
    - `temperatures`: τ of each.

    **Raises:** `ValueError` for a choice that is none, or one for other similarities.
    """
    match choice:
        case "equal" | "uncertainty-exact":
            return Fixed([1.0] * len(names))
        case "uncertainty":
            return Uncertainty(len(names))
        case "excess":
            return Excess(len(names), temperatures=temperatures)
        case Mapping():
            if set(choice) != set(names):
                raise ValueError(f"weighting names {sorted(choice)}, the similarities are {sorted(names)}")
            return Fixed([choice[name] for name in names])
        case str() if choice in get_args(Aggregator):
            return Aggregated(len(names), choice)
        case Fixed() | Uncertainty() | Excess() | Aggregated():
            if choice.similarities != len(names):
                raise ValueError(f"the weighting is for {choice.similarities} similarities, there are {len(names)}")
            return choice
        case _:
            known = f"{', '.join((*get_args(WeightingName), *get_args(Aggregator)))}, a mapping or a module"
            raise ValueError(f"weighting must be {known}, not {choice!r}")

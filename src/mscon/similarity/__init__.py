"""Similarities: notions under which two items are alike, each turning a batch's values into targets.

One file per notion: the same label (`Categorical`), the same item (`Instance`), near in value (`Continuous`, and
`RankNContrast` as published), a tag in common (`Tags`), the same beginning of a path (`Hierarchy`), linked (`Pairs`),
having the same features, that were there before (`Appearance`).
Anything else with `targets(values)` is one, too.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor

from mscon.contrast import AnyTargets
from mscon.similarity.appearance import Appearance
from mscon.similarity.categorical import Categorical, balanced_weights
from mscon.similarity.continuous import Continuous
from mscon.similarity.hierarchy import Hierarchy
from mscon.similarity.instance import Instance
from mscon.similarity.pairs import Pairs
from mscon.similarity.rank_n_contrast import RankNContrast
from mscon.similarity.tags import Tags

__all__ = [
    "Appearance",
    "Categorical",
    "Continuous",
    "Hierarchy",
    "Instance",
    "Pairs",
    "RankNContrast",
    "Similarity",
    "Tags",
    "balanced_weights",
]


@runtime_checkable
class Similarity(Protocol):
    """Anything that turns the values of a batch into targets."""

    def targets(self, values: Tensor) -> AnyTargets:
        """What each row of a batch is pulled toward, its rows carrying `values`."""
        ...

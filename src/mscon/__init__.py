"""mscon: one embedding from several notions of similarity (MSCon, arXiv 2307.02712).

`MSConLoss` and what it is made of need torch alone and are all that a training loop of your own imports.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mscon.contrast import contrastive_loss, simclr_loss, supcon_loss
    from mscon.data import Catalog
    from mscon.loaded import load
    from mscon.micro_batch import micro_batched
    from mscon.model import MSConModel
    from mscon.objective import MSConLoss
    from mscon.recipe import Recipe
    from mscon.run import Run
    from mscon.similarity import Appearance, Categorical, Continuous, Hierarchy, Instance, Pairs, RankNContrast, Tags

__version__ = "0.1.0"

__all__ = [
    "Appearance",
    "Catalog",
    "Categorical",
    "Continuous",
    "Hierarchy",
    "Instance",
    "MSConLoss",
    "MSConModel",
    "Pairs",
    "RankNContrast",
    "Recipe",
    "Run",
    "Tags",
    "contrastive_loss",
    "load",
    "micro_batched",
    "simclr_loss",
    "supcon_loss",
]

# Looked up when first asked for: the loss alone shall not load an image library, nor `mscon --help` load torch.
_HOMES = {
    "Appearance": "mscon.similarity",
    "Catalog": "mscon.data",
    "Categorical": "mscon.similarity",
    "Continuous": "mscon.similarity",
    "Hierarchy": "mscon.similarity",
    "Instance": "mscon.similarity",
    "MSConLoss": "mscon.objective",
    "MSConModel": "mscon.model",
    "Pairs": "mscon.similarity",
    "RankNContrast": "mscon.similarity",
    "Recipe": "mscon.recipe",
    "Run": "mscon.run",
    "Tags": "mscon.similarity",
    "contrastive_loss": "mscon.contrast",
    "load": "mscon.loaded",
    "micro_batched": "mscon.micro_batch",
    "simclr_loss": "mscon.contrast",
    "supcon_loss": "mscon.contrast",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mscon' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

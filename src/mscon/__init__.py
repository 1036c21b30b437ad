"""mscon: one embedding from several notions of similarity (MSCon, arXiv 2307.02712).

`MSConLoss` and what it is made of need torch alone and are all that a training loop of your own imports.
"""

from mscon.contrast import contrastive_loss, simclr_loss, supcon_loss
from mscon.objective import MSConLoss
from mscon.similarity import Categorical, Instance

__version__ = "0.1.0.dev0"

__all__ = ["Categorical", "Instance", "MSConLoss", "contrastive_loss", "simclr_loss", "supcon_loss"]

"""The contrastive loss of one similarity: push away from all others, pull toward the targets.

For N unit projections z and target distributions q (rows sum to 1, q_ii = 0):

    push_i = log Σ_{j≠i} exp(z_i·z_j / τ)        the only quadratic part
    pull_i = z_i · Σ_j q_ij z_j / τ
    loss_i = push_i − pull_i

`targets` says what q is, `dense` is the whole equation as written, `tiled` computes push, `loss` puts the parts
together. Nothing here knows of images or files.
"""

from mscon.contrast.loss import AnchorLosses, Engine, contrastive_loss, simclr_loss, supcon_loss
from mscon.contrast.targets import LabelTargets, Targets

__all__ = ["AnchorLosses", "Engine", "LabelTargets", "Targets", "contrastive_loss", "simclr_loss", "supcon_loss"]

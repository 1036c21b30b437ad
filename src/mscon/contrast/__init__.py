"""The contrastive loss of one similarity: push away from all others, pull toward the targets.

For N unit projections z and target distributions q (rows sum to 1, q_ii = 0):

    push_i = log Σ_{j≠i} exp(z_i·z_j / τ)        the only quadratic part
    pull_i = z_i · Σ_j q_ij z_j / τ
    loss_i = push_i − pull_i

`targets` says what q is for labels, `type_targets` for what overlaps, nests or is linked, `kernel_targets` for numbers;
`rank_targets` is Rank-N-Contrast, which orders the others instead of giving them shares; in `key_targets` fixed vectors
stand where the others' projections do. `loss` puts push and pull together. push comes from one of three engines:
`dense` is the whole equation as written, `tiled` goes through it tile by tile with torch's own products, `triton_push`
with fused GPU kernels; `push` chooses. `precision` says how finely they multiply, `ranks` lets several processes share
one batch. Nothing here knows of images or files.
"""

from mscon.contrast.kernel_targets import KernelTargets
from mscon.contrast.key_targets import KeyTargets
from mscon.contrast.loss import (
    AnchorLosses,
    AnyTargets,
    Head,
    contrastive_loss,
    contrastive_losses,
    simclr_loss,
    supcon_loss,
)
from mscon.contrast.precision import Precision, product_precision
from mscon.contrast.push import Engine, check_engine
from mscon.contrast.rank_targets import RankTargets
from mscon.contrast.ranks import Ranks, Shares
from mscon.contrast.targets import LabelTargets, LinearTargets, Targets
from mscon.contrast.type_targets import TypeTargets
from mscon.contrast.unit import unit_rows

__all__ = [
    "AnchorLosses",
    "AnyTargets",
    "Engine",
    "Head",
    "KernelTargets",
    "KeyTargets",
    "LabelTargets",
    "LinearTargets",
    "Precision",
    "RankTargets",
    "Ranks",
    "Shares",
    "Targets",
    "TypeTargets",
    "check_engine",
    "contrastive_loss",
    "contrastive_losses",
    "product_precision",
    "simclr_loss",
    "supcon_loss",
    "unit_rows",
]

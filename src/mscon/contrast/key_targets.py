"""Fixed vectors in place of the others' projections: each row is pulled toward its own, and pushed from theirs."""

from dataclasses import dataclass
from math import log

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from mscon.contrast.blocks import in_blocks
from mscon.contrast.targets import KnownCodes


@dataclass(frozen=True)
class KeyTargets:
    """A key for each item of a batch, which its rows share: a vector of unit length that is not learned.

    - `batch`, `rows`: N, and the positions of the M rows that have a key, ascending.
    - `keys`: of the items of the batch, each once.
    - `own`: which of them is each row's.
    """

    batch: int
    rows: Int[Tensor, " m"]
    keys: Float[Tensor, "k d"]
    own: Int[Tensor, " m"]

    @classmethod
    def of(cls, values: Integer[Tensor, " n"], features: Float[Tensor, "items d"]) -> "KeyTargets":
        """The targets of item numbers, the rows of `features`; a negative number is a row that takes no part.

        **Raises:** `ValueError` for an item that has no features.
        """
        known = KnownCodes.of(values)
        if len(known.codes) and (last := int(known.codes[-1])) >= len(features):
            raise ValueError(f"item {last} has no features: there are those of {len(features)} items")
        return cls(known.batch, known.rows, F.normalize(features[known.codes], dim=1), known.places)

    @property
    def anchors(self) -> Bool[Tensor, " m"]:
        """All rows, if there is another key than their own."""
        return torch.full_like(self.own, len(self.keys) > 1, dtype=torch.bool)


def key_losses(
    z: Float[Tensor, "m d"], targets: KeyTargets, *, temperature: float, own: slice = slice(None)
) -> tuple[Float[Tensor, " own"], Float[Tensor, " own"], Float[Tensor, " own"]]:
    """The loss of each row in `own`, the least it can be, and the one of chance.

        loss_i = log Σ_k exp(z_i·x_k/τ) − z_i·x_i/τ        k over the items of the batch, x_i the key of i's own
        floor_i = 0        chance_i = log K

    O(M·K·d) time and O(M·d) memory: the scores are made block by block, and anew in the backward pass.

    **Arguments:** `z`, M unit rows; `targets` over them, K ≥ 2 keys as wide as z; `temperature` τ > 0; `own`, the rows
    wanted.

    **Raises:** `ValueError` for keys of another width.
    """
    if z.shape[1] != targets.keys.shape[1]:
        raise ValueError(
            f"projections of {z.shape[1]} numbers and features of {targets.keys.shape[1]}: they must be as wide"
        )
    keys = targets.keys.to(z)

    def of_block(rows: slice) -> Tensor:
        return F.cross_entropy(z[rows] @ keys.mT / temperature, targets.own[rows], reduction="none")

    losses = in_blocks(of_block, own, rows=len(z), width=len(keys))
    loss = torch.cat(losses) if losses else z[own].sum(dim=1)
    return loss, torch.zeros_like(loss), torch.full_like(loss, log(len(keys)))

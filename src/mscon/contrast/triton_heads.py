"""The projections of several similarities side by side, as the Triton kernels read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor

from mscon.contrast.precision import Precision

LIMBS: dict[Precision, int] = {"float32": 3, "tf32": 2, "bfloat16": 1}
"""bfloat16 numbers that add up to one number: 24, 16 and 8 bits, for 6, 3 and 1 products on the tensor cores.

Two stand where TF32 does (11 bits), as in PyTorch's "high" float32 matmul precision, which may be either.
"""

WIDEST = 256
"""Columns of z that one tile can hold; beyond it a tile of each operand no longer fits the shared memory."""

HEAD_ROWS = 128
"""A head is padded with rows of zeros to a multiple of this, the most columns of a tile: no load needs a mask."""


@dataclass(frozen=True)
class PackedHeads:
    """The unit rows of several heads, one head after the other, as the kernels read them.

    A tensor in this layout has one entry per row of `z`; `pack` and `unpack` go between it and one tensor per head.

    - `z`: (rows, limbs, width) bfloat16, the projections as sums over limbs; zeros between heads and beyond column d.
    - `sizes`, `widths`: rows and columns of each head.
    - `temperatures`: τ of each head.
    - `values`, `bandwidths`: of continuous labels, v_i of each row and h of each head; without them, none.
    """

    z: Float[Tensor, "rows limbs width"]
    sizes: tuple[int, ...]
    widths: tuple[int, ...]
    temperatures: tuple[float, ...]
    values: Float[Tensor, " rows"] | None = None
    bandwidths: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        heads: Sequence[Float[Tensor, "_ _"]],
        temperatures: Sequence[float],
        *,
        precision: Precision = "float32",
        values: Sequence[Float[Tensor, " _"]] | None = None,
        bandwidths: Sequence[float] = (),
    ) -> "PackedHeads":
        """Copies of the heads' rows; the widest head sets the width of all.

        **Arguments:**

        - `heads`: one or more, of unit rows, on one device, with any strides.
        - `temperatures`: τ > 0 of each.
        - `precision`: of the products.
        - `values`, `bandwidths`: v_i of each row and h > 0 of each head, for `push_forward` to sum the kernel too.

        **Raises:** `ValueError` for float64 (heads or precision) and for more than 256 columns.
        """
        _check(heads, precision)
        sizes, widths = tuple(len(head) for head in heads), tuple(head.shape[1] for head in heads)
        rows, width = sum(map(_padded, sizes)), max(map(tile_width, widths))
        z = torch.zeros(rows, LIMBS[precision], width, dtype=torch.bfloat16, device=heads[0].device)
        packed = cls(z, sizes, widths, tuple(temperatures))
        for part, head in zip(packed.unpack(z), heads, strict=True):
            _write_limbs(part[:, :, : head.shape[1]], head.detach())
        if values is None:
            return packed
        return cls(z, sizes, widths, packed.temperatures, packed.pack(values), tuple(bandwidths))

    def pack(self, vectors: Sequence[Float[Tensor, " _"]]) -> Float[Tensor, " rows"]:
        """One number per row of each head in the layout of `z`, float32; zeros between the heads."""
        packed = self.z.new_zeros(len(self.z), dtype=torch.float32)
        for part, vector in zip(self.unpack(packed), vectors, strict=True):
            part.copy_(vector.detach())
        return packed

    def unpack(self, packed: Float[Tensor, "rows *rest"]) -> list[Float[Tensor, "_ *rest"]]:
        """The rows of each head: views."""
        return [packed[start : start + size] for start, size in zip(self.starts, self.sizes, strict=True)]

    @property
    def starts(self) -> list[int]:
        """The row at which each head starts."""
        return [0, *accumulate(map(_padded, self.sizes))][: len(self.sizes)]


def tile_width(width: int) -> int:
    """Columns of a tile that holds d: a power of two, as Triton has them, and 16 at least, as tensor cores do."""
    return max(16, 1 << max(0, width - 1).bit_length())


def _check(heads: Sequence[Tensor], precision: Precision) -> None:
    if precision not in LIMBS or any(head.dtype == torch.float64 for head in heads):
        raise ValueError("the triton engine computes in float32 or less: take engine='tiled' for float64")
    widest = max(head.shape[1] for head in heads)
    if widest > WIDEST:
        raise ValueError(f"the triton engine takes up to {WIDEST} columns, not {widest}: take engine='tiled'")


def _padded(size: int) -> int:
    return -(-size // HEAD_ROWS) * HEAD_ROWS


def _write_limbs(limbs: Tensor, z: Tensor) -> None:
    """Each limb rounds what the ones before it left over; the differences are exact."""
    limbs[:, 0] = z
    for limb in range(1, limbs.shape[1]):
        z = z.float() - limbs[:, limb - 1].float()
        limbs[:, limb] = z

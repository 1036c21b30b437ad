"""How finely the products of projections are multiplied."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

Precision = Literal["float64", "float32", "tf32", "bfloat16"]
"""Of the products' inputs; their sums are kept in float32 or, for float64, in float64."""

COARSEST_TEMPERATURE = 0.05
"""Below it no bfloat16: a rounded product of unit rows is off by 2⁻⁸ at worst, and that is divided by τ."""


def product_precision(z: Tensor, temperature: float) -> Precision:
    """What the caller allows for projections z, before they are raised to float32.

    - float64 for float64.
    - bfloat16 where z is bfloat16, autocast to bfloat16 is on or, on a CPU, torch's own setting says so
      (`torch.set_float32_matmul_precision("medium")`), and τ ≥ 0.05.
    - TF32 on a CUDA device where torch's setting says so, z or autocast is float16, or τ is too low for bfloat16.
    - float32 else.
    """
    if z.dtype == torch.float64:
        return "float64"
    device = z.device.type
    autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else z.dtype
    coarse = torch.bfloat16 in (z.dtype, autocast) or _setting(device) == "bf16"
    if coarse and temperature >= COARSEST_TEMPERATURE:
        return "bfloat16"
    if device == "cuda" and (coarse or torch.float16 in (z.dtype, autocast) or _setting(device) == "tf32"):
        return "tf32"
    return "float32"


@contextmanager
def products(device: torch.device, precision: Precision) -> Generator[None]:
    """Inside, autocast is off, and on a CPU torch multiplies float32 matrices as `precision` says.

    That setting is torch's own, one for the whole process; it is touched only where it must change, and put back. A
    CPU without bfloat16 instructions goes on in float32. On other devices torch's setting stands as it is, and so it
    does in the backward pass of what autograd differentiates: of the dense engine and of Rank-N-Contrast.
    """
    wanted, before = {"bfloat16": "bf16"}.get(precision, "ieee"), _setting(device.type)
    backend = _backend(device.type)
    changes = device.type == "cpu" and precision != "float64" and (before == "bf16") != (wanted == "bf16")
    with torch.autocast(device.type, enabled=False):
        if changes:
            backend.fp32_precision = wanted
        try:
            yield
        finally:
            if changes:
                backend.fp32_precision = "none"  # what is inherited stays inherited
                if _setting(device.type) != before:
                    backend.fp32_precision = before


def _backend(device: str) -> Any:
    return torch.backends.cuda.matmul if device == "cuda" else torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]


def _setting(device: str) -> str:
    """How torch multiplies float32 matrices there: none (as ieee), ieee, tf32 or bf16."""
    return str(_backend(device).fp32_precision)

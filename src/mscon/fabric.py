"""Where a training runs: its device, its precision, and the processes that torchrun started for it."""

import os
from typing import Any

import torch

from mscon.connect import connect
from mscon.errors import UserError
from mscon.heartbeat import timeout
from mscon.lightning import Fabric
from mscon.recipe import Recipe

SMALLEST_BF16 = 32
"""Pixels of an image's side that bfloat16 takes on a CPU, see `precision`."""


def new_fabric(recipe: Recipe) -> Fabric:
    """The device and precision of a training, and all the processes that torchrun started for it, connected."""
    settings = recipe.training
    device = accelerator(settings.device)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    if processes > 1:  # a process that hangs is named by its heartbeat: this ends what is outside of the training
        connect("nccl" if device == "cuda" else "gloo", seconds=2 * timeout())
    fabric = Fabric(
        accelerator=device,
        strategy="ddp" if processes > 1 else "auto",
        devices=here,
        num_nodes=processes // here,
        precision=precision(settings.precision, device, size=recipe.image.size),
    )
    fabric.launch()
    return fabric


def accelerator(wish: str) -> str:
    """`auto` as cuda where there is a device, else cpu; any other wish as it is."""
    if wish == "cuda" and not torch.cuda.is_available():
        raise UserError("training.device is cuda, but torch finds no CUDA device here; leave it out, or set it to cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if wish == "auto" else wish


def precision(wish: str, device: str, *, size: int) -> Any:
    """`auto` as bf16-mixed where the device multiplies bfloat16 in hardware, else 32-true; any other wish as it is.

    On a CPU, images under 32 px stay in float32, and wishing bf16-mixed for them is refused: where a map has shrunk to
    one cell, the bfloat16 gradient of a 3×3 convolution with stride 2 holds memory that was never written (torch
    2.15 with oneDNN; every 3×3 filter at stride 2 on a 1×1 map, and no other case of 1–4 cells, strides 1 and 2).
    """
    if wish == "bf16-mixed" and device == "cpu" and size < SMALLEST_BF16:
        raise UserError(
            f"training.precision is bf16-mixed, which on a CPU needs images of {SMALLEST_BF16} px or more, not {size}; "
            "below that some gradients come out at random. Set it to 32-true, or leave it out"
        )
    if wish != "auto":
        return wish
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # older torch cannot tell
    return "bf16-mixed" if capabilities.get("amx_bf16") and size >= SMALLEST_BF16 else "32-true"

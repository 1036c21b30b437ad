"""A model as one graph from pixels to vectors: what the files that run without mscon are made from."""

import json
from collections.abc import Sequence
from copy import deepcopy

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional as F

from mscon import __version__
from mscon.data.decode import Fit
from mscon.data.views import IMAGENET_MEAN, IMAGENET_STD
from mscon.errors import UserError, first_line, nearest
from mscon.item_uncertainty import variance
from mscon.model import MSConModel

INPUT = "images"
EMBEDDING = "embedding"

DYNAMIC = ({0: Dim("batch")},)
"""The axes of the input that may be of any length: how many images there are."""

EXAMPLES = 2
"""Images that the graph is traced with: torch takes an axis of length 1 for one that is always so."""


class Program(nn.Module):
    """images → embedding, projections, uncertainties, as `mscon embed` has them, from pixels as an image file's reader
    gives them.

    **Arguments:**

    - `model`: a model for images of three channels.
    - `similarities`: those whose heads it has.
    """

    mean: Tensor
    factor: Tensor

    def __init__(self, model: MSConModel, similarities: Sequence[str]):
        super().__init__()
        self.similarities = tuple(similarities)
        self.columns = [model.similarities.index(name) for name in similarities]
        self.encoder = model.encoder
        self.trunk = nn.Identity() if model.trunk is None else model.trunk
        self.heads = nn.ModuleList(model.heads[column] for column in self.columns)
        self.uncertainty = model.uncertainty
        mean, std = (255 * torch.tensor(each, dtype=torch.float64) for each in (IMAGENET_MEAN, IMAGENET_STD))
        self.register_buffer("mean", mean.float(), persistent=False)
        self.register_buffer("factor", (1 / std).float(), persistent=False)
        self.eval()

    def forward(self, images: UInt8[Tensor, "n s s 3"]) -> dict[str, Float[Tensor, "n _"] | Float[Tensor, " n"]]:
        """`embedding` (N, D); `z_<similarity>` (N, d), rows of unit length; with an uncertainty head also
        `uncertainty_<similarity>` (N).
        """
        pixels = (images.float() - self.mean) * self.factor
        h = self.encoder(pixels.permute(0, 3, 1, 2)).float()
        outputs = {EMBEDDING: h}
        trunk = self.trunk(h)
        for name, head in zip(self.similarities, self.heads, strict=True):
            outputs[f"z_{name}"] = F.normalize(head(trunk).float(), dim=1)
        if self.uncertainty is not None:
            variances = variance(self.uncertainty(h).float())
            outputs |= {
                f"uncertainty_{name}": variances[:, column]
                for name, column in zip(self.similarities, self.columns, strict=True)
            }
        return outputs


def traced(model: MSConModel, similarities: Sequence[str]) -> ExportedProgram:
    """The graph of a model with these heads, for any number of images.

    **Raises:** `UserError` for a model whose images have no known size or no three channels, or that torch cannot
    trace.
    """
    size = model.architecture.image_size
    if size is None or model.architecture.in_chans != 3:
        raise UserError(
            "only models of colour images of one size are exported: name `image_size` and leave `in_chans` at 3 in the"
            " model's architecture"
        )
    example = torch.zeros(EXAMPLES, size, size, 3, dtype=torch.uint8)
    program = Program(deepcopy(model).cpu(), similarities)  # the caller's keeps its device and its mode
    try:
        graph = torch.export.export(program, (example,), dynamic_shapes=DYNAMIC, strict=False)
    except Exception as error:  # whatever an encoder does that a graph cannot hold
        raise UserError(
            f"backbone {model.architecture.backbone!r}: torch.export cannot trace it ({first_line(error)}). It still"
            " goes into files that keep weights alone: --format timm or hub"
        ) from error
    for node in graph.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names files of the machine that it was traced on
    return graph


def output_names(model: MSConModel, similarities: Sequence[str]) -> list[str]:
    """Of a program's outputs, in its order."""
    uncertain = [] if model.uncertainty is None else [f"uncertainty_{name}" for name in similarities]
    return [EMBEDDING, *(f"z_{name}" for name in similarities), *uncertain]


def chosen(model: MSConModel, similarities: Sequence[str] | None) -> tuple[str, ...]:
    """The similarities whose heads are exported: those named, or all. **Raises** `UserError` for an unknown one."""
    for name in similarities or ():
        if name not in model.similarities:
            hint = nearest(name, model.similarities)
            raise UserError(
                f"--head {name}: there is no such head; the model has {', '.join(model.similarities)}.{hint}"
            )
    return tuple(dict.fromkeys(similarities or model.similarities))


def facts(model: MSConModel, similarities: Sequence[str], fit: Fit) -> dict[str, str]:
    """What a file says of itself: key → text, which is JSON where it is a list."""
    size = model.architecture.image_size
    return {
        "mscon.version": __version__,
        "image.size": str(size),
        "image.fit": fit,
        INPUT: f"uint8 (N, {size}, {size}, 3): RGB, 0 to 255, rows from the top",
        "similarities": json.dumps(list(similarities), ensure_ascii=False),
    }

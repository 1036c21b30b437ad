"""Encoders: a timm backbone with its own pooling, or with an embedding gathered from several of its stages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any, Literal

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mscon.errors import UserError, nearest

Norm = Literal["batch", "group", "frozen"]
"""What features are normalised by.

- `"batch"`: the statistics of the rows that go through the encoder together (batch normalisation).
- `"group"`: those of each image alone: GroupNorm in place of every batch normalisation of a timm backbone, LayerNorm
  in what is built on top of it.
- `"frozen"`: a timm backbone keeps its batch normalisation and the statistics stored in it, which never move; LayerNorm
  in what is built on top of it. For backbones that come with statistics: pretrained ones.

Under the last two no row depends on another, so that a batch may be cut into micro-batches of any size.
"""


@dataclass(frozen=True)
class Stage:
    """What one stage of a backbone gives to the embedding.

    - `stage`: which; −1 is the last and coarsest, −2 the one before it.
    - `grid`: its map is averaged over grid × grid cells, so that the embedding knows where something is.
    """

    stage: int
    grid: int


class StagesEncoder(nn.Module):
    """Embedding h = Norm[ cells(x_s) of every stage s, side by side ], x_s the stage's map.

    Average pooling of the last stage keeps what the trained similarities need and forgets the rest; early stages and
    coarse positions keep what a label that nobody trained on may need: edges, texture, layout.

    **Arguments:**

    - `backbone`: a module that returns its stages' maps, (B, C_s, H_s, W_s) each, finest first.
    - `channels`: C_s of every stage.
    - `stages`: which to gather, and how finely.
    - `norm`: batch normalisation for `"batch"`, else a LayerNorm of every stage's cells; None for none.
    """

    def __init__(
        self, backbone: nn.Module, channels: Sequence[int], stages: Sequence[Stage], *, norm: Norm | None = "batch"
    ):
        super().__init__()
        self.backbone = backbone
        self.stages = tuple(stages)
        # Some transformers give their maps as (B, H, W, C).
        self.channels_come_last = getattr(backbone, "output_fmt", "NCHW") == "NHWC"
        widths = [channels[each.stage] * each.grid**2 for each in self.stages]
        self.width = sum(widths)
        if norm is None:
            self.norm = nn.Identity()
        else:
            self.norm = nn.BatchNorm1d(self.width) if norm == "batch" else _StageNorms(widths)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """The embedding of a batch of normalised images."""
        maps = self.backbone(images)
        if self.channels_come_last:
            maps = [each.permute(0, 3, 1, 2) for each in maps]
        cells = [F.adaptive_avg_pool2d(maps[each.stage], each.grid).flatten(1) for each in self.stages]
        return self.norm(torch.cat(cells, dim=1).float())


class _StageNorms(nn.Module):
    """A LayerNorm of every stage: one over all of them would leave little of a stage whose maps are small numbers."""

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        self.widths = list(widths)
        self.stages = nn.ModuleList(nn.LayerNorm(width) for width in widths)

    def forward(self, cells: Tensor) -> Tensor:
        parts = cells.split(self.widths, dim=1)
        return torch.cat([norm(part) for norm, part in zip(self.stages, parts, strict=True)], dim=1)


def build_encoder(
    backbone: str,
    *,
    stages: Sequence[Stage] = (),
    image_size: int | None = None,
    in_chans: int = 3,
    pretrained: bool = False,
    norm: Norm = "batch",
    embedding_dim: int | None = None,
    embedding_norm: bool = True,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """A timm backbone from images to (B, D) embeddings.

    **Arguments:**

    - `backbone`: timm's name.
    - `stages`: gather the embedding from these; with none of them it is the backbone's own pooled output.
    - `image_size`: side in pixels, for backbones that are built for one size.
    - `in_chans`: channels of an image.
    - `pretrained`: start from timm's weights, which are downloaded.
    - `norm`: see `Norm`; a backbone without batch normalisation keeps what it has.
    - `embedding_dim`: map what is there linearly to this width; left out, it is the embedding as it is.
    - `embedding_norm`: whether what the stages give is normalised, see `StagesEncoder`.
    - `options`: passed on to `timm.create_model`.

    **Raises:** `UserError` for a name that timm does not know (with the nearest), weights that cannot be had, or
    stages that the backbone does not have.
    """
    if not timm.is_model(backbone.split("/")[-1].split(".")[0]) and not backbone.startswith("hf-hub:"):
        raise UserError(f"timm has no backbone named {backbone!r}.{nearest(backbone, timm.list_models())}")
    wish: dict[str, Any] = {"features_only": True} if stages else {"num_classes": 0}
    wish |= {"pretrained": pretrained, "in_chans": in_chans, **(options or {})}
    module: Any = create_backbone(backbone, image_size=image_size, **wish)[0]
    if norm == "group":
        module = _group_normed(module)
    if not stages:
        return module if embedding_dim is None else nn.Sequential(module, nn.Linear(module.num_features, embedding_dim))
    channels: list[int] = module.feature_info.channels()
    if absent := [each.stage for each in stages if not -len(channels) <= each.stage < 0]:
        raise UserError(f"backbone {backbone!r} has stages −1 to −{len(channels)}, but model.stages names {absent}")
    encoder = StagesEncoder(module, channels, stages, norm=norm if embedding_norm else None)
    return encoder if embedding_dim is None else nn.Sequential(encoder, nn.Linear(encoder.width, embedding_dim))


def create_backbone(backbone: str, *, image_size: int | None, **wish: Any) -> tuple[Any, dict[str, Any]]:
    """timm's model, and the options that it was made with: the wishes, and `img_size` where it is built for one size.

    **Raises:** `UserError` with what timm says when it cannot make it.
    """
    try:
        try:
            sized: dict[str, Any] = {"img_size": image_size, **wish}
            return timm.create_model(backbone, **sized), sized
        except TypeError:  # a convolutional backbone takes any size and no img_size
            return timm.create_model(backbone, **wish), wish
    except Exception as error:  # timm raises whatever its hub client or the model's constructor raises
        what = "make it with its pretrained weights" if wish.get("pretrained") else "make it"
        raise UserError(f"backbone {backbone!r}: timm could not {what}: {error}") from error


def _group_normed(module: nn.Module) -> nn.Module:
    """The module with GroupNorm (Wu and He 2018, arXiv 1803.08494) for batch normalisation, scales and shifts kept:
    some blocks start with a scale of 0.
    """
    if not isinstance(module, _BatchNorm):
        for name, child in module.named_children():
            setattr(module, name, _group_normed(child))
        return module
    channels = module.num_features
    # 32 groups as in the paper, but of 4 channels at least: on a map of one cell a channel alone would become 0.
    groups = gcd(channels, max(1, min(32, channels // 4)))
    norm = nn.GroupNorm(groups, channels, eps=module.eps, affine=module.affine)
    if module.affine:
        norm.weight, norm.bias = module.weight, module.bias
    after = list(module.children())  # timm has batch normalisation with dropout and activation in it
    return nn.Sequential(norm, *after) if after else norm

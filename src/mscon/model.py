"""The model: an encoder (backbone → embedding h) and one projection head per similarity (h → z, unit length)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mscon.architecture import LOADING, Architecture, Heads
from mscon.data.views import normalize
from mscon.encoder import Norm, Stage, build_encoder
from mscon.errors import UserError, nearest
from mscon.files import save_tensors, write_whole
from mscon.hub import HubModel
from mscon.item_uncertainty import variance

FORMAT = "mscon model 1"
"""The one key of a model file's metadata; its value is the architecture. One key, for safetensors keeps no order."""

LOG_VARIANCE = "\0log σ²"
"""Where the uncertainty head's output stands among the projections that a model returns; no similarity's name."""

EMBEDDING = "\0h"
"""Where the embedding stands among them, if it is asked for."""

UNCERTAINTY_WIDTH = 64


class MSConModel(nn.Module, HubModel):
    """One encoder and a projection head per similarity; from and to folders and the Hub as `mscon.hub.HubModel` does.

    **Arguments:**

    - `encoder`: any module from a batch to (B, D) floats; `build_model` makes one from timm.
    - `architecture`: its description.
    """

    def __init__(self, encoder: nn.Module, architecture: Architecture):
        super().__init__()
        self.encoder = encoder
        self.architecture = architecture
        dims = architecture.head_dims.values()
        match architecture.heads:
            case "separate":
                self.trunk = None
                self.heads = nn.ModuleList(
                    _head(architecture, dim, architecture.own_layers.get(name, architecture.head_layers))
                    for name, dim in architecture.head_dims.items()
                )
            case "shared" | "masked" as which:
                if len(set(dims)) > 1:
                    raise ValueError(f"heads that are {which} have one width, not {architecture.head_dims}")
                self.trunk = _head(architecture, min(dims), architecture.head_layers)
                self.heads = nn.ModuleList(nn.Identity() if which == "shared" else Mask(dim) for dim in dims)
        self.uncertainty = _uncertainty_head(architecture) if architecture.uncertainty else None
        self.returns_embedding = False
        self.silent: frozenset[str] = frozenset()

    @property
    def similarities(self) -> tuple[str, ...]:
        """The names of the heads."""
        return tuple(self.architecture.head_dims)

    def train(self, mode: bool = True) -> "MSConModel":
        """Training or evaluation mode; batch normalisation that is frozen stays in evaluation mode."""
        super().train(mode)
        if self.architecture.norm == "frozen":
            for module in self.encoder.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        """Projections of every similarity, name → (B, d) floats, not yet of unit length: what `MSConLoss` takes.

        With an uncertainty head there is one entry more, `LOG_VARIANCE`: (B, C), a column for each similarity. It reads
        the embedding and has no say in it. With `returns_embedding` set there is `EMBEDDING`, (B, D), for an objective
        that looks at gradients there. The heads of the similarities in `silent` have no say in the embedding either.
        """
        h = self.encoder(batch)
        if self.returns_embedding:
            h = h.float()  # what is widened on its way out would not be what the heads have seen
        outputs = self.project_all(h)
        if self.uncertainty is not None:
            outputs[LOG_VARIANCE] = self.uncertainty(h.detach())
        return outputs | ({EMBEDDING: h} if self.returns_embedding else {})

    def project_all(self, h: Float[Tensor, "n e"]) -> dict[str, Tensor]:
        """Projections of every similarity from embeddings, with their graph, which for those in `silent` ends at h."""
        if self.trunk is not None:
            h = self.trunk(h)
        read = {name: h.detach() if name in self.silent else h for name in self.similarities}
        return {name: head(read[name]) for name, head in zip(self.similarities, self.heads, strict=True)}

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Float[Tensor, "n d"]:
        """The shared embedding h, in evaluation mode, float32.

        **Arguments:** `images`, (N, 3, H, W) uint8 in [0, 255], which are normalised here; anything else is passed to
        the encoder as it is.
        """
        return _evaluating(self, self.encoder, self._normalized(images))

    @torch.inference_mode()
    def project(self, images: Tensor, similarity: str) -> Float[Tensor, "n d"]:
        """The projections z under one similarity, rows of unit length.

        **Raises:** `UserError` for a similarity that the model has no head for.
        """
        self._head_of(similarity)
        return self.project_embedding(self.embed(images), similarity)

    @torch.inference_mode()
    def project_embedding(self, h: Float[Tensor, "n e"], similarity: str) -> Float[Tensor, "n d"]:
        """The same from embeddings that are already there."""
        head = self._head_of(similarity)
        return F.normalize(_evaluating(self, head if self.trunk is None else nn.Sequential(self.trunk, head), h), dim=1)

    @torch.inference_mode()
    def item_uncertainty(self, h: Float[Tensor, "n e"]) -> dict[str, Float[Tensor, " n"]]:
        """σ² of each item under each similarity, from embeddings: the relative excess to be expected of it, about 0
        (plain to see) … 1 (as good as chance). Empty without an uncertainty head.
        """
        if self.uncertainty is None:
            return {}
        variances = variance(_evaluating(self, self.uncertainty, h))
        return dict(zip(self.similarities, variances.unbind(dim=1), strict=True))

    def save(self, path: Path) -> None:
        """Write weights and architecture as one safetensors file, whole or not at all."""
        # Copies, for safetensors refuses tensors that share their memory, as tied weights do.
        weights = {name: tensor.to("cpu", copy=True).contiguous() for name, tensor in self.state_dict().items()}
        metadata = {FORMAT: json.dumps(asdict(self.architecture))}
        write_whole(path, lambda aside: save_tensors(weights, aside, metadata))

    @classmethod
    def load(cls, path: Path, *, encoder: nn.Module | None = None) -> "MSConModel":
        """A saved model on the CPU, in evaluation mode.

        **Arguments:**

        - `path`: the safetensors file.
        - `encoder`: needed for a model that was built around a module of the user's own: the same module, its weights
          are replaced.

        **Raises:** `UserError` for a file that is missing, no model of ours, or does not fit its own description.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata: Mapping[str, str] = file.metadata() or {}
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError:
            raise UserError(f"{path}: there is no such model; has the run been trained?") from None
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: not a model that can be read: {error}") from None
        if FORMAT not in metadata:
            raise UserError(f"{path}: weights of something else: their metadata has no {FORMAT!r}")
        try:
            architecture = Architecture.from_json(metadata[FORMAT])
            _check_sizes(architecture, weights, own_encoder=encoder is not None)
            _check_numbers(weights)
            model = cls(encoder if encoder is not None else _encoder(architecture, path), architecture)
            model.load_state_dict(weights)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{path}: the weights do not fit the model they describe: {error}") from None
        return model.eval()

    def _head_of(self, similarity: str) -> nn.Module:
        if similarity not in self.similarities:
            hint = nearest(similarity, self.similarities)
            raise UserError(f"no head for {similarity!r}; the model has {', '.join(self.similarities)}.{hint}")
        return self.heads[self.similarities.index(similarity)]

    def _normalized(self, images: Tensor) -> Tensor:
        images = images.to(next(self.parameters()).device)
        return normalize(images) if images.dtype == torch.uint8 else images


def build_model(
    backbone: str,
    similarities: Mapping[str, int],
    *,
    image_size: int,
    in_chans: int = 3,
    stages: Sequence[Stage] = (),
    pretrained: bool = False,
    head_layers: int = 2,
    own_layers: Mapping[str, int] | None = None,
    head_width: int | None = None,
    head_norm: bool = False,
    norm: Norm = "batch",
    uncertainty: bool = False,
    heads: Heads = "separate",
    embedding_dim: int | None = None,
    embedding_norm: bool = True,
    backbone_options: Mapping[str, Any] | None = None,
) -> MSConModel:
    """A model around a timm backbone.

    **Arguments:**

    - `backbone`, `stages`, `image_size`, `in_chans`, `pretrained`, `norm`, `backbone_options`: see `build_encoder`, and
      so for `embedding_dim` and `embedding_norm`.
    - `similarities`: name → projection width.
    - `head_layers`, `head_width`, `head_norm`: of the projection heads; hidden width is the embedding's when None.
    - `own_layers`: similarity → layers of its head in place of `head_layers`.
    - `uncertainty`: add a head that tells how uncertain each similarity is of an item.
    - `heads`: see `Heads`.

    **Raises:** `UserError` as `build_encoder` does, and for a backbone that such small images are not enough for.
    """
    options = dict(backbone_options or {})
    encoder = build_encoder(
        backbone,
        stages=stages,
        image_size=image_size,
        in_chans=in_chans,
        pretrained=pretrained,
        norm=norm,
        embedding_dim=embedding_dim,
        embedding_norm=embedding_norm,
        options=options,
    )
    try:
        with torch.inference_mode():
            embedding = encoder.eval()(torch.zeros(1, in_chans, image_size, image_size))
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"backbone {backbone!r} does not take images of {image_size} px: {error}") from error
    architecture = Architecture(
        backbone=backbone,
        embedding_dim=embedding.shape[1],
        head_dims=dict(similarities),
        head_layers=head_layers,
        head_width=head_width,
        head_norm=head_norm,
        image_size=image_size,
        in_chans=in_chans,
        stages=tuple(stages),
        backbone_options={key: value for key, value in options.items() if key not in LOADING},
        norm=norm,
        uncertainty=uncertainty,
        heads=heads,
        embedding_norm=embedding_norm,
        embedding_map=embedding_dim is not None,
        own_layers={name: layers for name, layers in (own_layers or {}).items() if layers != head_layers},
    )
    return MSConModel(encoder, architecture).train()


def _encoder(architecture: Architecture, path: Path) -> nn.Module:
    if architecture.backbone is None:
        raise UserError(f"{path}: built around a module of your own: pass it as `encoder`")
    return build_encoder(
        architecture.backbone,
        stages=architecture.stages,
        image_size=architecture.image_size,
        in_chans=architecture.in_chans,
        norm=architecture.norm,
        embedding_dim=architecture.embedding_dim if architecture.embedding_map else None,
        embedding_norm=architecture.embedding_norm,
        options=architecture.backbone_options,
    )


def _check_numbers(weights: Mapping[str, Tensor]) -> None:
    for name, each in weights.items():
        if each.is_floating_point() and each.isnan().any():
            raise ValueError(f"{name} holds NaN")


def _check_sizes(architecture: Architecture, weights: Mapping[str, Tensor], *, own_encoder: bool) -> None:
    """**Raises** `ValueError` for weights of other sizes than the architecture's, before memory is taken for these."""
    with torch.device("meta"):  # shapes alone
        try:
            encoder = nn.Identity() if own_encoder or architecture.backbone is None else _encoder(architecture, Path())
        except (UserError, RuntimeError):  # some of timm's compute numbers while they are built, which shapes are not
            encoder = nn.Identity()
        model = MSConModel(encoder, architecture)
    for name, planned in model.state_dict().items():
        there = tuple(weights[name].shape) if name in weights else None
        if there != tuple(planned.shape):
            raise ValueError(f"{name} should be {tuple(planned.shape)}, and is {'missing' if there is None else there}")


class Mask(nn.Module):
    """z = relu(m) ⊙ x, m learned, started at 𝒩(0.9, 0.7) as its authors' code does (0.9 keeps most of x)."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.normal(0.9, 0.7, (width,)))

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """The masked projection."""
        return x * self.weight.relu()


def _head(architecture: Architecture, dim: int, depth: int) -> nn.Sequential:
    """So many linear layers from an embedding to a projection, with ReLU between them."""
    width = architecture.head_width or architecture.embedding_dim
    norm_layer = nn.BatchNorm1d if architecture.norm == "batch" else nn.LayerNorm
    layers: list[nn.Module] = []
    inputs = architecture.embedding_dim
    for _ in range(depth - 1):
        norm = [norm_layer(width)] if architecture.head_norm else []
        layers += [nn.Linear(inputs, width, bias=not norm), *norm, nn.ReLU(inplace=True)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, dim))


def _uncertainty_head(architecture: Architecture) -> nn.Sequential:
    # What it starts from, σ² = 1, is what chance has.
    last = nn.Linear(UNCERTAINTY_WIDTH, len(architecture.head_dims))
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    width = architecture.embedding_dim
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, UNCERTAINTY_WIDTH), nn.ReLU(inplace=True), last)


def _evaluating(model: MSConModel, module: nn.Module, batch: Tensor) -> Tensor:
    """The module's output in evaluation mode and float32, on its device, every part's mode left as it was."""
    training = [each for each in model.modules() if each.training]
    model.eval()
    try:
        return module(batch.to(next(model.parameters()).device)).float()
    finally:
        for each in training:
            each.training = True

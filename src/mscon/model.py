"""The model: an encoder (backbone → embedding h) and one projection head per similarity (h → z, unit length)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import timm
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from mscon.data.views import normalize
from mscon.errors import UserError, nearest
from mscon.files import save_tensors, write_whole

FORMAT = "mscon model 1"
"""The one key of a model file's metadata; its value is the architecture. One key, for safetensors keeps no order."""


@dataclass(frozen=True)
class Architecture:
    """What it takes to build the same model again; stored beside the weights.

    - `backbone`: timm's name, or None for a module of the user's own.
    - `embedding_dim`: width D of the embedding.
    - `head_dims`: similarity → width of its projection.
    - `head_layers`, `head_width`: linear layers of a head and their hidden width.
    - `image_size`: side in pixels of the images it was trained on.
    """

    backbone: str | None
    embedding_dim: int
    head_dims: dict[str, int]
    head_layers: int = 2
    head_width: int | None = None
    image_size: int | None = None
    backbone_options: dict[str, object] = field(default_factory=dict)


class MSConModel(nn.Module):
    """One encoder and a projection head per similarity.

    **Arguments:**

    - `encoder`: any module from a batch to (B, D) floats; `build_model` makes one from timm.
    - `architecture`: its description.
    """

    def __init__(self, encoder: nn.Module, architecture: Architecture):
        super().__init__()
        self.encoder = encoder
        self.architecture = architecture
        self.heads = nn.ModuleList(_head(architecture, dim) for dim in architecture.head_dims.values())

    @property
    def similarities(self) -> tuple[str, ...]:
        """The names of the heads."""
        return tuple(self.architecture.head_dims)

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        """Projections of every similarity, name → (B, d) floats, not yet of unit length: what `MSConLoss` takes."""
        h = self.encoder(batch)
        return {name: head(h) for name, head in zip(self.similarities, self.heads, strict=True)}

    @torch.inference_mode()
    def embed(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """The shared embedding h of images in [0, 255], in evaluation mode, float32."""
        return _evaluating(self, self.encoder, self._normalized(images))

    @torch.inference_mode()
    def project(self, images: UInt8[Tensor, "n 3 h w"], similarity: str) -> Float[Tensor, "n d"]:
        """The projections z under one similarity, rows of unit length.

        **Raises:** `UserError` for a similarity that the model has no head for.
        """
        if similarity not in self.similarities:
            hint = nearest(similarity, self.similarities)
            raise UserError(f"no head for {similarity!r}; the model has {', '.join(self.similarities)}.{hint}")
        return self.project_embedding(self.embed(images), similarity)

    @torch.inference_mode()
    def project_embedding(self, h: Float[Tensor, "n e"], similarity: str) -> Float[Tensor, "n d"]:
        """The same from embeddings that are already there."""
        return F.normalize(_evaluating(self, self.heads[self.similarities.index(similarity)], h), dim=1)

    def save(self, path: Path) -> None:
        """Write weights and architecture as one safetensors file, whole or not at all."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
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
            architecture = Architecture(**json.loads(metadata[FORMAT]))
            if encoder is None and architecture.backbone is None:
                raise UserError(f"{path}: built around a module of your own: pass it as `encoder`")
            model = cls(encoder if encoder is not None else _backbone(architecture, pretrained=False), architecture)
            model.load_state_dict(weights)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{path}: the weights do not fit the model they describe: {error}") from None
        return model.eval()

    def _normalized(self, images: Tensor) -> Tensor:
        return normalize(images.to(next(self.parameters()).device))


def build_model(
    backbone: str,
    similarities: Mapping[str, int],
    *,
    image_size: int,
    pretrained: bool = False,
    head_layers: int = 2,
    head_width: int | None = None,
    backbone_options: Mapping[str, object] | None = None,
) -> MSConModel:
    """A model around a timm backbone.

    **Arguments:**

    - `backbone`: timm's name, such as `"resnet18"`.
    - `similarities`: name → projection width.
    - `image_size`: side in pixels; backbones with a fixed input size are built for it.
    - `pretrained`: start from timm's weights, which are downloaded.
    - `head_layers`, `head_width`: of the projection heads; hidden width is the embedding's when None.
    - `backbone_options`: passed on to `timm.create_model`.

    **Raises:** `UserError` for a name that timm does not know (with the nearest) or weights that cannot be had.
    """
    draft = Architecture(backbone, 0, {}, image_size=image_size, backbone_options=dict(backbone_options or {}))
    encoder = _backbone(draft, pretrained=pretrained)
    with torch.inference_mode():
        embedding = encoder.eval()(torch.zeros(1, 3, image_size, image_size))
    architecture = replace(
        draft,
        embedding_dim=embedding.shape[1],
        head_dims=dict(similarities),
        head_layers=head_layers,
        head_width=head_width,
    )
    return MSConModel(encoder, architecture).train()


def _backbone(architecture: Architecture, *, pretrained: bool) -> nn.Module:
    name, size = architecture.backbone, architecture.image_size
    assert name is not None
    options = {"num_classes": 0, "pretrained": pretrained, **architecture.backbone_options}
    if not timm.is_model(name.split("/")[-1].split(".")[0]) and not name.startswith("hf-hub:"):
        raise UserError(f"timm has no backbone named {name!r}.{nearest(name, timm.list_models())}")
    try:
        try:
            return timm.create_model(name, img_size=size, **options)
        except TypeError:  # a convolutional backbone takes any size and no img_size
            return timm.create_model(name, **options)
    except Exception as error:  # timm raises whatever its hub client or the model's constructor raises
        wish = "its pretrained weights" if pretrained else "it"
        raise UserError(f"backbone {name!r}: timm could not make {wish}: {error}") from error


def _head(architecture: Architecture, dim: int) -> nn.Sequential:
    width = architecture.head_width or architecture.embedding_dim
    layers: list[nn.Module] = []
    inputs = architecture.embedding_dim
    for _ in range(architecture.head_layers - 1):
        layers += [nn.Linear(inputs, width), nn.ReLU(inplace=True)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, dim))


def _evaluating(model: MSConModel, module: nn.Module, batch: Tensor) -> Tensor:
    """The module's output in evaluation mode and float32, the model's mode left as it was."""
    training = model.training
    model.eval()
    try:
        return module(batch).float()
    finally:
        model.train(training)

"""The bare backbone of a model as a file that timm reads by itself."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mscon import __version__
from mscon.encoder import StagesEncoder, create_backbone
from mscon.errors import UserError
from mscon.files import save_tensors, write_whole
from mscon.model import MSConModel

ABOUT = "mscon backbone 1"
"""The one key of the file's metadata; its value is JSON."""


@dataclass(frozen=True)
class Backbone:
    """What timm must be told to read the file.

    - `name`, `options`: of `timm.create_model`, besides `num_classes=0` and `checkpoint_path`.
    - `untrained`: tensors that timm wants and the run has not, such as those of a norm behind the last stage that the
      embedding is gathered before: in the file they are what they are in a new model.
    """

    path: Path
    name: str
    options: dict[str, Any]
    untrained: tuple[str, ...]

    @property
    def code(self) -> str:
        """The call that reads it."""
        words = [repr(self.name), "num_classes=0", f"checkpoint_path={str(self.path)!r}"]
        return f"timm.create_model({', '.join([*words, *(f'{key}={each!r}' for key, each in self.options.items())])})"


def export_backbone(model: MSConModel, path: Path) -> Backbone:
    """Write the weights of a model's timm backbone under timm's own names, whole or not at all:
    `timm.create_model(name, num_classes=0, checkpoint_path=path, **options)` then is that backbone, every name checked
    (timm reads strictly).

    It takes images normalised with ImageNet's mean and std. Heads, the norm over gathered stages and a linear map to
    `embedding_dim` are no part of it.

    **Raises:** `UserError` for a backbone that is no model of timm's any more: a module of the user's own, or one whose
    batch normalisation was replaced (`norm = "group"`); or when the disk refuses.
    """
    architecture = model.architecture
    if architecture.backbone is None:
        raise UserError("the encoder is a module of your own, which timm cannot make: save its state_dict yourself")
    if architecture.norm == "group":
        raise UserError(
            "model.norm = 'group' has put GroupNorm in the place of the backbone's batch normalisation, and timm makes"
            " no such model: use --format onnx, torch or hub"
        )
    with torch.random.fork_rng():
        torch.manual_seed(0)  # of what the run has no weights for: the same file every time
        whole, options = create_backbone(
            architecture.backbone,
            image_size=architecture.image_size,
            num_classes=0,
            in_chans=architecture.in_chans,
            **architecture.backbone_options,
        )
    trained = _renamed(bare(model), whole)
    weights = whole.state_dict()
    if unknown := [name for name, each in trained.items() if name not in weights or weights[name].shape != each.shape]:
        raise UserError(
            f"backbone {architecture.backbone!r}: timm gathers its stages under names that its whole model has not"
            f" ({unknown[0]}, …): use --format onnx, torch or hub"
        )
    told = {key: each for key, each in options.items() if (key, each) not in (("num_classes", 0), ("in_chans", 3))}
    found = Backbone(path, architecture.backbone, told, tuple(name for name in weights if name not in trained))
    content = {name: each.detach().cpu().contiguous() for name, each in (weights | trained).items()}
    about = {"mscon_version": __version__, "backbone": found.name, "options": told, "untrained": found.untrained}
    write_whole(path, lambda aside: save_tensors(content, aside, {ABOUT: json.dumps(about)}))
    return found


def bare(model: MSConModel) -> nn.Module:
    """The backbone inside the encoder, as `build_encoder` got it from timm."""
    encoder = model.encoder
    if model.architecture.embedding_map:
        assert isinstance(encoder, nn.Sequential)
        encoder = encoder[0]
    return encoder.backbone if isinstance(encoder, StagesEncoder) else encoder


def _renamed(backbone: nn.Module, whole: nn.Module) -> dict[str, Tensor]:
    """A backbone's weights by the names of timm's whole model.

    Where timm gathers stages, it lifts them to the top, `stages.0` as `stages_0`, or holds the whole as `model`.
    """
    paths = {path.replace(".", "_"): path for path, _ in reversed(list(whole.named_modules())) if path}
    renamed: dict[str, Tensor] = {}
    for name, each in backbone.state_dict().items():
        top, _, rest = name.partition(".")
        if top in paths:
            renamed[f"{paths[top]}.{rest}" if rest else paths[top]] = each
        else:
            renamed[rest if top == "model" else name] = each
    return renamed

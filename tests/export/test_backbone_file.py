"""The bare backbone, read by timm alone: its maps are the run's."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from torch import nn

from mscon.architecture import Architecture
from mscon.encoder import Stage
from mscon.errors import UserError
from mscon.export import export_backbone
from mscon.export.backbone import ABOUT, bare
from mscon.model import MSConModel, build_model
from shop import scramble

STAGES = [Stage(-2, 2), Stage(-1, 1)]


def built(backbone: str, **options: Any) -> MSConModel:
    torch.manual_seed(1)
    model = build_model(backbone, {"a": 8}, image_size=64, **options).eval()
    scramble(model)
    return model


@pytest.mark.parametrize(
    ("backbone", "untrained"),
    [
        ("test_resnet", ()),
        ("test_convnext", ("head.norm.weight", "head.norm.bias")),
        ("test_vit", ("norm.weight", "norm.bias")),
        ("test_efficientnet", ("conv_head.weight", *(f"bn2.{each}" for each in ("weight", "bias", "running_mean")))),
    ],
)
def test_timm_reads_the_backbone_that_stages_are_gathered_from(
    backbone: str, untrained: tuple[str, ...], tmp_path: Path
) -> None:
    model = built(backbone, stages=STAGES, embedding_dim=6)
    found = export_backbone(model, tmp_path / "b.safetensors")
    assert set(untrained) <= set(found.untrained)
    assert bool(untrained) == bool(found.untrained)
    read = eval(found.code, {"timm": timm}).eval()  # the line that is printed
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = bare(model)(images)
        maps = read.forward_intermediates(images, intermediates_only=True)
        torch.testing.assert_close(maps[-1], expected[-1])
        if not untrained:
            torch.testing.assert_close(read.forward_features(images), expected[-1])


@pytest.mark.parametrize(("backbone", "in_chans"), [("test_resnet", 1), ("test_vit", 3)])
def test_timm_reads_the_backbone_with_its_own_pooling(backbone: str, in_chans: int, tmp_path: Path) -> None:
    model = built(backbone, in_chans=in_chans)
    found = export_backbone(model, tmp_path / "b.safetensors")
    assert found.untrained == ()
    read = timm.create_model(
        found.name, num_classes=0, checkpoint_path=str(tmp_path / "b.safetensors"), **found.options
    )
    images = torch.randn(2, in_chans, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(read.eval()(images), model.encoder(images))
        torch.testing.assert_close(read.forward_features(images), model.encoder.forward_features(images))  # pyright: ignore[reportCallIssue]


def test_options_are_told_and_the_file_is_the_same_every_time(tmp_path: Path) -> None:
    model = built("test_efficientnet", stages=STAGES, backbone_options={"drop_path_rate": 0.1})
    first, second = (export_backbone(model, tmp_path / f"{each}.safetensors") for each in range(2))
    assert first.options == {"drop_path_rate": 0.1}
    assert first.path.read_bytes() == second.path.read_bytes()
    with safe_open(first.path, framework="pt") as file:
        about = json.loads(file.metadata()[ABOUT])
    assert about["backbone"] == "test_efficientnet"
    assert about["options"] == first.options
    assert about["untrained"] == list(first.untrained)


def test_what_timm_cannot_make_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="GroupNorm in the place"):
        export_backbone(built("test_resnet", norm="group"), tmp_path / "b.safetensors")
    own = MSConModel(nn.Linear(3, 4), Architecture(backbone=None, embedding_dim=4, head_dims={"a": 2}))
    with pytest.raises(UserError, match="a module of your own"):
        export_backbone(own, tmp_path / "b.safetensors")
    assert list(tmp_path.iterdir()) == []

"""The model: shapes, saving and loading, encoders of the user's own."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from mscon.architecture import Architecture
from mscon.encoder import Norm, Stage, StagesEncoder
from mscon.errors import UserError
from mscon.model import FORMAT, MSConModel, build_model

IMAGES = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)


@pytest.fixture
def model() -> MSConModel:
    return build_model("test_resnet", {"category": 16, "closure": 8}, image_size=32)


def test_forward_gives_one_projection_per_similarity(model: MSConModel) -> None:
    out = model(torch.randn(5, 3, 32, 32))
    assert {name: tuple(z.shape) for name, z in out.items()} == {"category": (5, 16), "closure": (5, 8)}


def test_embedding_and_projections_of_images(model: MSConModel) -> None:
    assert model.embed(IMAGES).shape == (5, model.architecture.embedding_dim)
    z = model.project(IMAGES, "closure")
    torch.testing.assert_close(z.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(z, model.project_embedding(model.embed(IMAGES), "closure"))
    assert model.training, "embedding leaves the mode as it was"
    model.encoder.eval()
    model.embed(IMAGES)
    assert [model.training, model.encoder.training] == [True, False], "of every part"
    with pytest.raises(UserError, match=r"no head for 'closre'; the model has category, closure. Did you mean 'clos"):
        model.project(IMAGES, "closre")


def test_what_comes_from_elsewhere_is_brought_to_the_models_device(model: MSConModel) -> None:
    # The device without memory stands in for a GPU: what is left on the CPU meets its weights and fails.
    there = build_model("test_resnet", {"category": 16}, image_size=32, uncertainty=True).to("meta")
    h = model.embed(IMAGES)
    assert there.project_embedding(h, "category").device.type == "meta"
    assert there.embed(IMAGES).device.type == "meta"
    assert all(each.device.type == "meta" for each in there.item_uncertainty(h).values())


def test_an_item_is_embedded_alike_alone_and_in_a_batch(model: MSConModel) -> None:
    torch.testing.assert_close(model.embed(IMAGES)[:1], model.embed(IMAGES[:1]), rtol=1e-4, atol=1e-5)


def test_a_saved_model_is_the_same_model(model: MSConModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model.safetensors")
    loaded = MSConModel.load(tmp_path / "model.safetensors")
    assert not loaded.training
    assert loaded.architecture == model.architecture
    torch.testing.assert_close(loaded.embed(IMAGES), model.embed(IMAGES), rtol=0, atol=0)


def test_an_encoder_of_the_users_own_over_anything(tmp_path: Path) -> None:
    def made() -> nn.Module:
        return nn.Sequential(nn.Linear(7, 12), nn.ReLU())

    model = MSConModel(made(), Architecture(backbone=None, embedding_dim=12, head_dims={"a.b/c": 4}))
    batch = torch.randn(3, 7)
    assert model(batch)["a.b/c"].shape == (3, 4)
    model.save(tmp_path / "own.safetensors")
    loaded = MSConModel.load(tmp_path / "own.safetensors", encoder=made())
    torch.testing.assert_close(loaded(batch), model(batch))
    with pytest.raises(UserError, match="pass it as `encoder`"):
        MSConModel.load(tmp_path / "own.safetensors")
    with pytest.raises(UserError, match="do not fit"):
        MSConModel.load(tmp_path / "own.safetensors", encoder=nn.Linear(7, 12))


def test_weights_that_an_encoder_uses_twice_are_saved_and_loaded(tmp_path: Path) -> None:
    def tied() -> nn.Module:
        encoder = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
        encoder[2].weight = encoder[0].weight
        return encoder

    model = MSConModel(tied(), Architecture(backbone=None, embedding_dim=6, head_dims={"a": 4}))
    model.save(tmp_path / "own.safetensors")
    loaded = MSConModel.load(tmp_path / "own.safetensors", encoder=tied())
    batch = torch.randn(3, 6)
    torch.testing.assert_close(loaded(batch), model(batch))


def test_files_that_are_no_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model"):
        MSConModel.load(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(UserError, match="not a model that can be read"):
        MSConModel.load(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="weights of something else"):
        MSConModel.load(tmp_path / "other.safetensors")


def test_an_unknown_backbone_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"timm has no backbone named 'resnet_18'. Did you mean 'resnet18'"):
        build_model("resnet_18", {"category": 16}, image_size=32)


def test_what_timm_cannot_make_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"backbone 'test_resnet': timm could not make it: .*'nonsense'"):
        build_model("test_resnet", {"a": 4}, image_size=32, backbone_options={"nonsense": 1})
    with pytest.raises(UserError, match="backbone 'test_vit' does not take images of 3 px"):
        build_model("test_vit", {"a": 4}, image_size=3)

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(UserError, match="could not make it with its pretrained weights: no network"):
        build_model("test_resnet", {"a": 4}, image_size=32, pretrained=True)


def test_a_transformer_is_built_for_the_image_size() -> None:
    model = build_model("test_vit", {"category": 16}, image_size=48)
    assert model.embed(IMAGES.repeat(1, 1, 2, 2)[..., :48, :48]).shape == (5, model.architecture.embedding_dim)


STAGES = (Stage(stage=-3, grid=4), Stage(stage=-1, grid=1))


def test_embedding_gathered_from_stages_is_their_cells_side_by_side() -> None:
    model = build_model("test_resnet", {"category": 16}, image_size=64, stages=STAGES).eval()
    encoder = model.encoder
    assert isinstance(encoder, StagesEncoder)
    batch = torch.randn(3, 3, 64, 64)
    maps = encoder.backbone(batch)
    side = maps[-3].shape[-1] // 4
    cells = maps[-3].unfold(2, side, side).unfold(3, side, side).mean(dim=(4, 5))
    assert cells.shape[2:] == (4, 4)
    expected = torch.cat([cells.flatten(1), maps[-1].mean(dim=(2, 3))], dim=1)
    torch.testing.assert_close(encoder(batch), encoder.norm(expected))
    assert model.architecture.embedding_dim == expected.shape[1]


def test_a_model_with_stages_is_saved_and_loaded(tmp_path: Path) -> None:
    model = build_model("test_resnet", {"category": 16}, image_size=32, stages=STAGES, head_norm=True)
    model.save(tmp_path / "model.safetensors")
    loaded = MSConModel.load(tmp_path / "model.safetensors")
    assert loaded.architecture == model.architecture
    torch.testing.assert_close(loaded.project(IMAGES, "category"), model.project(IMAGES, "category"), rtol=0, atol=0)


def test_maps_with_channels_last_are_turned() -> None:
    class Maps(nn.Module):
        output_fmt = "NHWC"

        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [images.permute(0, 2, 3, 1)]

    encoder = StagesEncoder(Maps(), [3], [Stage(stage=-1, grid=1)]).eval()
    batch = torch.randn(4, 3, 6, 6)
    torch.testing.assert_close(encoder(batch), batch.mean(dim=(2, 3)), rtol=1e-4, atol=1e-4)


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "test_byobnet"])
@pytest.mark.parametrize("stages", [(), STAGES], ids=["pooled", "stages"])
def test_under_group_norm_a_row_does_not_depend_on_the_others(backbone: str, stages: tuple[Stage, ...]) -> None:
    torch.manual_seed(0)
    model = build_model(backbone, {"category": 16}, image_size=64, stages=stages, head_norm=True, norm="group")
    assert not [each for each in model.modules() if isinstance(each, BATCH_NORMS)]
    assert model.training
    batch = torch.randn(4, 3, 64, 64)
    alone = torch.cat([model(row)["category"] for row in batch.split(1)])
    torch.testing.assert_close(model(batch)["category"], alone, rtol=1e-4, atol=1e-4)
    assert (alone.std(dim=0) > 0).all(), "not the same for every image"


def test_group_norm_keeps_activations_scales_and_shifts() -> None:
    def made(norm: Norm) -> nn.Module:
        torch.manual_seed(0)
        return build_model("test_efficientnet", {"category": 16}, image_size=64, norm=norm).encoder

    batch, group = made("batch"), made("group")
    replaced = {name: each for name, each in batch.named_modules() if isinstance(each, nn.BatchNorm2d)}
    assert replaced
    for name, module in replaced.items():
        first, *after = group.get_submodule(name).children()
        assert isinstance(first, nn.GroupNorm)
        assert first.num_groups <= 32
        assert first.num_channels >= 4 * first.num_groups
        assert torch.equal(first.weight, module.weight)
        assert torch.equal(first.bias, module.bias)
        assert [str(each) for each in after] == [str(each) for each in module.children()]


def test_each_stage_is_normalised_by_itself() -> None:
    class Maps(nn.Module):
        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [1000.0 * images + 7.0, 0.001 * images]

    encoder = StagesEncoder(Maps(), [3, 3], [Stage(-2, 2), Stage(-1, 1)], norm="group")
    h = encoder(torch.randn(4, 3, 8, 8))
    assert h.shape == (4, 15)
    torch.testing.assert_close(h[:, :12].mean(dim=1), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(h[:, :12].std(dim=1, correction=0), torch.ones(4), rtol=0, atol=1e-3)
    torch.testing.assert_close(h[:, 12:].mean(dim=1), torch.zeros(4), rtol=0, atol=1e-4)


@pytest.mark.parametrize("stages", [(), STAGES], ids=["pooled", "stages"])
def test_frozen_statistics_are_used_and_never_move(stages: tuple[Stage, ...]) -> None:
    torch.manual_seed(0)
    model = build_model("test_resnet", {"category": 16}, image_size=64, stages=stages, head_norm=True, norm="frozen")
    norms = [each for each in model.modules() if isinstance(each, BATCH_NORMS)]
    assert norms
    for each in norms:
        assert each.running_mean is not None
        assert each.running_var is not None
        each.running_mean.normal_(std=0.1)
        each.running_var.uniform_(0.5, 2.0)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    batch = torch.randn(4, 3, 64, 64)
    out = model.train()(batch)["category"]
    assert model.training
    torch.testing.assert_close(out, torch.cat([model(row)["category"] for row in batch.split(1)]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(out, model.eval()(batch)["category"])
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    out.sum().backward()
    assert all(each.weight.grad is not None for each in norms), "scales and shifts are trained"


@pytest.mark.parametrize("norm", ["batch", "group", "frozen"])
def test_a_models_norm_is_saved_and_loaded(norm: Norm, tmp_path: Path) -> None:
    model = build_model("test_resnet", {"category": 16}, image_size=32, stages=STAGES, head_norm=True, norm=norm)
    model.save(tmp_path / "model.safetensors")
    loaded = MSConModel.load(tmp_path / "model.safetensors")
    assert loaded.architecture == model.architecture
    assert loaded.architecture.norm == norm
    torch.testing.assert_close(loaded.project(IMAGES, "category"), model.project(IMAGES, "category"), rtol=0, atol=0)
    modes = [[each.training for each in one.train().modules()] for one in (model, loaded)]
    assert modes[0] == modes[1]


def test_a_file_from_before_there_was_a_choice_of_norm_is_read(model: MSConModel, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model.save(path)
    with safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()[FORMAT])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del described["norm"]
    save_file(weights, path, {FORMAT: json.dumps(described)})
    loaded = MSConModel.load(path)
    assert loaded.architecture.norm == "batch"
    torch.testing.assert_close(loaded.embed(IMAGES), model.embed(IMAGES), rtol=0, atol=0)


def test_images_of_one_channel() -> None:
    model = build_model("test_resnet", {"category": 16}, image_size=32, in_chans=1)
    assert model.embed(torch.randn(2, 1, 32, 32)).shape == (2, model.architecture.embedding_dim)


def test_stages_that_a_backbone_does_not_have_are_refused() -> None:
    with pytest.raises(UserError, match=r"has stages −1 to −5, but model.stages names \[-9\]"):
        build_model("test_resnet", {"category": 16}, image_size=32, stages=[Stage(-9, 1)])

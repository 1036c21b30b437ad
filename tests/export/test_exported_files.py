"""ONNX and torch.export files: run without the package they give its vectors, and what does not is never written."""

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn

from mscon import __version__
from mscon.architecture import Architecture
from mscon.data.decode import Fit, decode
from mscon.encoder import Stage
from mscon.errors import UserError
from mscon.export import Sample, export_onnx, export_torch, noise, sample_of
from mscon.export.parity import compare, reference
from mscon.model import MSConModel, build_model
from mscon.run import Run
from shop import COLUMN, scramble

ROOT = Path(__file__).parents[2]
HEADS = {"a": 8, "b/ ü": 8}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "grids": {
        "backbone": "test_resnet",
        "stages": [Stage(-3, 4), Stage(-1, 3)],
        "head_norm": True,
        "norm": "group",
        "uncertainty": True,
    },
    "vit": {"backbone": "test_vit", "heads": "shared", "embedding_dim": 12},
    "convnext": {"backbone": "test_convnext", "stages": [Stage(-1, 2)], "heads": "masked", "norm": "frozen"},
}
SIZE = 48

ALONE = """
import importlib.abc, sys
import numpy as np

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is not here")

sys.meta_path.insert(0, Blocked())
{runner}
with np.load(sys.argv[1]) as given:
    for name in given:
        np.savez(f"{{name}}.npz", **run(f"{{name}}{suffix}", given[name]))
"""
RUNNERS = {
    ".onnx": """
import onnxruntime
def run(path, images):
    session = onnxruntime.InferenceSession(path)
    return dict(zip([each.name for each in session.get_outputs()], session.run(None, {"images": images})))
""",
    ".pt2": """
import torch
def run(path, images):
    found = torch.export.load(path).module()(torch.from_numpy(images))
    return {name: each.detach().numpy() for name, each in found.items()}
""",
}
BLOCKED = {".onnx": ["mscon", "torch", "timm"], ".pt2": ["mscon", "timm"]}


def built(name: str) -> MSConModel:
    torch.manual_seed(0)
    options = dict(ARCHITECTURES[name])
    model = build_model(options.pop("backbone"), HEADS, image_size=SIZE, head_width=16, **options).eval()
    scramble(model)
    return model


@pytest.mark.parametrize(
    ("suffix", "write", "names"),
    [(".onnx", export_onnx, list(ARCHITECTURES)), (".pt2", export_torch, ["grids"])],
    ids=["onnx", "torch"],
)
def test_a_file_alone_gives_the_packages_vectors(
    suffix: str, write: Callable[..., Any], names: list[str], tmp_path: Path
) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    models = {name: built(name) for name in names}
    for name, model in models.items():
        write(model, tmp_path / f"{name}{suffix}", sample=noise(SIZE))
    given: dict[str, Any] = dict.fromkeys(names, images)
    np.savez(tmp_path / "given.npz", **given)
    script = ALONE.format(blocked=BLOCKED[suffix], runner=RUNNERS[suffix], suffix=suffix)
    subprocess.run([sys.executable, "-I", "-c", script, "given.npz"], cwd=tmp_path, check=True)
    for name, model in models.items():
        with np.load(tmp_path / f"{name}.npz") as found:
            outputs = dict(found)
        h = model.embed(torch.from_numpy(images).permute(0, 3, 1, 2))
        expected = {"embedding": h} | {f"z_{each}": model.project_embedding(h, each) for each in HEADS}
        expected |= {f"uncertainty_{each}": variance for each, variance in model.item_uncertainty(h).items()}
        assert list(outputs) == list(expected)
        for each, value in expected.items():
            np.testing.assert_allclose(outputs[each], value.numpy(), atol=1e-4, err_msg=f"{name}: {each}")


def test_a_run_as_onnx_says_what_it_is_and_nothing_of_the_machine(shop_run: Run, tmp_path: Path) -> None:
    path = tmp_path / "shop.onnx"
    sample = sample_of(shop_run)
    assert sample.name == "8 images of the run's catalog"
    parity = export_onnx(shop_run.model(), path, sample=sample, fit="crop", similarities=["price", COLUMN, "price"])
    names = ["embedding", "z_price", f"z_{COLUMN}", "uncertainty_price", f"uncertainty_{COLUMN}"]
    assert list(parity.differences) == names
    assert all(each.keys() == {1, 2, 5} and max(each.values()) <= 1e-4 for each in parity.differences.values())
    file = onnx.load(path)
    onnx.checker.check_model(file)
    assert [each.name for each in file.graph.output] == names
    (images,) = file.graph.input
    shape = [each.dim_param or each.dim_value for each in images.type.tensor_type.shape.dim]
    assert (images.name, shape) == ("images", ["batch", 32, 32, 3])
    said = {each.key: each.value for each in file.metadata_props}
    assert json.loads(said["similarities"]) == ["price", COLUMN]
    assert (said["image.size"], said["image.fit"], said["mscon.version"]) == ("32", "crop", __version__)
    check_private(path.read_bytes())


def test_a_run_as_a_program_says_the_same(shop_run: Run, tmp_path: Path) -> None:
    path = tmp_path / "shop.pt2"
    export_torch(shop_run.model(), path, sample=sample_of(shop_run), fit="crop", similarities=["colour"])
    said = {"mscon.json": ""}
    torch.export.load(path, extra_files=said)
    assert json.loads(said["mscon.json"])["image.fit"] == "crop"
    with zipfile.ZipFile(path) as archive:
        for each in archive.namelist():
            check_private(archive.read(each))
        weights = sum(each.file_size for each in archive.infolist() if "/weights/weight_" in each.filename)
    model = shop_run.model()
    assert weights < sum(each.nbytes for each in model.state_dict().values()), (
        "heads that were not asked for are not in"
    )


@pytest.mark.parametrize("fit", ["letterbox", "crop"])
@pytest.mark.parametrize("size", [(60, 91), (91, 60), (7, 5)])
def test_the_documents_code_makes_the_pixels_that_the_package_makes(
    fit: Fit, size: tuple[int, int], shop_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = onnx.load(shop_onnx)
    next(each for each in file.metadata_props if each.key == "image.fit").value = fit
    onnx.save(file, tmp_path / "shoes.onnx")
    pixels = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "use.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    (code,) = (block for block in blocks if "onnxruntime" in block)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/use.md", "exec"), names)
    assert np.array_equal(np.array(names["image"]), decode(Path("photo.jpg").read_bytes(), size=32, fit=fit))
    assert names["found"]["z_price"].shape == (1, 8)


@pytest.fixture(scope="module")
def shop_onnx(shop_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "shop.onnx"
    export_onnx(shop_run.model(), path, sample=noise(32), similarities=["price"])
    return path


def check_private(content: bytes) -> None:
    for private in (str(ROOT), sys.prefix, "site-packages", str(Path.home()) + "/", "shop.parquet"):
        assert private.encode() not in content, private


def test_a_catalog_that_is_gone_leaves_noise(shop_run: Run) -> None:
    gone = shop_run.recipe.model_copy(
        update={"catalog": shop_run.recipe.catalog.model_copy(update={"source": "gone.csv"})}
    )
    sample = sample_of(Run(shop_run.folder, gone, shop_run.labels))
    assert "noise" in sample.name
    assert sample.pixels.std() > 50


def test_an_export_leaves_the_callers_model_as_it_was(tmp_path: Path) -> None:
    model = built("grids").train()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    export_torch(model, tmp_path / "a.pt2", sample=noise(SIZE))
    assert all(each.training for each in model.modules())
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


class Counting(nn.Module):
    """Whose output depends on how often it was called, which no graph holds."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8 * 8 * 3, 4)
        self.calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.linear(images.flatten(1)) * self.calls


class Branching(Counting):
    """Whose path depends on the pixels, which no graph holds either."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.flatten(1)) if images.sum() > 0 else self.linear(-images.flatten(1))


@pytest.mark.parametrize(
    ("encoder", "message"), [(Counting, "differs from the package's by"), (Branching, "cannot trace")]
)
def test_what_gives_other_vectors_or_cannot_be_traced_is_not_written(
    encoder: type[nn.Module], message: str, tmp_path: Path
) -> None:
    model = MSConModel(encoder(), Architecture(backbone=None, embedding_dim=4, head_dims={"a": 2}, image_size=8))
    with pytest.raises(UserError, match=message):
        export_torch(model, tmp_path / "a.pt2", sample=noise(8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda found: found | {"z_a": found["z_a"] + 1e-3}, "'z_a' differs"),
        (lambda found: found | {"embedding": found["embedding"] * np.nan}, "'embedding' differs"),
        (lambda found: found | {"z_a": found["z_a"][:1]}, "'z_a' is of shape"),
        (lambda found: {"embedding": found["embedding"]}, "'z_a' is missing"),
    ],
    ids=["wrong", "nan", "short", "missing"],
)
def test_vectors_that_differ_are_told_by_name(spoil: Callable[..., Any], message: str) -> None:
    model, sample = built("grids"), noise(SIZE)
    good = compare(model, ["a"], lambda pixels: reference(model, ["a"], pixels), sample)
    assert good.differences["z_a"] == {1: 0.0, 2: 0.0, 5: 0.0}
    assert good.widths["z_a"] == 8
    with pytest.raises(UserError, match=message):
        compare(model, ["a"], lambda pixels: spoil(reference(model, ["a"], pixels)), sample)


def test_mistakes_are_named_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sample = built("grids"), Sample(noise(SIZE).pixels, "nothing")
    with pytest.raises(UserError, match=r"--head A: there is no such head; the model has a, b/ ü. Did you mean 'a'"):
        export_torch(model, tmp_path / "a.pt2", sample=sample, similarities=["A"])
    grey = build_model("test_resnet", {"a": 8}, image_size=32, in_chans=1)
    with pytest.raises(UserError, match="only models of colour images"):
        export_torch(grey, tmp_path / "a.pt2", sample=sample)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r'pip install "mscon\[export\]"'):
        export_onnx(model, tmp_path / "a.onnx", sample=sample)

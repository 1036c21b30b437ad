"""No file that somebody hands over is read by anything that runs code."""

import ast
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mscon.checkpoint import load_checkpoint
from mscon.data import Catalog
from mscon.errors import UserError
from mscon.experiments.studies import study
from mscon.model import MSConModel, build_model
from mscon.recipe import Recipe
from mscon.run import Run

SOURCE = Path(__file__).parents[2] / "src" / "mscon"

MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml"}
BUILT_IN = {"eval", "exec", "compile", "__import__"}
METHODS = {"load_pickle", "read_pickle", "unsafe_load", "from_pickle"}


def called(path: Path) -> Iterator[tuple[int, str, ast.Call]]:
    """The functions that a file of the package calls, by the last two of their names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node.lineno, ".".join(ast.unparse(node.func).split(".")[-2:]), node


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_source_calls_nothing_that_runs_what_it_reads(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {each.partition(".")[0] for each in names} & MODULES, f"{path}:{getattr(node, 'lineno', 0)}"
    for line, name, call in called(path):
        where = f"{path}:{line}: {name}"
        assert name not in {*BUILT_IN, "torch.load"}, where  # a module's .eval() is another
        assert name.rpartition(".")[2] not in METHODS, where
        if name in ("np.load", "numpy.load"):
            allowed = next((each.value for each in call.keywords if each.arg == "allow_pickle"), None)
            assert isinstance(allowed, ast.Constant), where
            assert allowed.value is False, where


class Bomb:
    """Leaves a file when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def _checkpoint(path: Path) -> object:
    model = build_model("test_resnet", {"a": 4}, image_size=16)
    return load_checkpoint(path, {"model": model}, torch.optim.SGD(model.parameters()))


def _model(path: Path) -> object:
    return MSConModel.load(path)


def _hub_folder(path: Path) -> object:
    shutil.copy(path, path.parent / "model.safetensors")
    shutil.copy(path, path.parent / "pytorch_model.bin")
    shutil.copy(path, path.parent / "config.json")
    return MSConModel.from_pretrained(path.parent)


def _catalog(path: Path) -> object:
    return Catalog.read(str(path))


def _image(path: Path) -> object:
    (path.parent / "metadata.csv").write_text(f"image\n{path.name}\n")
    catalog = Catalog.read(str(path.parent))
    from mscon.data.cache import load_pixels

    return load_pixels(catalog, size=16, tolerance=0.0)


def _recipe(path: Path) -> object:
    return Recipe.read(path)


def _study(path: Path) -> object:
    return study(str(path))


TAKERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "checkpoint": ("step-00000001.safetensors", _checkpoint),
    "weights": ("model.safetensors", _model),
    "a folder of weights": ("weights.bin", _hub_folder),
    "Parquet": ("items.parquet", _catalog),
    "CSV": ("items.csv", _catalog),
    "a saved dataset": ("state.json", lambda path: _catalog(path.parent)),
    "image": ("photo.png", _image),
    "recipe": ("recipe.toml", _recipe),
    "study": ("mine.toml", _study),
}


@pytest.mark.parametrize("way", [pickle.dumps, "torch"], ids=["pickle", "torch"])
@pytest.mark.parametrize("taker", TAKERS)
def test_a_pickle_in_place_of_a_file_is_refused_and_does_nothing(taker: str, way: Any, tmp_path: Path) -> None:
    name, take = TAKERS[taker]
    path, bomb = tmp_path / "given" / name, Bomb(tmp_path / "went off")
    path.parent.mkdir()
    if way == "torch":
        torch.save(bomb, path)
    else:
        path.write_bytes(way(bomb))
    with pytest.raises(UserError):
        take(path)
    assert not bomb.mark.exists()


@pytest.mark.parametrize(
    "name",
    ["recipe.toml", "labels.json", "model.safetensors", "split.parquet", "predictions.parquet", "evaluation.json"],
)
def test_a_pickle_in_a_runs_folder_is_refused_and_does_nothing(
    name: str, two_runs: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(two_runs[0], tmp_path / "run")
    bomb = Bomb(tmp_path / "went off")
    (tmp_path / "run" / name).write_bytes(pickle.dumps(bomb))
    with pytest.raises(UserError, match=name):
        _read_whole(tmp_path / "run", two_runs[1])
    assert not bomb.mark.exists()


def _read_whole(folder: Path, other: Path) -> None:
    from mscon.report.compare import compare_runs

    run = Run.open(folder)
    run.items()
    run.model()
    compare_runs([folder, other])


def test_the_bomb_would_go_off(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "went off")))
    assert (tmp_path / "went off").exists()


@pytest.mark.parametrize(
    "options", [{"pretrained": True}, {"checkpoint_path": "x.pth"}, {"pretrained_cfg": {"url": "x"}}]
)
def test_a_file_of_weights_cannot_ask_for_others(options: dict[str, Any], tmp_path: Path) -> None:
    from dataclasses import replace

    model = build_model("test_resnet", {"a": 4}, image_size=16)
    model.architecture = replace(model.architecture, backbone_options=options)
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"model\.safetensors: .*about other weights"):
        MSConModel.load(tmp_path / "model.safetensors")


def test_a_file_cannot_describe_a_model_that_its_weights_do_not_fill(tmp_path: Path) -> None:
    from dataclasses import replace

    model = build_model("test_resnet", {"a": 4}, image_size=16)
    model.architecture = replace(model.architecture, head_dims={"a": 4_000_000}, head_width=4_000_000)  # 64 TB
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"should be \(4000000"):
        MSConModel.load(tmp_path / "model.safetensors")

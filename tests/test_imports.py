"""What is imported with what: the loss alone needs torch alone, and help needs neither."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import mscon

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
HEAVY = ("torch", "torchvision", "timm", "polars", "pydantic", "matplotlib", "lightning_fabric")


EXTRAS = ("lancedb", "torchjd", "gradio", "umap", "onnx", "onnxscript", "onnxruntime", "datasets", "pandas")
"""What the extras bring, and packages whose tables are taken where somebody else has loaded them."""


def loaded(code: str, among: tuple[str, ...] = HEAVY) -> set[str]:
    """Which of these packages a fresh interpreter has imported after `code`."""
    listing = f"{code}\nimport sys\nprint('MODULES', *[name for name in {among!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("MODULES")[2].split())


def test_every_public_name_is_there() -> None:
    assert all(getattr(mscon, name).__doc__ for name in mscon.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Categorcal'"):
        _ = mscon.Categorcal  # pyright: ignore[reportAttributeAccessIssue]


def test_the_loss_needs_torch_alone() -> None:
    names = "MSConLoss, Categorical, contrastive_loss, supcon_loss, micro_batched"
    assert loaded(f"from mscon import {names}") == {"torch"}


def test_no_extra_is_loaded_before_it_is_asked_for() -> None:
    modules = ("train", "report", "search", "loaded", "export", "ablation", "experiments", "explore.guard", "cli")
    assert loaded("\n".join(f"import mscon.{name}" for name in modules), EXTRAS) == set()


def test_fabric_is_had_without_what_it_asks_the_version_of() -> None:
    assert loaded("import mscon.train", ("lightning_fabric", "torchmetrics")) == {"lightning_fabric"}
    asked = "from lightning_fabric.utilities import imports; assert imports._TORCHMETRICS_GREATER_EQUAL_1_0_0"
    assert loaded(f"import mscon.train; {asked}", ("torchmetrics",)) == set()


def test_help_loads_nothing_heavy() -> None:
    assert loaded("from mscon.cli import main\nmain(['train', '--help'])") == set()


def test_no_room_imports_from_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """The house as docs/pictures/rooms.py draws it, every module in a room or on the shelf of what all may take."""
    monkeypatch.syspath_prepend(PICTURES)
    house = runpy.run_path(str(PICTURES / "rooms.py"))
    rooms, shelf = house["ROOMS"], house["SHELF"]
    level = {module: house["LEVEL"][room] for module, room in rooms.items()} | dict.fromkeys(shelf, -1)
    for path, one, other in house["imported"]():
        assert one in level, f"{path} has no room"
        assert other in level, f"{path} imports {other}, which has no room"
        assert level[other] < level[one] or rooms.get(one) == rooms.get(other), f"{path} imports {other} from above"

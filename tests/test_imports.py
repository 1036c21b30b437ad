"""What is imported with what: the loss alone needs torch alone, and help needs neither."""

import subprocess
import sys

import pytest

import mscon

HEAVY = ("torch", "torchvision", "timm", "polars", "pydantic", "matplotlib", "lightning_fabric")


def loaded(code: str) -> set[str]:
    """Which of the heavy packages a fresh interpreter has imported after `code`."""
    listing = f"{code}\nimport sys\nprint('MODULES', *[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("MODULES")[2].split())


def test_every_public_name_is_there() -> None:
    assert all(getattr(mscon, name).__doc__ for name in mscon.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Categorcal'"):
        _ = mscon.Categorcal  # pyright: ignore[reportAttributeAccessIssue]


def test_the_loss_needs_torch_alone() -> None:
    assert loaded("from mscon import MSConLoss, Categorical, contrastive_loss, supcon_loss") == {"torch"}


EXTRAS = ("lancedb", "torchjd", "gradio", "umap", "onnx", "onnxscript", "onnxruntime", "datasets", "pandas")
"""What the extras bring, and packages whose tables are taken where somebody else has loaded them."""


def test_no_extra_is_loaded_before_it_is_asked_for() -> None:
    modules = ("train", "report", "search", "loaded", "export", "ablation", "experiments", "explore.guard", "cli")
    code = "\n".join(f"import mscon.{name}" for name in modules)
    listing = f"{code}\nimport sys\nprint('MODULES', *[name for name in {EXTRAS!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    assert done.stdout.rpartition("MODULES")[2].split() == []


def test_help_loads_nothing_heavy() -> None:
    assert loaded("from mscon.cli import main\nmain(['train', '--help'])") == set()

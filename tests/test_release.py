"""What is handed out: a wheel and an archive of the sources that build and hold what they should, typed for users."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import mscon

ROOT = Path(__file__).parents[1]

USE = """# pyright: strict
import torch

import mscon
from mscon import Categorical, Continuous, MSConLoss, micro_batched, simclr_loss, supcon_loss

loss_fn = MSConLoss({"category": Categorical(), "price": Continuous()}, temperature=0.1)
z = {name: torch.randn(8, 4, requires_grad=True) for name in loss_fn.similarities}
labels = {"category": torch.arange(8) % 2, "price": torch.rand(8)}
out = loss_fn(z, labels)
for name, term in out.terms.items():
    print(name, float(term.relative_excess), float(term.weight))
out.total.backward()  # pyright: ignore[reportUnknownMemberType] - torch leaves its arguments open
print(supcon_loss(z["category"], labels["category"]).item(), simclr_loss(z["category"]).item(), micro_batched)

run = mscon.load("runs/shoes")
vectors = run.embed(["a.jpg"])
print(vectors, run.search("photo.jpg", weights={"category": 1.0}, k=3))
total: torch.Tensor = out.total
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sources."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_the_wheel_holds_the_package_whole_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"mscon-{mscon.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size < 1_000_000
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    package = ROOT / "src"
    files = {each.relative_to(package).as_posix() for each in (package / "mscon").rglob("*") if each.is_file()}
    assert {each for each in files if not each.endswith(".pyc")} == {each for each in names if "dist-info" not in each}
    assert "mscon/py.typed" in names


def test_the_sources_build_the_same_wheel(built: Path, tmp_path: Path) -> None:
    (sources,) = built.glob("*.tar.gz")
    with tarfile.open(sources) as file:
        file.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "again")]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (again,), (first,) = (tmp_path / "again").glob("*.whl"), built.glob("*.whl")
    assert again.read_bytes() == first.read_bytes()


def test_an_example_passes_strict_type_checks(tmp_path: Path) -> None:
    script = tmp_path / "use.py"
    script.write_text(USE, encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(script)]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    script.write_text(USE.replace("total: torch.Tensor", "total: str"), encoding="utf-8")
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "reportAssignmentType" in checked.stdout, "nothing was checked"

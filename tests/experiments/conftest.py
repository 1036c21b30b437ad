"""A study small enough to be trained in a test: letters under two labels."""

from pathlib import Path

import pytest

from mscon.experiments.studies import Study, study
from mscon.experiments.work import Places

STUDY = """
about = "A few letters"
similarities = ["character", "weight"]
ood = ["slant", "typeface"]
paper_probe = true

[missing]
typeface = ["STIX"]

[classes]
darkness = { of = "ink", count = 3 }

[full]
learning_rates = [0.001, 0.003]

[full.recipe]
image = { size = 32 }
views = { flip = 0.0 }
model = { backbone = "test_resnet", stages = [{ stage = -1, grid = 2 }], head_dim = 16, head_width = 64 }
training = { epochs = 2, batch_size = 32, precision = "32-true", device = "cpu", keep = "last" }

[quick]
learning_rates = [0.003]

[quick.recipe]
image = { size = 32 }
views = { flip = 0.0 }
model = { backbone = "test_resnet", stages = [{ stage = -1, grid = 2 }], head_dim = 16, head_width = 64 }
training = { epochs = 1, batch_size = 32, precision = "32-true", device = "cpu", keep = "last" }

[published.mscon-paper]
character = 99.5
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "letters.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def small(study_file: Path) -> Study:
    return study(str(study_file))


@pytest.fixture
def places(letters: Path, tmp_path: Path) -> Places:
    return Places(letters.parent, tmp_path / "results", tmp_path / "runs")

"""What the documents say is so: the code in them runs, and every recipe value is described with its default."""

import re
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel

from mscon import recipe as recipes
from mscon.data.views import ViewSettings

ROOT = Path(__file__).parents[1]


def test_the_readmes_python_runs() -> None:
    with torch.random.fork_rng():
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
        assert blocks
        names: dict[str, object] = {}  # one after the other, as one reads
        for block in blocks:
            exec(compile(block, "README.md", "exec"), names)


@pytest.mark.parametrize(
    ("title", "section"),
    [
        ("[catalog]", recipes.CatalogSettings),
        ("[similarities.NAME]", recipes.SimilaritySettings),
        ("[image]", recipes.ImageSettings),
        ("[views]", ViewSettings),
        ("[model]", recipes.ModelSettings),
        ("[[model.stages]]", recipes.StageSettings),
        ("[objective]", recipes.ObjectiveSettings),
        ("[training]", recipes.TrainingSettings),
    ],
)
def test_every_recipe_value_is_documented_with_its_default(title: str, section: type[BaseModel]) -> None:
    text = (ROOT / "docs" / "runs.md").read_text(encoding="utf-8")
    table = text.split(f"### `{title}`\n")[1].split("\n### ")[0]
    rows = {
        name: (default, what) for name, default, what in re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", table, re.M)
    }
    assert rows.keys() == section.model_fields.keys()
    for name, field in section.model_fields.items():
        default, what = rows[name]
        assert what == field.description
        if isinstance(field.default, int | float | str) and not isinstance(field.default, bool):
            assert default.strip("`").strip('"') == str(field.default)

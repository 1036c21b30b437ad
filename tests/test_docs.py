"""What the documents say is so: their links, commands, pictures, tables, and every recipe value with its default."""

import re
import runpy
import shlex
import shutil
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from mscon import settings
from mscon.cli import app
from mscon.data.views import ViewSettings
from mscon.experiments.comparison import markdown
from mscon.experiments.reproduce import Plan, comparisons, write_figure
from mscon.experiments.studies import study
from mscon.experiments.work import Places

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(#[^)]*)?\)", page.read_text(encoding="utf-8")):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if anchor.startswith("#mscon."):  # made from docstrings: tests/test_site.py looks for it
            continue
        titles = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8") if anchor else "", re.M)
        assert not anchor or anchor[1:] in [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in titles]


def commands(page: Path) -> list[list[str]]:
    """The words of every `mscon` command on a line of its own, behind torchrun, or alone in a row's first cell."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    shown = [block for language, block in blocks if language in ("", "sh")]
    lines = [line for block in shown for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"^\| `(mscon \w+ [^`]+)` \|", text, flags=re.MULTILINE)
    found = [re.match(r"(?:\.venv/bin/|torchrun .*-m )?mscon ([^|]+)", line) for line in lines]
    return [shlex.split(each[1], comments=True) for each in found if each]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if commands(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_commands_have_the_words_that_the_command_line_knows(page: Path) -> None:
    for words in commands(page):
        app.parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("script", ["similarities.py", "noise.py", "concepts.py", "rooms.py"])
def test_pictures_are_those_that_their_script_draws(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(PICTURES)
    runpy.run_path(str(PICTURES / script))["main"](tmp_path)
    drawn = {each.name: words(each) for each in tmp_path.iterdir()}
    assert drawn
    assert drawn == {name: words(PICTURES / name) for name in drawn}


def test_the_experiments_tables_are_what_their_csvs_come_to() -> None:
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    tables = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))["TABLES"]
    shown = re.findall(r"tables\.py (\w+)`", text)
    assert shown
    for name in shown:
        assert "\n".join(tables[name]()).strip() in text, name


@pytest.mark.parametrize("folder", sorted(each.parent for each in (ROOT / "results").glob("*/table.md")), ids=str)
def test_the_comparisons_tables_are_what_their_results_come_to(folder: Path) -> None:
    """Every result that is kept counts, and the page shows what they come to."""
    quick = folder.name.endswith("-quick")
    plan = Plan.of(study(folder.name.removesuffix("-quick")), quick=quick, wanted=None, seeds=1)
    (found, *_) = comparisons(plan, Places(folder, folder.parent, folder))
    table = "\n".join(markdown(found))
    assert (folder / "table.md").read_text(encoding="utf-8").strip() == table
    there = [path.parent.name for path in folder.glob("*/[0-9]*.json")]
    assert {row.method: row.seeds for row in found.rows}.items() >= Counter(there).items()
    if not quick:
        assert table in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("figure", sorted((ROOT / "results").glob("*/figures/*.md")), ids=lambda path: path.stem)
def test_figures_are_what_their_results_come_to(figure: Path, tmp_path: Path) -> None:
    """The page shows them as they are drawn, or rows of their tables."""
    folder = figure.parents[1]
    quick = folder.name.endswith("-quick")
    plan = Plan.of(study(folder.name.removesuffix("-quick")), quick=quick, wanted=None, seeds=1)
    shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("figures"))
    for drawn in write_figure(figure.stem, plan, Places(tmp_path, tmp_path, tmp_path)):
        if drawn.suffix == ".svg":
            assert words(drawn) == words(PICTURES / "results" / f"{folder.name}-{drawn.name}")
        else:
            assert drawn.read_text(encoding="utf-8") == figure.read_text(encoding="utf-8")
    _, section = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").split(f"--figure {figure.stem}`", 1)
    heading, *_ = figure.read_text(encoding="utf-8").splitlines()
    shown = [line for line in section.split("\n## ", 1)[0].splitlines() if line.startswith("| ")]
    assert heading in shown
    assert set(shown[2:]) <= set(figure.read_text(encoding="utf-8").splitlines())


def words(picture: Path) -> list[str]:
    """What is written in it, numbers in cells included: lines differ from one version of matplotlib to another."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture.read_text(encoding="utf-8"))


def test_every_kind_of_similarity_is_described() -> None:
    text = (ROOT / "docs" / "similarities.md").read_text(encoding="utf-8")
    assert set(get_args(settings.SimilarityKind)) <= set(re.findall(r"^## (\w+)$", text, re.M))
    for option in settings.SimilaritySettings.model_fields:
        assert re.search(rf"(`|\.|^){option}\b", text, re.M), option


@pytest.mark.parametrize(
    ("title", "section"),
    [
        ("[catalog]", settings.CatalogSettings),
        ("[similarities.NAME]", settings.SimilaritySettings),
        ("[image]", settings.ImageSettings),
        ("[views]", ViewSettings),
        ("[model]", settings.ModelSettings),
        ("[[model.stages]]", settings.StageSettings),
        ("[objective]", settings.ObjectiveSettings),
        ("[training]", settings.TrainingSettings),
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

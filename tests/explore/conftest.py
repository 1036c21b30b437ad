"""A trained run with hostile labels, its items in memory, and the page of it, shown by a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mscon.data import Catalog
from mscon.run import Run
from mscon.search import Space
from shown_page import shown


@pytest.fixture(scope="session")
def run(two_runs: tuple[Path, Path]) -> Run:
    return Run.open(two_runs[0])


@pytest.fixture(scope="session")
def space(run: Run) -> Space:
    return Space.of(run)


@pytest.fixture(scope="session")
def index(run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The run's own catalog, as an index."""
    pytest.importorskip("lancedb", reason="the extra `search` is not installed")
    from mscon.search.index import index_catalog

    where = str(tmp_path_factory.mktemp("index") / "letters.lance")
    index_catalog(run, Catalog.read(run.recipe.catalog.source), where)
    return where


@pytest.fixture(scope="session")
def address(run: Run, space: Space) -> Iterator[str]:
    """Of the page on the run's own catalog, which `space` has embedded by then."""
    pytest.importorskip("gradio", reason="the extra `explore` is not installed")
    with shown(run) as page:
        yield page.address

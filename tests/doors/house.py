"""What stands behind the doors, and the law that holds at each."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from mscon.errors import UserError


@dataclass(frozen=True, eq=False)
class House:
    """What stands behind the doors: two runs, and a folder for what is brought.

    - `runs`: trained and evaluated; `folder`: to write into.
    """

    runs: tuple[Path, Path]
    folder: Path

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder, which is gone afterwards."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            yield Path(name)

    @contextmanager
    def changed_run(self, changed: dict[str, bytes]) -> Iterator[Path]:
        """The first run with some of its files replaced."""
        with self.scratch() as folder:
            shutil.copytree(self.runs[0], folder / "run", ignore=shutil.ignore_patterns("tensorboard", "*.html"))
            for name, data in changed.items():
                (folder / "run" / name).write_bytes(data)
            yield folder / "run"

    @cached_property
    def training(self) -> dict[str, Any]:
        """How long and in what way the first run was trained."""
        from mscon.run import Run

        return Run.open(self.runs[0]).recipe.training.model_dump(exclude={"seed"})

    @cached_property
    def space(self) -> Any:
        """The second run's catalog in memory."""
        from mscon.run import Run
        from mscon.search import Space

        return Space.of(Run.open(self.runs[1]))

    @cached_property
    def index(self) -> Any:
        """The second run's catalog as an index on the disk."""
        from mscon.data import Catalog
        from mscon.run import Run
        from mscon.search.index import Index, index_catalog

        run, where = Run.open(self.runs[1]), str(self.folder / "letters.lance")
        index_catalog(run, Catalog.read(run.recipe.catalog.source), where)
        return Index.open(where, run)


@dataclass(frozen=True)
class Door:
    """One way in: `brought`, what may come, and `enter`, which does with it what a user would."""

    name: str
    brought: Callable[[House], st.SearchStrategy[Any]]
    enter: Callable[[House, Any], object]


def knock(door: Door, house: House, given: Any) -> bool:
    """Whether what is given is let in; what is turned away is told why. Anything else is raised."""
    try:
        door.enter(house, given)
    except UserError as error:
        told = str(error)
        assert len(told) > 10, f"this says nothing: {told!r}"
        assert "Traceback" not in told
        assert " object at 0x" not in told
        return False
    return True


def or_told(work: Callable[[], Any]) -> Any:
    """What it returns; None where a `UserError` says why not."""
    with suppress(UserError):
        return work()
    return None

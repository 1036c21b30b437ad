"""Every door for a moment: what comes in is let in or turned away with a sentence. benchmarks/fuzz.py knocks longer."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doors import DOORS, Door, House, knock

EXAMPLES = {
    **{"run folder": 4, "run in use": 4, "folder with metadata.csv": 10, "Parquet": 10},
    **{"search in an index": 8, "index": 6},
}
"""Of doors behind which more is done; 15 of the others."""


@pytest.fixture(scope="module")
def house(two_runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(two_runs, tmp_path_factory.mktemp("house"))


@pytest.mark.parametrize("door", DOORS, ids=[door.name for door in DOORS])
def test_what_comes_in_is_let_in_or_told_why_not(door: Door, house: House) -> None:
    if "index" in door.name:
        pytest.importorskip("lancedb", reason="the extra `search` is not installed")
    few = settings(
        max_examples=EXAMPLES.get(door.name, 15),
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=[*HealthCheck],  # pyright: ignore[reportArgumentType]
    )

    @few
    @given(st.data())
    def at_the_door(data: st.DataObject) -> None:
        knock(door, house, data.draw(door.brought(house)))

    at_the_door()

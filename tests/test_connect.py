"""What torchrun must have been told before its processes connect."""

import pytest

from mscon.connect import FRESH_STORE, connect
from mscon.errors import UserError


def test_restarts_on_several_machines_need_a_fresh_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FRESH_STORE, raising=False)
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    with pytest.raises(UserError, match=f"--max-restarts=3 on several machines needs {FRESH_STORE}=1"):
        connect("gloo", seconds=1.0)

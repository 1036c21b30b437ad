"""How long processes wait for one another, as the environment says."""

import pytest

from mscon.errors import UserError
from mscon.heartbeat import USUAL, VARIABLE, timeout


@pytest.mark.parametrize("given", ["soon", "0", "-3", "nan", "inf"])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, given)
    with pytest.raises(UserError, match=f"{VARIABLE} is '{given}': give it a number of seconds"):
        timeout()


def test_a_timeout_is_half_an_hour_or_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert timeout() == USUAL == 1800
    monkeypatch.setenv(VARIABLE, "2.5")
    assert timeout() == 2.5

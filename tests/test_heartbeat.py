"""How long processes wait for one another, as the environment says."""

import pytest
import torch.distributed as dist

from mscon.errors import UserError
from mscon.heartbeat import USUAL, VARIABLE, _Heart, timeout


@pytest.mark.parametrize("given", ["soon", "0", "-3", "nan", "inf"])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, given)
    with pytest.raises(UserError, match=f"{VARIABLE} is '{given}': give it a number of seconds"):
        timeout()


def given_up(
    monkeypatch: pytest.MonkeyPatch, before: str, after: str, step: int = 0, turn: int = 0
) -> tuple[_Heart, list[str]]:
    """A first process that gives up while the second's signs go from `before` to `after`, and the causes it told."""
    store = dist.HashStore()  # pyright: ignore[reportPrivateImportUsage]
    causes: list[str] = []
    heart = _Heart(rank=0, size=2, seconds=0.1, store=store, step=step, turn=turn, begun=0.0)
    heart._tell()
    store.set("1", before)
    monkeypatch.setattr("mscon.heartbeat.sleep", lambda _: store.set("1", after))
    monkeypatch.setattr(_Heart, "_end", lambda self, cause, speaks: causes.append(cause))
    heart._give_up()
    return heart, causes


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("7 6 2", "8 7 3", []),
        ("7 6 2", "8 6 3", []),  # the next batch of a validation
        ("7 6 2", "7 6 3", ["all answer"]),
        ("6 5 2", "6 5 3", ["process 1 does not come along, still at step 5"]),
        ("0 0 2", "0 0 3", ["process 1 does not come along, still getting ready"]),
        ("7 6 2", "7 6 2", ["process 1 does not answer"]),
    ],
)
def test_what_ends_while_its_hanging_is_looked_into_is_not_given_up(
    before: str, after: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, causes = given_up(monkeypatch, before, after, step=6, turn=7)
    assert [cause.startswith(each) for cause, each in zip(causes, told, strict=True)] == [True] * len(told)


@pytest.mark.parametrize(("signs", "told"), [("0 0 3", []), ("0 0 2", ["process 1 does not answer"])])
def test_before_the_first_step_one_is_given_up_only_if_it_does_not_answer(
    signs: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heart, causes = given_up(monkeypatch, "0 0 2", signs)
    assert [cause.startswith(each) for cause, each in zip(causes, told, strict=True)] == [True] * len(told)
    assert (heart.begun > 0) == (not told)


def test_a_timeout_is_half_an_hour_or_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert timeout() == USUAL == 1800
    monkeypatch.setenv(VARIABLE, "2.5")
    assert timeout() == 2.5

"""Pictures for terminals: what is written can be read back as the picture."""

import base64
import re

import pytest

from mscon.search.terminal import CHUNK, inline

PNG = bytes(range(256)) * 100


@pytest.mark.parametrize(
    "environment", [{"KITTY_WINDOW_ID": "1"}, {"TERM": "xterm-kitty"}, {"TERM_PROGRAM": "ghostty"}]
)
@pytest.mark.parametrize("png", [PNG, PNG[:10]])
def test_kitty_gets_chunks_of_which_the_last_says_so(environment: dict[str, str], png: bytes) -> None:
    written = inline(png, environment)
    assert written is not None
    parts = re.findall("\033_G(.*?);(.*?)\033\\\\", written)
    assert "".join(f"\033_G{keys};{data}\033\\" for keys, data in parts) + "\n" == written
    assert base64.b64decode("".join(data for _, data in parts)) == png
    assert all(len(data) <= CHUNK for _, data in parts)
    assert [keys[-3:] for keys, _ in parts] == ["m=1"] * (len(parts) - 1) + ["m=0"]
    assert [keys.startswith("a=T,f=100") for keys, _ in parts] == [True] + [False] * (len(parts) - 1)


@pytest.mark.parametrize("environment", [{"TERM_PROGRAM": "WezTerm"}, {"LC_TERMINAL": "iTerm2"}])
def test_iterm_gets_one_sequence(environment: dict[str, str]) -> None:
    written = inline(PNG, environment)
    assert written is not None
    found = re.fullmatch("\033]1337;File=inline=1;size=25600;preserveAspectRatio=1:(.*)\a\n", written)
    assert found is not None
    assert base64.b64decode(found[1]) == PNG


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TERM": "xterm-256color"},
        {"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"},
        {"TMUX": "x", "LC_TERMINAL": "iTerm2"},
    ],
)
def test_others_get_nothing(environment: dict[str, str]) -> None:
    assert inline(PNG, environment) is None

"""Pictures in the terminal itself, where it can show them."""

import base64
from collections.abc import Mapping

CHUNK = 4096
"""Of base64, at most so many characters at a time: kitty's protocol wants it."""

KITTY = ("kitty", "ghostty")
ITERM = ("iTerm.app", "WezTerm", "mintty", "vscode")


def inline(png: bytes, environment: Mapping[str, str]) -> str | None:
    """What to write to a terminal so that it shows a PNG; None for one that cannot, or does not say so.

    By the graphics protocol of kitty, which Ghostty and others have, or that of iTerm2, which WezTerm, mintty and
    Visual Studio Code have, as the variables tell that these set. Inside tmux or screen nothing is shown: they keep
    pictures back.

    **Arguments:** `environment`: `os.environ`, or what stands for it.
    """
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "TMUX" in environment or term.startswith(("screen", "tmux")):
        return None
    data = base64.b64encode(png).decode("ascii")
    if "KITTY_WINDOW_ID" in environment or any(each in term or each == program for each in KITTY):
        parts = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
        more = [1] * (len(parts) - 1) + [0]
        heads = ["a=T,f=100,", *[""] * (len(parts) - 1)]
        written = (f"\033_G{head}m={m};{part}\033\\" for head, m, part in zip(heads, more, parts, strict=True))
        return "".join(written) + "\n"
    if program in ITERM or environment.get("LC_TERMINAL") == "iTerm2":
        return f"\033]1337;File=inline=1;size={len(png)};preserveAspectRatio=1:{data}\a\n"
    return None

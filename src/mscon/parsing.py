"""TOML and JSON as a stranger may have written them: whatever is wrong is a `ValueError`, soon and in little memory."""

import json
import re
import tomllib
from typing import Any

from pydantic import ValidationError

LARGEST = 1_000_000
"""Characters. A recipe has some thousands; the reader takes seconds for each million."""

DEEPEST = 32
"""Parts of a dotted key. The reader's memory grows with the square of their number; nothing of ours has more than 5."""

_DEEP = re.compile(
    rf"""(?<![\w"'-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{DEEPEST}}}""",
    re.ASCII,
)

_HALF = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def parse_json(text: str) -> Any:
    """What `json.loads` makes of a text.

    **Raises:** `ValueError` for what is no JSON, is nested too deeply, or holds half of a character, as `"\\ud800"`.
    """
    try:
        found = json.loads(text)
        if _HALF.search(text):  # or both halves of one, which is for the encoder to tell
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("its lists or tables are nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("it holds half of a character, which no text can") from None
    return found


def parse_toml(text: str) -> dict[str, Any]:
    """What `tomllib.loads` makes of a text.

    **Raises:** `ValueError` for what is no TOML (`tomllib.TOMLDecodeError`), and for what is too much of it: more than
    a million characters, nested too deeply, a number of thousands of digits.
    """
    if len(text) > LARGEST:
        raise ValueError(f"it has {len(text):,} characters: more than {LARGEST:,} are not read")
    if deep := _DEEP.search(text):
        line = text.count("\n", 0, deep.start()) + 1
        raise ValueError(f"line {line}: a name of more than {DEEPEST} parts with dots between them")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("its lists or tables are nested too deeply") from None


def explained(error: ValidationError) -> str:
    """The first of what pydantic found wrong, and where."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]

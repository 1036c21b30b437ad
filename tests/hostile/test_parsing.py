"""TOML and JSON that would hang a reader, or fill its memory, are told of at once."""

import json
from time import perf_counter

import pytest

from mscon.parsing import LARGEST, parse_json, parse_toml

ENDLESS = {
    "nested lists": "a = " + "[" * 100_000,
    "nested tables": "a = " + "{a = " * 5_000,
    "a key of many parts": "a" + ".a" * 100_000 + " = 1",
    "quoted parts": ". ".join(['"a"'] * 10_000) + " = 1",
    "a table of many parts": "[a" + ".a" * 100_000 + "]",
    "a number without end": "a = " + "9" * 5_000,
    "a file without end": "#" * (LARGEST + 1),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_toml_without_end_is_told_soon(name: str) -> None:
    start = perf_counter()
    with pytest.raises(ValueError, match=r"nested|parts|digits|characters"):
        parse_toml(ENDLESS[name])
    assert perf_counter() - start < 10


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5_000])
def test_json_without_end_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested|digits"):
        parse_json(text)


def test_paths_with_many_points_are_no_keys() -> None:
    text = f'source = "{"a.b." * 8}csv"\n[a.b.c.d.e]\nx = 1\n'
    assert parse_toml(text)["a"]["b"]["c"]["d"]["e"] == {"x": 1}
    assert parse_json(json.dumps({"a": [1]})) == {"a": [1]}

"""TOML tables laid over one another, and those that come with the package."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

RECIPES = files("mscon.experiments.recipes")


@cache
def read_table(folder: str, name: str) -> dict[str, Any]:
    """One of the package's files."""
    return tomllib.loads((RECIPES / folder / f"{name}.toml").read_text(encoding="utf-8"))


def names(folder: str) -> list[str]:
    """Of the package's files in a folder, sorted."""
    return sorted(
        each.name.removesuffix(".toml") for each in (RECIPES / folder).iterdir() if each.name.endswith("toml")
    )


def laid_over(below: Mapping[str, Any], *above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables with the values of later ones in the place of earlier ones; lists are replaced whole."""
    merged = dict(below)
    for table in above:
        for key, value in table.items():
            old = merged.get(key)
            merged[key] = laid_over(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged

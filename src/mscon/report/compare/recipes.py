"""What differs between recipes: the keys with more than one value, as `--set` names them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mscon.recipe import Recipe
from mscon.run import flat

TRAINED = "trained on"
"""Said of a similarity that not every run has."""


@dataclass(frozen=True)
class Setting:
    """One key and each run's value as text; None where the key is left out."""

    key: str
    values: tuple[str | None, ...]


def differing(recipes: Sequence[Recipe]) -> tuple[Setting, ...]:
    """The settings that are not the same in all recipes, in the order of a recipe.

    A similarity that some lack is one setting; its own keys are compared among those that have it.
    """
    tables = [_settings(recipe) for recipe in recipes]
    keys = dict.fromkeys(key for table in sorted(tables, key=len, reverse=True) for key in table)
    found = [Setting(key, tuple(table.get(key) for table in tables)) for key in sorted(keys, key=_place)]
    return tuple(each for each in found if len(_of_those_that_could(each, recipes)) > 1)


def _settings(recipe: Recipe) -> dict[str, str]:
    tables = flat(recipe.model_dump(mode="json", exclude_none=True))
    return {f"similarities.{name}": TRAINED for name in recipe.similarities} | {
        key: _text(value) for key, value in tables.items()
    }


def _of_those_that_could(setting: Setting, recipes: Sequence[Recipe]) -> set[str | None]:
    """The values, without those of recipes that lack the similarity whose key it is."""
    return {
        value
        for value, recipe in zip(setting.values, recipes, strict=True)
        if not (name := _owner(setting.key, recipes)) or name in recipe.similarities
    }


def _owner(key: str, recipes: Sequence[Recipe]) -> str | None:
    """The similarity that a key is of, such as `closure` of similarities.closure.temperature."""
    names = {name for recipe in recipes for name in recipe.similarities if key.startswith(f"similarities.{name}.")}
    return max(names, key=len, default=None)  # of `heel` and `heel.height` the one that is named in full


def _place(key: str) -> int:
    """Sections in the order of a recipe."""
    return [*Recipe.model_fields].index(key.partition(".")[0])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""The recipe that a command line describes: a catalog, its similarities, and any value that is set."""

import re
from pathlib import Path
from typing import Any, get_args

from mscon.data import Catalog
from mscon.errors import UserError, nearest
from mscon.recipe import Recipe, parse_value
from mscon.settings import SimilarityKind


def recipe_of(
    catalog: str,
    similarities: list[str] | None,
    ood: list[str] | None,
    image: str | None,
    settings: list[str] | None,
) -> Recipe:
    """The recipe that the command line describes: a recipe file, or a catalog, with what the options change.

    **Arguments:** as the options of `mscon train`: `similarities` as NAME or NAME:KIND, `settings` as KEY=VALUE.

    **Raises:** `UserError` for what cannot be understood, names that are given twice, and values out of range; where no
    similarity is named, with the columns that the catalog has.
    """
    kinds: dict[str, dict[str, str]] = {}
    for name, kind in map(_named, similarities or []):
        if name in kinds:
            raise UserError(
                f"--similarity {name} is given twice. To learn from one column in two ways, give the second a name of"
                f" its own: --similarity other:KIND --set similarities.other.column={name}"
            )
        kinds[name] = {"kind": kind} if kind else {}
    overrides: dict[str, Any] = {"similarities": kinds} if kinds else {}
    overrides |= _overrides(settings or [])
    if ood is not None:
        overrides["catalog.ood"] = ood
    if image is not None:
        overrides["catalog.image"] = image
    if catalog.endswith(".toml"):
        return _anywhere(Recipe.read(Path(catalog), overrides))
    if not kinds:
        table = Catalog.read(catalog, image=image)
        columns = ", ".join(name for name in table.columns if name != table.image)
        raise UserError(f"name at least one label column to learn from: --similarity NAME. Columns here: {columns}")
    return _anywhere(Recipe.of({"catalog": {"source": catalog}}, overrides, name="command line"))


def _named(similarity: str) -> tuple[str, str]:
    """NAME or NAME:KIND, apart. **Raises** `UserError` for a kind that there is not."""
    name, colon, kind = similarity.rpartition(":")
    if not colon:
        return similarity, ""
    known, kind = get_args(SimilarityKind), kind.replace("-", "_")
    if kind not in known:
        raise UserError(
            f"--similarity {similarity}: there is no kind {kind!r}.{nearest(kind, known)} Known: {', '.join(known)}."
            f" For a column whose name has a colon, say its kind, too: --similarity {similarity}:categorical"
        )
    return name, kind


def _anywhere(recipe: Recipe) -> Recipe:
    """The recipe with its files' paths made absolute, so that the run can be evaluated from any folder."""
    catalog = recipe.catalog.model_copy(update={"source": _absolute(recipe.catalog.source)})
    similarities = {
        name: each.model_copy(update={"edges": _absolute(each.edges)}) if each.edges else each
        for name, each in recipe.similarities.items()
    }
    return recipe.model_copy(update={"catalog": catalog, "similarities": similarities})


def _absolute(source: str) -> str:
    return source if source == "glyphs" or "://" in source else str(Path(source).absolute())


def _overrides(settings: list[str]) -> dict[str, Any]:
    pairs = {each: _KEY.match(each) for each in settings}
    if without := [each for each, key in pairs.items() if key is None]:
        raise UserError(f"--set {without[0]}: give it a value, as in --set training.epochs=5")
    return {key[1].strip(): parse_value(each[key.end() :].strip()) for each, key in pairs.items() if key}


_KEY = re.compile(r'((?>"(?:[^"\\]|\\.)*"|[^=])+)=')
"""Up to the first "=" that is in no quotes: a similarity may be called `a=b`."""

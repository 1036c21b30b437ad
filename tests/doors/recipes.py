"""The doors of recipes and studies: TOML."""

import tomllib
from typing import Any

from hypothesis import strategies as st

from doors.house import House
from mutation import changed_bytes, changed_tree, scalars, texts


def recipes(house: House) -> st.SearchStrategy[bytes]:
    import tomlkit

    text = (house.runs[0] / "recipe.toml").read_text(encoding="utf-8")

    def written(tree: Any) -> bytes:
        try:
            return tomlkit.dumps(tree).encode("utf-8", "replace")
        except (TypeError, ValueError, AttributeError, OverflowError):  # what TOML cannot hold
            return text.encode()

    huge = [b"a=" + b"[" * 50_000, b"a" + b".a" * 50_000 + b"=1", b"a=" + b"9" * 5_000, b"[a" + b".a" * 50_000 + b"]"]
    tables = st.recursive(scalars.filter(lambda each: each is not None), lambda inner: st.lists(inner, max_size=3))
    return (
        changed_tree(tomllib.loads(text), tables).map(written)
        | changed_bytes(text.encode())
        | st.sampled_from([*huge, b"", b"\xff\xfe"])
    )


def read_recipe(house: House, data: bytes) -> None:
    from mscon.recipe import Recipe

    with house.scratch() as folder:
        (folder / "recipe.toml").write_bytes(data)
        recipe = Recipe.read(folder / "recipe.toml")
        (folder / "again.toml").write_text(recipe.to_toml(), encoding="utf-8")
        assert Recipe.read(folder / "again.toml") == recipe


def overrides(_: House) -> st.SearchStrategy[tuple[str, str]]:
    keys = (
        "training.epochs",
        "similarities.a.kind",
        "catalog.ood",
        'similarities."a.b".kind',
        '"a"=1\nb',
        "image",
        "a..b",
    )
    values = ("3", "[1, 2]", "{a = 1}", "9" * 5000, "[" * 5000, "1\nb = 2", "1 # x", "1979-05-27", "")
    return st.tuples(st.sampled_from(keys) | texts, st.sampled_from(values) | texts)


def set_value(_: House, given: tuple[str, str]) -> None:
    from mscon.recipe import Recipe, parse_value

    Recipe.of({"catalog": {"source": "x"}, "similarities": {"a": {}}}, {given[0]: parse_value(given[1])})


def studies(_: House) -> st.SearchStrategy[bytes]:
    from mscon.experiments.tables import RECIPES

    text = (RECIPES / "studies" / "footwear.toml").read_bytes()
    huge = [b"a=" + b"[" * 50_000, b"like = ['footwear']", b"like = 1", b"like = 'footwear'\nfull = 3"]
    return changed_bytes(text) | st.sampled_from(huge)


def read_study(house: House, data: bytes) -> None:
    from mscon.experiments.studies import study

    with house.scratch() as folder:
        (folder / "mine.toml").write_bytes(data)
        study(str(folder / "mine.toml"))

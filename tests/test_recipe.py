"""Recipes: TOML and back, overrides from the command line, and messages that name the key."""

import re
import tomllib
from pathlib import Path

import pytest

from mscon.data.views import ViewSettings
from mscon.errors import UserError, nearest
from mscon.recipe import Recipe, parse_value
from mscon.settings import OPTIONS

SMALL = {"catalog": {"source": "shoes.parquet"}, "similarities": {"category": {}, "closure": {}}}


def test_recipe_survives_toml(tmp_path: Path) -> None:
    recipe = Recipe.of(
        SMALL | {"objective": {"weighting": {"category": 1.0, "closure": 0.5}}},
        {"similarities.closure.views": {"brightness": 0.0}, "catalog.ood": ["brand"]},
    )
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    assert Recipe.read(tmp_path / "recipe.toml") == recipe


def test_overrides_change_any_field() -> None:
    recipe = Recipe.of(
        SMALL, {"training.epochs": 3, "similarities.closure.temperature": 0.5, "views.scale": [0.4, 0.9]}
    )
    assert recipe.training.epochs == 3
    assert recipe.similarities["closure"].temperature == 0.5
    assert recipe.views.scale == (0.4, 0.9)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"training.epoch": 3}, r"recipe: training.epoch: unknown key. Did you mean 'epochs'\?"),
        ({"epochs": 3}, r"recipe: epochs: unknown key. Did you mean 'training.epochs'\?"),
        ({"list[int]": 3}, r"recipe: list\[int\]: unknown key. Known here: catalog"),
        ({"similarities.list[int].kin": 3}, r"recipe: similarities.list\[int\].kin: unknown key. Did you mean 'kind'"),
        ({"model.size": 32}, r"recipe: model.size: unknown key. Did you mean 'image.size'\?"),
        ({"trainig.epochs": 3}, r"trainig: unknown key. Did you mean 'training'\?"),
        (
            {"similarities.closure.temprature": 1},
            r"similarities.closure.temprature: unknown key. Did you mean 'temperature'",
        ),
        ({"views.brightnes": 0}, r"views.brightnes: unknown key. Did you mean 'brightness'\?"),
        ({"similarities.views.separatr": ";"}, r"similarities.views.separatr: .* Did you mean 'separator'\?"),
        ({"similarities.closure.views.separator": ";"}, r"closure.views.separator: .* Did you mean 'saturation'"),
        ({"training.epochs": 0}, r"training.epochs: .*greater than or equal to 1.*found 0"),
        ({"training.epochs": "many"}, r"training.epochs: .*found 'many'"),
        ({"training.lr": float("nan")}, "training.lr"),
        ({"catalog.ood": ["closure"]}, "closure: to learn from, and in catalog.ood"),
        ({"training.sampler": "categry"}, r"'categry' is no similarity .* Did you mean 'category'\?"),
        ({"similarities.instance": {}, "training.sampler": "instance"}, "'instance' is no similarity"),
        ({"similarities.appearance": {}, "training.sampler": "appearance"}, "'appearance' is no similarity"),
        ({"objective.weighting": {"category": -1.0, "closure": 2.0}}, "weights must be at least 0"),
        ({"model.stages": [{"stage": -1}]}, r"model.stages.0.grid: missing.$"),
        ({"objective.weighting": {"category": 1.0}}, "objective.weighting names"),
        (
            {"objective.weighting": "upgrad"},
            r"^recipe: objective.weighting: there is no such weighting. Did you mean 'UPGrad'\? Known: equal, .*IMTLG"
            r" \(found 'upgrad'\)$",
        ),
        ({"similarities.closure.levels": "a"}, r'levels: a list is needed, such as \["a"\]$'),
        ({"similarities": {}}, "similarities: .*at least 1"),
        ({"objective.paper": True}, "weighting = 'uncertainty' only"),
        ({"similarities.instance": {}, "training.views_per_item": 1}, "views_per_item of at least 2"),
        ({"training.epochs.more": 1}, "'epochs' is a value, not a table"),
        ({"training.micro_batch": 0}, r"training.micro_batch: .*greater than or equal to 1"),
        (
            {"training.micro_batch": 1},
            r"a single view at once .* raise training.micro_batch, or set model.norm = 'group'",
        ),
        ({"training.micro_batch": 2, "training.batch_size": 3, "training.views_per_item": 1}, "a single view"),
        ({"model.norm": "layer"}, "model.norm: .*'batch', 'group' or 'frozen'"),
        ({"model.norm": "frozen"}, "needs statistics to keep: set model.pretrained = true"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_mistakes_are_named(overrides: dict, message: str) -> None:
    base = SMALL | {"training": {"epochs": 2}} if "training.epochs.more" in overrides else SMALL
    with pytest.raises(UserError, match=message):
        Recipe.of(base, overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        {"training.micro_batch": 1, "model.norm": "group"},
        {"training.micro_batch": 1, "model.norm": "frozen", "model.pretrained": True},
        {"training.micro_batch": 2},
        {"training.micro_batch": 3, "training.batch_size": 5, "training.views_per_item": 1},
        {"training.micro_batch": 10_000},
    ],
    ids=str,
)
def test_micro_batches_that_can_be_normalised_are_taken(overrides: dict) -> None:
    assert Recipe.of(SMALL, overrides).training.micro_batch == overrides["training.micro_batch"]


def test_files_that_are_no_recipes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such recipe file"):
        Recipe.read(tmp_path / "absent.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("training = {")
    with pytest.raises(UserError, match=r"bad.toml: not a recipe that can be read"):
        Recipe.read(bad)
    bad.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"bad.toml: not a recipe that can be read"):
        Recipe.read(bad)


def test_run_views_are_the_weakest_that_any_similarity_allows() -> None:
    recipe = Recipe.of(
        SMALL,
        {"views": {"brightness": 0.4, "hue": 0.1}, "similarities.closure.views": {"brightness": 0.0, "hue": 0.2}},
    )
    assert recipe.run_views == recipe.views.model_copy(update={"brightness": 0.0})
    assert Recipe.of(tomllib.loads(recipe.to_toml())).run_views == recipe.run_views
    assert Recipe.of(SMALL).run_views == ViewSettings()
    with pytest.raises(UserError, match=r"similarities.closure.views.brightness: .*less than or equal to 1"):
        Recipe.of(SMALL, {"similarities.closure.views": {"brightness": 7.0}})
    with pytest.raises(UserError, match=r"views.brightnes: unknown key. Did you mean 'brightness'\?"):
        Recipe.of(SMALL, {"similarities.closure.views": {"brightnes": 0.0}})


def test_a_name_with_a_dot_stands_in_quotes() -> None:
    recipe = Recipe.of(SMALL, {'similarities."c.d".balance': 1.0})
    assert recipe.similarities["c.d"].balance == 1.0
    with pytest.raises(UserError, match=r'similarities."c.d: not a dotted key'):
        Recipe.of(SMALL, {'similarities."c.d': {}})


def test_instance_is_known_by_its_name_or_kind() -> None:
    recipe = Recipe.of(SMALL, {"similarities.instance": {}, "similarities.same": {"kind": "instance"}})
    assert [name for name in recipe.similarities if recipe.is_instance(name)] == ["instance", "same"]
    assert recipe.labelled == ("category", "closure")


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.1", 0.1), ("true", True), ("[0.5, 1.0]", [0.5, 1.0]), ("'a'", "a"), ("resnet18", "resnet18")],
)
def test_values_are_read_as_toml_and_else_as_text(text: str, value: object) -> None:
    assert parse_value(text) == value


KINDS = {
    "look": {"kind": "categorical", "balance": 0.5, "column": "category"},
    "height": {"kind": "continuous", "bandwidth": 0.05, "period": 24.0},
    "ranked": {"kind": "rank_n_contrast", "period": 24.0, "column": "height"},
    "tags": {"kind": "tags", "rarity": False, "separator": ";"},
    "kind": {"kind": "hierarchy", "levels": ["category", "form"], "level_weights": [1.0, 0.5]},
    "bought": {"edges": "pairs.csv"},
    "instance": {},
    "appearance": {"head_layers": 2},
}


def test_options_of_every_kind_survive_toml() -> None:
    recipe = Recipe.of({"catalog": {"source": "x.csv"}, "similarities": KINDS})
    assert Recipe.of(tomllib.loads(recipe.to_toml())) == recipe
    assert [recipe.kind(name) for name in KINDS] == [
        *("categorical", "continuous", "rank_n_contrast", "tags", "hierarchy", "pairs", "instance", "appearance")
    ]
    assert recipe.labelled == ("look", "height", "ranked", "tags", "kind")


def test_a_head_is_as_deep_as_its_similarity_says() -> None:
    plain = {
        "look": {},
        "height": {"head_layers": 4},
        "appearance": {},
        "deep": {"kind": "appearance", "head_layers": 3},
    }
    recipe = Recipe.of({"catalog": {"source": "x.csv"}, "similarities": plain, "model": {"head_layers": 2}})
    assert [recipe.head_layers(name) for name in plain] == [2, 4, 1, 3]
    for similarities, name in (({"look": {}, "appearance": {}}, "appearance"), ({"look": {"head_layers": 1}}, "look")):
        one = {"catalog": {"source": "x.csv"}, "similarities": similarities, "model": {"heads": "shared"}}
        with pytest.raises(UserError, match=f"have one depth, '{name}' one of its own"):
            Recipe.of(one)


def test_an_option_of_another_kind_is_refused_with_the_known_ones() -> None:
    values = {option: each[option] for each in KINDS.values() for option in each if option in OPTIONS}
    for option, value in values.items():
        for kind, known in {
            "categorical": "balance, joint",
            "continuous": "bandwidth, period",
            "rank_n_contrast": "period",
            "tags": "rarity, separator",
            "hierarchy": "separator, levels, level_weights",
            "instance": "none",
            "appearance": "none",
        }.items():
            settings = {"catalog": {"source": "x.csv"}, "similarities": {"it": {"kind": kind, option: value}}}
            if kind in OPTIONS[option]:
                assert Recipe.of(settings).kind("it") == kind
                continue
            with pytest.raises(UserError, match=f"similarities.it.{option}: {kind} has no such option, but {known}$"):
                Recipe.of(settings)


@pytest.mark.parametrize(
    ("similarity", "message"),
    [
        ({"kind": "pairs"}, "similarities.it.edges: missing; name the table of pairs"),
        ({"kind": "appearance", "column": "a"}, "similarities.it.column: appearance reads no column"),
        (
            {"kind": "appearance", "head_dim": 64},
            "similarities.it.head_dim: leave it out; its features say how wide it is",
        ),
        ({"kind": "instance", "column": "a"}, "similarities.it.column: instance reads no column"),
        ({"kind": "hierarchy", "column": "a", "levels": ["b"]}, "leave out column"),
        ({"kind": "hierarchy", "level_weights": [1.0, 0.0]}, "level_weights.1: .*greater than 0"),
        ({"kind": "tag"}, "similarities.it.kind: .*found 'tag'"),
        ({"kind": "continuous", "bandwidth": 0.0}, "bandwidth: .*greater than or equal to 0.000001"),
        ({"balance": 2.0}, "balance: .*less than or equal to 1"),
    ],
)
def test_options_that_cannot_be_are_refused(similarity: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recipe.of({"catalog": {"source": "x.csv"}, "similarities": {"it": similarity}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective.weighting": "uncertainty-exact"}, "does not go with weighting = 'uncertainty-exact'"),
        ({"objective.weighting": "uncertainty", "objective.paper": True}, "does not go with paper = true"),
        ({"similarities.closure.temperature": 0.01}, "the temperature of 'closure', 0.01, must lie within"),
        ({"objective.temperature_bounds": [0.0, 1.0]}, "they above 0: 0 to 1"),
        ({"objective.temperature_bounds": [1.0, 0.02]}, "must lie within them"),
    ],
)
def test_temperatures_that_cannot_be_learned_are_refused(change: dict, message: str) -> None:
    assert Recipe.of(SMALL, {"objective.learn_temperature": True}).temperature("closure") == 0.1
    with pytest.raises(UserError, match=message):
        Recipe.of(SMALL, {"objective.learn_temperature": True, **change})


def test_a_name_is_proposed_that_is_much_like_the_other_and_none_that_is_half_like_it() -> None:
    assert nearest("Colr", ["wool", "colour"]) == " Did you mean 'colour'?"
    assert nearest("mood", ["wool", "style"]) == ""


@pytest.mark.parametrize(
    "value",
    [
        "training.epochs=100000000000000000000",
        "training.seed=100000000000000000000",
        "training.steps=100000000000",
        "training.batch_size=100000000",
        "model.head_dim=10000000000000000",
        "objective.temperature=1e300",
        "objective.temperature=1e-300",
    ],
)
def test_what_no_machine_could_do_is_refused_with_its_key(value: str) -> None:
    key, _, number = value.partition("=")
    given = float(number) if "temperature" in key else int(number)
    with pytest.raises(UserError, match=re.escape(key)):
        Recipe.of({"catalog": {"source": "glyphs"}, "similarities": {"character": {}}}, {key: given})

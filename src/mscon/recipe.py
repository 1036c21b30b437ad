"""The one typed description of a run: what it learns from, what is built, and how it is trained.

A recipe is a TOML file, a `Recipe`, or the defaults with a few values changed on the command line; a run writes its
whole recipe back into its folder.
"""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import tomlkit
from pydantic import BaseModel, Field, ValidationError, model_validator

from mscon.data.views import ViewSettings
from mscon.errors import UserError, nearest
from mscon.parsing import parse_toml
from mscon.settings import (
    SHARED,
    UNLABELLED,
    CatalogSettings,
    ImageSettings,
    ModelSettings,
    ObjectiveSettings,
    Section,
    SimilarityKind,
    SimilaritySettings,
    StageSettings,
    TrainingSettings,
    ViewLimits,
)
from mscon.weighting import Aggregator
from mscon.words import ODD, plain


class Recipe(Section):
    """Everything a run is made from."""

    catalog: CatalogSettings
    similarities: dict[str, SimilaritySettings] = Field(min_length=1)
    image: ImageSettings = ImageSettings()
    views: ViewSettings = ViewSettings()
    model: ModelSettings = ModelSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    training: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _names_agree(self) -> "Recipe":
        names = list(self.similarities)
        for name in names:
            _check_name(name, _RENAMED)
        for name in self.catalog.ood:
            _check_name(name, "rename the column")
        if SHARED in names:
            raise ValueError(f"a similarity called {SHARED!r} cannot be told from the shared embedding: {_RENAMED}")
        if both := set(names) & set(self.catalog.ood):
            shared = ", ".join(sorted(both))
            raise ValueError(f"{shared}: to learn from, and in catalog.ood, which is never trained on; choose one")
        sampler = self.sampler
        drawn_by = [name for name in names if self.kind(name) not in ("instance", "appearance")]
        if sampler != "random" and sampler not in drawn_by:
            hint = nearest(sampler, drawn_by)
            raise ValueError(f"training.sampler: {sampler!r} is no similarity that this recipe trains.{hint}")
        weights = self.objective.weighting
        if isinstance(weights, dict) and set(weights) != set(names):
            raise ValueError(f"objective.weighting names {sorted(weights)}, the similarities are {sorted(names)}")
        if isinstance(weights, dict) and (min(weights.values()) < 0 or max(weights.values()) == 0):
            raise ValueError(f"objective.weighting: weights must be at least 0, and not all 0: {weights}")
        if self.objective.paper and self.objective.weighting != "uncertainty":
            raise ValueError("objective.paper is the published form of weighting = 'uncertainty' only")
        if self.objective.item_weights and not self.objective.item_uncertainty:
            raise ValueError("objective.item_weights needs the head that tells them: set objective.item_uncertainty")
        if weights in get_args(Aggregator) and self.training.micro_batch:
            raise ValueError(
                f"objective.weighting {weights} needs the whole batch at once: leave out training.micro_batch"
            )
        self._check_loss()
        instances = [name for name in names if self.is_instance(name)]
        if instances and self.training.views_per_item < 2:
            raise ValueError(f"similarity {instances[0]!r} needs training.views_per_item of at least 2")
        if self.model.norm == "frozen" and not self.model.pretrained:
            raise ValueError("model.norm = 'frozen' needs statistics to keep: set model.pretrained = true")
        if (audits := self.training.audit_epochs) >= self.training.epochs and not self.training.steps:
            raise ValueError(
                f"training.audit_epochs: the first audit after {audits} of {self.training.epochs} epochs would come"
                " when the training is over: audit sooner, or set it to 0"
            )
        self.check_batch_statistics()
        self._check_temperatures()
        for name, each in self.similarities.items():
            each.check_options(name, self.kind(name))
            try:
                _ = self._limited(each)
            except ValidationError as error:
                first = error.errors()[0]
                raise ValueError(f"similarities.{name}.views.{first['loc'][0]}: {first['msg']}") from None
        return self

    def _check_loss(self) -> None:
        """Losses to compare with have less to choose from."""
        loss, weighting, heads = self.objective.loss, self.objective.weighting, self.model.heads
        widths = {each.head_dim or self.model.head_dim for each in self.similarities.values()}
        if heads != "separate" and len(widths) > 1:
            raise ValueError(f"model.heads = {heads!r} have one width: leave out the similarities' head_dim")
        own = [name for name in self.similarities if self.head_layers(name) != self.model.head_layers]
        if heads != "separate" and own:
            raise ValueError(f"model.heads = {heads!r} have one depth, {own[0]!r} one of its own: leave it out")
        if loss == "contrastive":
            return
        if not isinstance(weighting, dict) and weighting not in ("equal", "uncertainty"):
            raise ValueError(
                f"objective.weighting {weighting} reads contrastive losses; with loss = {loss!r} take equal,"
                " uncertainty, or a table of weights"
            )
        if heads != "separate" and loss == "cross-entropy":
            raise ValueError("a classifier has a head of its own: set model.heads = 'separate', or another loss")
        for key in ("learn_temperature", "item_uncertainty"):
            if getattr(self.objective, key):
                raise ValueError(f"objective.{key} belongs to contrastive losses: leave it out with loss = {loss!r}")

    def _check_temperatures(self) -> None:
        """What is learned must start within its bounds, and be learned once."""
        settings = self.objective
        if not settings.learn_temperature:
            return
        if settings.weighting == "uncertainty-exact" or settings.paper:
            choice = "paper = true" if settings.paper else "weighting = 'uncertainty-exact'"
            raise ValueError(f"objective.learn_temperature does not go with {choice}; leave one of them out")
        least, most = settings.temperature_bounds
        for name in self.similarities:
            if not 0.0 < least <= self.temperature(name) <= most:
                raise ValueError(
                    f"objective.temperature_bounds: the temperature of {name!r}, {self.temperature(name):g}, must lie"
                    f" within them to be learned, and they above 0: {least:g} to {most:g}"
                )

    def temperature(self, name: str) -> float:
        """A similarity's own τ, or the objective's."""
        return self.similarities[name].temperature or self.objective.temperature

    def check_batch_statistics(self, processes: int = 1) -> None:
        """**Raises** `ValueError` if one of so many processes would take batch statistics from a single view."""
        settings = self.training
        rows = settings.batch_size // processes * settings.views_per_item
        parts = -(-rows // settings.micro_batch) if settings.micro_batch else 1
        if self.model.norm == "batch" and rows // parts < 2:
            raise ValueError(
                "the encoder would see a single view at once and take batch statistics from it: raise"
                f" training.{'micro_batch' if settings.micro_batch else 'batch_size'}, or set model.norm = 'group'"
            )

    def kind(self, name: str) -> SimilarityKind | None:
        """A similarity's kind as far as the recipe tells; None where the column will."""
        similarity = self.similarities[name]
        if similarity.kind is None and similarity.column is None:
            if name in ("instance", "appearance"):
                return name
            if similarity.edges is not None:
                return "pairs"
            if similarity.levels is not None:
                return "hierarchy"
            if similarity.joint is not None:
                return "categorical"
        return similarity.kind

    def head_layers(self, name: str) -> int:
        """How deep a similarity's head is: as it says, else as the model says; that of appearance is linear."""
        own = self.similarities[name].head_layers
        return own or (1 if self.kind(name) == "appearance" else self.model.head_layers)

    def is_instance(self, name: str) -> bool:
        """Whether it is of kind instance, or has no kind and the name 'instance'."""
        return self.kind(name) == "instance"

    @property
    def sampler(self) -> str:
        """What batches are drawn by: 'random', or the name of a similarity."""
        pairs = [name for name in self.similarities if self.kind(name) == "pairs"]
        return self.training.sampler or (pairs[0] if pairs else "random")

    @property
    def labelled(self) -> tuple[str, ...]:
        """The similarities that are given by a label of each item: all but instance, appearance and pairs."""
        return tuple(name for name in self.similarities if self.kind(name) not in UNLABELLED)

    @property
    def run_views(self) -> ViewSettings:
        """The views of the run: what the recipe asks for, weakened to the limits of every similarity."""
        return self.views.weakest(self._limited(each) for each in self.similarities.values())

    def _limited(self, similarity: SimilaritySettings) -> ViewSettings:
        limits = similarity.views.model_dump(exclude_none=True) if similarity.views else {}
        return ViewSettings.model_validate(self.views.model_dump() | limits)

    def to_toml(self) -> str:
        """The whole recipe, defaults included, as TOML."""
        return tomlkit.dumps(self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def read(cls, path: Path, overrides: Mapping[str, Any] | None = None) -> "Recipe":
        """A recipe file, with values changed by dotted keys such as `{"training.epochs": 5}`.

        **Raises:** `UserError` naming the file and the key for TOML that does not parse, unknown keys (with the
        nearest valid one) and values out of range.
        """
        try:
            data = parse_toml(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path}: there is no such recipe file") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not a recipe that can be read: {error}") from None
        return cls.of(data, overrides, name=str(path))

    @classmethod
    def of(
        cls, data: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, *, name: str = "recipe"
    ) -> "Recipe":
        """A recipe from nested tables and dotted overrides; `name` is what messages call it. **Raises** `UserError`."""
        tables = _merged(data, overrides or {}, name)
        try:
            return cls.model_validate(tables)
        except ValidationError as error:
            raise UserError("\n".join(dict.fromkeys(_explain(each, name) for each in error.errors()))) from None


def parse_value(text: str) -> Any:
    """A value as TOML would read it (`3`, `0.1`, `true`, `[0.5, 1.0]`, `"a"`), and any other text as it stands."""
    try:
        (value,) = parse_toml(f"value = {text}").values()
    except ValueError:  # text with a line's end in it may be TOML of several values
        return text
    return value


def _merged(data: Mapping[str, Any], overrides: Mapping[str, Any], name: str) -> dict[str, Any]:
    tables: dict[str, Any] = deepcopy(dict(data))
    for key, value in overrides.items():
        *path, last = _parts(key, name)
        table = tables
        for part in path:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise UserError(f"{name}: {key}: {part!r} is a value, not a table")
        table[last] = value
    return tables


def _parts(key: str, name: str) -> list[str]:
    """Of a dotted key; a part that has a dot stands in quotes, as in TOML."""
    if '"' not in key:
        return key.split(".")
    try:
        at: Any = parse_toml(f"{key} = 0")
        parts: list[str] = []
        while at != 0:
            ((part, at),) = at.items()
            parts.append(part)
    except (ValueError, AttributeError) as error:  # what holds a line's end or a # can be more than a key
        raise UserError(f"{name}: {key}: not a dotted key: {error}") from None
    return parts


def _explain(error: Any, name: str) -> str:
    """One line a person can act on: the file, the dotted key, what is wrong, and the nearest valid key."""
    path = list(_keys([str(part) for part in error["loc"]], given=error["type"] == "extra_forbidden"))
    where = f"{name}: {'.'.join(path)}" if path else name
    if error["type"] == "extra_forbidden":
        key = path[-1]
        elsewhere = next((f"{section}.{key}" for section, each in _SECTIONS.items() if key in each.model_fields), "")
        known = _fields(path[:-1])
        meant = f" Did you mean {elsewhere!r}?" if elsewhere else nearest(key, known)
        return f"{where}: unknown key.{meant or ' Known here: ' + ', '.join(known)}"
    if error["type"] == "missing":
        hints = {"catalog": " Name a table of images.", "similarities": " Name at least one similarity."}
        return f"{where}: missing.{hints.get(path[0], '')}"
    if error["type"] == "tuple_type" and isinstance(error["input"], str):
        return f'{where}: a list is needed, such as ["{error["input"]}"]'
    return f"{where}: {error['msg'].removeprefix('Value error, ')}" + (f" (found {error['input']!r})" if path else "")


def _keys(parts: list[str], *, given: bool) -> Iterator[str]:
    """The parts of an error's place that are keys; the last is one that was `given`, whatever it is called."""
    for number, part in enumerate(parts):
        named = parts[:number] == ["similarities"] or (given and number == len(parts) - 1)
        if named or not _BRANCH.fullmatch(part):
            yield part


_RENAMED = "give the similarity another name, and name its column in similarities.OTHER.column"


def _check_name(name: str, mend: str) -> None:
    """**Raises** `ValueError` for a label's name that shows nothing, or something else than it is."""
    if not name.strip():
        raise ValueError(f"the label {name!r} has a name that nobody sees: {mend}")
    if odd := next((letter for letter in name if letter in ODD), None):
        raise ValueError(
            f"the label {plain(name)!r} has U+{ord(odd):04X} in its name, which terminals obey and nobody sees: {mend}"
        )


_BRANCH = re.compile(r"(literal|dict|list|tuple|nullable|function-\w+)\[.*\]", re.DOTALL)
"""What pydantic calls a branch of a union, which is no key."""


_SECTIONS: dict[str, type[BaseModel]] = {
    "catalog": CatalogSettings,
    "image": ImageSettings,
    "views": ViewSettings,
    "model": ModelSettings,
    "objective": ObjectiveSettings,
    "training": TrainingSettings,
}


def _fields(path: list[str]) -> list[str]:
    if not path:
        return list(Recipe.model_fields)
    if path[0] == "similarities":
        limits = len(path) > 2  # similarities, a name that may be "views", views
        return list((ViewLimits if limits else SimilaritySettings).model_fields)
    section = StageSettings if "stages" in path else _SECTIONS[path[0]]
    return list(section.model_fields)

"""The one typed description of a run: what it learns from, what is built, and how it is trained.

A recipe is a TOML file, a `Recipe`, or the defaults with a few values changed on the command line; a run writes its
whole recipe back into its folder.
"""

import tomllib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mscon.conflict import Aggregator
from mscon.data.views import ViewSettings
from mscon.errors import UserError, nearest
from mscon.objective import WeightingName


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CatalogSettings(_Section):
    """Which table, and which of its columns mean what."""

    source: str = Field(description="CSV, Parquet, folder, glob, saved Hugging Face dataset, or 'glyphs'.")
    image: str | None = Field(
        default=None, description="Image column: paths, URLs or bytes. Found by name when left out."
    )
    id: str | None = Field(default=None, description="Column that names an item. Found by name when left out.")
    split: str | None = Field(
        default=None, description="Column of train / val / test. 'split' when there is one, else made."
    )
    group: str | None = Field(
        default=None, description="Column whose equal values never straddle splits ('group', 'group_id')."
    )
    ood: tuple[str, ...] = Field(default=(), description="Label columns that are never trained on, only probed.")


class ViewLimits(_Section):
    """The strongest views under which a label stays true, key by key as in [views]; what is left out is not limited."""

    scale: tuple[float, float] | None = None
    ratio: tuple[float, float] | None = None
    flip: float | None = None
    brightness: float | None = None
    contrast: float | None = None
    saturation: float | None = None
    hue: float | None = None
    grey: float | None = None


SimilarityKind = Literal["categorical", "continuous", "rank_n_contrast", "tags", "hierarchy", "pairs", "instance"]


OPTIONS: dict[str, tuple[SimilarityKind, ...]] = {
    "balance": ("categorical",),
    "bandwidth": ("continuous",),
    "period": ("continuous", "rank_n_contrast"),
    "rarity": ("tags",),
    "separator": ("tags", "hierarchy"),
    "levels": ("hierarchy",),
    "level_weights": ("hierarchy",),
    "edges": ("pairs",),
}
"""Which kinds of similarity know which option."""


class SimilaritySettings(_Section):
    """One notion of similarity: a label column, a table of pairs, or the item itself."""

    kind: SimilarityKind | None = Field(
        default=None, description="How alike is decided; from the column when left out ('instance' by its name)."
    )
    column: str | None = Field(default=None, description="The label column, where it is not the similarity's name.")
    balance: float | None = Field(
        default=None, ge=0, le=1, description="categorical: anchors count as n_class^(−balance); 1, every class alike."
    )
    bandwidth: float | None = Field(
        default=None, gt=0, description="continuous: of the kernel, as a share of all items (0.1 when left out)."
    )
    period: float | None = Field(
        default=None, gt=0, description="continuous, rank_n_contrast: of values on a circle, such as 24 for hours."
    )
    rarity: bool | None = Field(default=None, description="tags: rare tags count more (true when left out).")
    separator: str | None = Field(
        default=None, min_length=1, description="tags, hierarchy: in a text column; ',' and '/' when left out."
    )
    levels: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="hierarchy: its columns from coarse to fine, in place of one of paths."
    )
    level_weights: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        default=None, min_length=1, description="hierarchy: how much each level counts (alike when left out)."
    )
    edges: str | None = Field(
        default=None, description="pairs: the table of pairs: two columns of item ids, and a strength if there is one."
    )
    temperature: float | None = Field(default=None, gt=0, description="Its own τ in place of the objective's.")
    head_dim: int | None = Field(default=None, ge=2, description="Its own projection width in place of the model's.")
    views: ViewLimits | None = Field(
        default=None, description="Limits to the views, where stronger ones would destroy its label: brightness = 0."
    )

    def check_options(self, name: str, kind: SimilarityKind | None) -> None:
        """**Raises** `ValueError` for options that the kind, where it is known, does not have, or that it lacks."""
        for option in OPTIONS:
            if getattr(self, option) is not None and kind is not None and kind not in OPTIONS[option]:
                known = ", ".join(other for other, kinds in OPTIONS.items() if kind in kinds)
                raise ValueError(f"similarities.{name}.{option}: {kind} has no such option, but {known or 'none'}")
        if kind == "pairs" and self.edges is None:
            raise ValueError(f"similarities.{name}.edges: missing; name the table of pairs")
        if kind in ("pairs", "instance") and self.column is not None:
            raise ValueError(f"similarities.{name}.column: {kind} reads no column")
        if self.levels is not None and self.column is not None:
            raise ValueError(f"similarities.{name}: levels name the columns of the hierarchy; leave out column")


class ImageSettings(_Section):
    """How an image becomes a square of pixels."""

    size: int = Field(default=64, ge=8, le=1024, description="Side of the square in pixels.")
    fit: Literal["letterbox", "crop"] = Field(default="letterbox", description="Pad to a square, or cut its centre.")
    tolerance: float = Field(
        default=0.1, ge=0, le=1, description="Share of unreadable images above which a run is refused."
    )


class StageSettings(_Section):
    """What one stage of the backbone gives to the embedding."""

    stage: int = Field(lt=0, description="Which: -1 is the last and coarsest, -2 the one before it.")
    grid: int = Field(ge=1, le=16, description="Its map is averaged over grid × grid cells.")


class ModelSettings(_Section):
    """The encoder and its heads."""

    backbone: str = Field(default="resnet10t", description="Any timm model by name.")
    pretrained: bool = Field(default=False, description="Start from timm's pretrained weights (downloads them).")
    stages: tuple[StageSettings, ...] = Field(
        default=(
            StageSettings(stage=-4, grid=4),
            StageSettings(stage=-3, grid=4),
            StageSettings(stage=-2, grid=2),
            StageSettings(stage=-1, grid=1),
        ),
        description="What the embedding is gathered from; [] for the backbone's own pooling.",
    )
    head_layers: int = Field(default=2, ge=1, le=4, description="Linear layers of a projection head.")
    head_width: int = Field(default=512, ge=1, description="Hidden width of a head.")
    head_norm: bool = Field(default=True, description="Normalisation before a head's ReLU, of the kind of `norm`.")
    head_dim: int = Field(default=128, ge=2, description="Width of a projection.")
    norm: Literal["batch", "group", "frozen"] = Field(
        default="batch", description="batch; group: each image by itself; frozen: pretrained statistics that stay."
    )


class ObjectiveSettings(_Section):
    """The sum of contrastive losses."""

    temperature: float = Field(default=0.1, gt=0, description="τ of every similarity that sets none of its own.")
    learn_temperature: bool = Field(default=False, description="Train τ of each similarity, from there on.")
    temperature_bounds: tuple[float, float] = Field(default=(0.02, 1.0), description="Of a τ that is learned.")
    weighting: WeightingName | Aggregator | dict[str, float] = Field(
        default="excess",
        description="excess, equal, uncertainty, uncertainty-exact, one of TorchJD's, or a table of fixed weights.",
    )
    paper: bool = Field(default=False, description="With uncertainty: the published joint form.")
    item_uncertainty: bool = Field(
        default=False,
        description="A head that tells how uncertain an item is; labels that look like chance count less.",
    )
    weighting_lr: float = Field(
        default=0.01, gt=0, description="Learning rate of what the weighting learns, and of temperatures."
    )


class TrainingSettings(_Section):
    """The loop."""

    epochs: int = Field(
        default=30, ge=1, description="An epoch is every training item once (or as many items, per class)."
    )
    batch_size: int = Field(default=128, ge=2, description="Items of a step, over all processes; each comes in views.")
    views_per_item: int = Field(default=2, ge=1, description="Augmented copies of an item in a step.")
    micro_batch: int | None = Field(
        default=None,
        ge=1,
        description="Views that an encoder sees at once, to save memory; the objective sees all of the step's.",
    )
    sampler: str | None = Field(
        default=None,
        description="'random', or a similarity's name: several items of each of its classes, or linked ones together."
        " Left out: by the pairs where there are some, else random.",
    )
    per_class: int = Field(
        default=4, ge=2, description="Items per class, or linked to one another, when a similarity is the sampler."
    )
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="adamw, or sgd with Nesterov momentum 0.9.")
    lr: float = Field(default=2e-3, gt=0, description="Highest learning rate.")
    weight_decay: float = Field(
        default=0.05, ge=0, description="On weight matrices and filters; never on biases and norms."
    )
    warmup: float = Field(
        default=0.05, ge=0, lt=1, description="Share of the steps in which the rate rises; a cosine follows."
    )
    clip: float = Field(default=5.0, gt=0, description="Largest length of the gradient.")
    ema: float = Field(default=0.0, ge=0, lt=1, description="Decay of the averaged weights that are kept; 0 for none.")
    keep: Literal["best", "last"] = Field(
        default="best", description="The model kept: least validation excess, or the last."
    )
    seed: int = Field(default=0, ge=0, description="Of the weights, the order, the views and a made split.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: cuda where there is one.")
    precision: Literal["auto", "32-true", "bf16-mixed"] = Field(
        default="auto", description="auto: bf16 where hardware has it."
    )
    checkpoint_epochs: int = Field(default=1, ge=1, description="Epochs between validations, each with a checkpoint.")


class Recipe(_Section):
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
        if both := set(names) & set(self.catalog.ood):
            raise ValueError(f"{', '.join(sorted(both))}: trained on and out-of-domain at once; choose one")
        sampler = self.sampler
        drawn_by = [name for name in names if not self.is_instance(name)]
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
        if weights in get_args(Aggregator) and self.training.micro_batch:
            raise ValueError(
                f"objective.weighting {weights} needs the whole batch at once: leave out training.micro_batch"
            )
        instances = [name for name in names if self.is_instance(name)]
        if instances and self.training.views_per_item < 2:
            raise ValueError(f"similarity {instances[0]!r} needs training.views_per_item of at least 2")
        if self.model.norm == "frozen" and not self.model.pretrained:
            raise ValueError("model.norm = 'frozen' needs statistics to keep: set model.pretrained = true")
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
            if name == "instance":
                return "instance"
            if similarity.edges is not None:
                return "pairs"
            if similarity.levels is not None:
                return "hierarchy"
        return similarity.kind

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
        """The similarities that are given by a label of each item: all but instance and pairs."""
        return tuple(name for name in self.similarities if self.kind(name) not in ("instance", "pairs"))

    @property
    def run_views(self) -> ViewSettings:
        """The views of the run: what the recipe asks for, weakened to the limits of every similarity."""
        return self.views.weakest(self._limited(each) for each in self.similarities.values())

    def _limited(self, similarity: SimilaritySettings) -> ViewSettings:
        limits = similarity.views.model_dump(exclude_none=True) if similarity.views else {}
        return ViewSettings.model_validate(self.views.model_dump() | limits)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that are probed: the trained ones, then the out-of-domain ones."""
        return (*self.labelled, *self.catalog.ood)

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
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path}: there is no such recipe file") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
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
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _merged(data: Mapping[str, Any], overrides: Mapping[str, Any], name: str) -> dict[str, Any]:
    tables: dict[str, Any] = deepcopy(dict(data))
    for key, value in overrides.items():
        *path, last = key.split(".")
        table = tables
        for part in path:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise UserError(f"{name}: {key}: {part!r} is a value, not a table")
        table[last] = value
    return tables


def _explain(error: Any, name: str) -> str:
    """One line a person can act on: the file, the dotted key, what is wrong, and the nearest valid key."""
    path = [str(part) for part in error["loc"] if "[" not in str(part)]  # a union's branches are not keys
    where = f"{name}: {'.'.join(path)}" if path else name
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key.{nearest(path[-1], _fields(path[:-1])) or f' Known here: {_listed(path[:-1])}'}"
    if error["type"] == "missing":
        hints = {"catalog": " Name a table of images.", "similarities": " Name at least one similarity."}
        return f"{where}: missing.{hints.get(path[0], '')}"
    return f"{where}: {error['msg'].removeprefix('Value error, ')}" + (f" (found {error['input']!r})" if path else "")


def _fields(path: list[str]) -> list[str]:
    sections: dict[str, type[BaseModel]] = {
        "catalog": CatalogSettings,
        "image": ImageSettings,
        "views": ViewSettings,
        "model": ModelSettings,
        "objective": ObjectiveSettings,
        "training": TrainingSettings,
    }
    if not path:
        return list(Recipe.model_fields)
    if path[0] == "similarities":
        return list((ViewLimits if path[-1] == "views" else SimilaritySettings).model_fields)
    section = StageSettings if "stages" in path else sections[path[0]]
    return list(section.model_fields)


def _listed(path: list[str]) -> str:
    return ", ".join(_fields(path))

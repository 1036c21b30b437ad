"""The sections of a recipe, key by key: what each means, its default, and which values it takes."""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mscon.errors import nearest
from mscon.weighting import Aggregator, WeightingName

SHARED = "shared"
"""The shared embedding's name among the similarities, which none of them has."""

MOST_WIDE, MOST_OFTEN = 2**48, 10**9
"""Of a layer, which no memory holds, and of epochs and steps: more is a slip of the finger."""


class Section(BaseModel):
    """What all have in common: nothing unknown, no infinity, and no change once they are read."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CatalogSettings(Section):
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


class ViewLimits(Section):
    """The strongest views under which a label stays true, key by key as in [views]; what is left out is not limited."""

    scale: tuple[float, float] | None = None
    ratio: tuple[float, float] | None = None
    flip: float | None = None
    brightness: float | None = None
    contrast: float | None = None
    saturation: float | None = None
    hue: float | None = None
    grey: float | None = None


SimilarityKind = Literal[
    "categorical", "continuous", "rank_n_contrast", "tags", "hierarchy", "pairs", "instance", "appearance"
]


UNLABELLED: tuple[SimilarityKind, ...] = ("instance", "appearance", "pairs")
"""Kinds that no label of the items gives."""

OPTIONS: dict[str, tuple[SimilarityKind, ...]] = {
    "balance": ("categorical",),
    "joint": ("categorical",),
    "bandwidth": ("continuous",),
    "period": ("continuous", "rank_n_contrast"),
    "rarity": ("tags",),
    "separator": ("tags", "hierarchy"),
    "levels": ("hierarchy",),
    "level_weights": ("hierarchy",),
    "edges": ("pairs",),
    "first": ("pairs",),
    "second": ("pairs",),
    "strength": ("pairs",),
}
"""Which kinds of similarity know which option."""


class SimilaritySettings(Section):
    """One notion of similarity: a label column, a table of pairs, or the item itself."""

    kind: SimilarityKind | None = Field(
        default=None,
        description="How alike is decided; from the column when left out ('instance', 'appearance' by their names).",
    )
    column: str | None = Field(default=None, description="The label column, where it is not the similarity's name.")
    joint: tuple[str, ...] | None = Field(
        default=None, min_length=2, description="categorical: columns whose values together make one class."
    )
    balance: float | None = Field(
        default=None, ge=0, le=1, description="categorical: anchors count as n_class^(−balance); 1, every class alike."
    )
    bandwidth: float | None = Field(
        default=None,
        ge=1e-6,
        le=1e6,
        description="continuous: of the kernel, as a share of all items (0.05 when left out).",
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
    first: str | None = Field(default=None, description="pairs: the table's column of the one item.")
    second: str | None = Field(default=None, description="pairs: of the other item.")
    strength: str | None = Field(default=None, description="pairs: of the strength; found when left out, as these.")
    temperature: float | None = Field(
        default=None, ge=1e-4, le=1e4, description="Its own τ in place of the objective's."
    )
    head_dim: int | None = Field(
        default=None, ge=2, le=MOST_WIDE, description="Its own projection width in place of the model's."
    )
    head_layers: int | None = Field(
        default=None, ge=1, le=4, description="Its own number of head layers in place of the model's (appearance: 1)."
    )
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
        if kind in UNLABELLED and self.column is not None:
            raise ValueError(f"similarities.{name}.column: {kind} reads no column; leave it out")
        if kind == "appearance" and self.head_dim is not None:
            raise ValueError(f"similarities.{name}.head_dim: leave it out; its features say how wide it is")
        if self.levels is not None and self.column is not None:
            raise ValueError(f"similarities.{name}: levels name the columns of the hierarchy; leave out column")
        if self.joint is not None and self.column is not None:
            raise ValueError(f"similarities.{name}: joint names the columns; leave out column")

    def fitting_kinds(self) -> tuple[SimilarityKind, ...]:
        """The kinds that know all the options that are set."""
        known = [OPTIONS[option] for option in OPTIONS if getattr(self, option) is not None]
        return tuple(kind for kind in get_args(SimilarityKind) if all(kind in kinds for kinds in known))


class ImageSettings(Section):
    """How an image becomes a square of pixels."""

    size: int = Field(default=64, ge=8, le=1024, description="Side of the square in pixels.")
    fit: Literal["letterbox", "crop"] = Field(default="letterbox", description="Pad to a square, or cut its centre.")
    tolerance: float = Field(
        default=0.1, ge=0, le=1, description="Share of unreadable images above which a run is refused."
    )
    cache: bool = Field(
        default=True, description="Decode all images once and keep them; false: decode them as batches need them."
    )
    open: int = Field(
        default=16, ge=2, description="Without the cache: row groups of Parquet files that are mixed at a time."
    )


class StageSettings(Section):
    """What one stage of the backbone gives to the embedding."""

    stage: int = Field(lt=0, description="Which: -1 is the last and coarsest, -2 the one before it.")
    grid: int = Field(ge=1, le=16, description="Its map is averaged over grid × grid cells.")


class ModelSettings(Section):
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
    head_width: int = Field(default=512, ge=1, le=MOST_WIDE, description="Hidden width of a head.")
    head_norm: bool = Field(default=True, description="Normalisation before a head's ReLU, of the kind of `norm`.")
    head_dim: int = Field(default=128, ge=2, le=MOST_WIDE, description="Width of a projection.")
    heads: Literal["separate", "shared", "masked"] = Field(
        default="separate",
        description="One for each similarity; shared: one for all; masked: one for all, its numbers weighed by each.",
    )
    embedding_dim: int | None = Field(
        default=None,
        ge=2,
        le=MOST_WIDE,
        description="A linear map of what the stages give, to this width; none when left out.",
    )
    embedding_norm: bool = Field(default=True, description="Normalise what the stages give, by `norm`.")
    norm: Literal["batch", "group", "frozen"] = Field(
        default="batch", description="batch; group: each image by itself; frozen: pretrained statistics that stay."
    )


class ObjectiveSettings(Section):
    """The sum of the similarities' losses."""

    loss: Literal["contrastive", "cross-entropy", "triplet"] = Field(
        default="contrastive",
        description="Of what labels give. To compare with: cross-entropy of a classifier; triplets, as CSN has them.",
    )
    temperature: float = Field(
        default=0.1, ge=1e-4, le=1e4, description="τ of every similarity that sets none of its own."
    )
    learn_temperature: bool = Field(default=False, description="Train τ of each similarity, from there on.")
    temperature_bounds: tuple[float, float] = Field(default=(0.02, 1.0), description="Of a τ that is learned.")
    weighting: WeightingName | Aggregator | dict[str, float] = Field(
        default="excess",
        description="excess, equal, uncertainty, uncertainty-exact, one of TorchJD's, or a table of fixed weights.",
    )
    paper: bool = Field(
        default=False, description="With uncertainty: the published joint form; with cross-entropy, Kendall's."
    )
    item_uncertainty: bool = Field(
        default=False, description="A head that learns how uncertain an item is under each similarity."
    )
    item_weights: bool = Field(
        default=False, description="With item_uncertainty: in training, anchors count by 1 / (0.1 + σ²) of their items."
    )
    weighting_lr: float = Field(
        default=0.01, gt=0, description="Learning rate of what the weighting learns, and of temperatures."
    )

    @field_validator("weighting", mode="before")
    @classmethod
    def _known_weighting(cls, value: object) -> object:
        known = (*get_args(WeightingName), *get_args(Aggregator))
        if isinstance(value, str) and value not in known:
            raise ValueError(f"there is no such weighting.{nearest(value, known)} Known: {', '.join(known)}")
        return value


class TrainingSettings(Section):
    """The loop."""

    epochs: int = Field(
        default=30,
        ge=1,
        le=MOST_OFTEN,
        description="An epoch is every training item once (or as many items, per class).",
    )
    steps: int | None = Field(default=None, ge=1, le=MOST_OFTEN, description="Steps in all, in place of epochs.")
    batch_size: int = Field(
        default=128, ge=2, le=2**20, description="Items of a step, over all processes; each comes in views."
    )
    views_per_item: int = Field(default=2, ge=1, le=1000, description="Augmented copies of an item in a step.")
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
        default=4,
        ge=2,
        le=2**20,
        description="Items per class, or linked to one another, when a similarity is the sampler.",
    )
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="adamw, or sgd with momentum 0.9.")
    nesterov: bool = Field(default=True, description="Of sgd: Nesterov's form of momentum.")
    lr: float = Field(default=2e-3, gt=0, description="Highest learning rate.")
    weight_decay: float = Field(
        default=0.05, ge=0, description="On weight matrices and filters; never on biases and norms."
    )
    warmup: float = Field(default=0.05, ge=0, lt=1, description="Share of the steps in which the rate rises.")
    decay: float | None = Field(
        default=None, gt=0, le=1, description="What the rate is multiplied by every epoch; a cosine when left out."
    )
    clip: float = Field(default=5.0, gt=0, description="Largest length of the gradient.")
    ema: float = Field(default=0.0, ge=0, lt=1, description="Decay of the averaged weights that are kept; 0 for none.")
    keep: Literal["best", "last"] = Field(
        default="best", description="The model kept: least validation excess, or the last."
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Of the weights, the order, the views and a made split.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: cuda where there is one.")
    precision: Literal["auto", "32-true", "bf16-mixed"] = Field(
        default="auto", description="auto: bf16 where hardware has it."
    )
    audit_epochs: int = Field(
        default=0,
        ge=0,
        le=MOST_OFTEN,
        description="Epochs between audits: labels that look wrong are left out; 0 for none.",
    )
    checkpoint_epochs: int = Field(
        default=1, ge=1, le=MOST_OFTEN, description="Epochs between validations, each with a checkpoint."
    )

"""What it takes to build a model again: written beside its weights, and read back from whoever wrote them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from mscon.encoder import Norm, Stage
from mscon.parsing import explained, parse_json

Heads = Literal["separate", "shared", "masked"]
"""How projections are made from an embedding.

- `"separate"`: a head for each similarity.
- `"shared"`: one head, the same projection under every similarity.
- `"masked"`: one head, whose numbers every similarity weighs by a mask of its own: z_c = relu(m_c) ⊙ g(h), conditional
  similarity networks (Veit, Belongie and Karaletsos 2017, arXiv 1603.07810).
"""

LOADING = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
"""Options of timm that fetch or read weights: what builds a new model may need them; a file of weights never does."""

LARGEST_OPTION = 2**16
"""Of numbers in a file's backbone options: widths and depths have some thousands at most."""

Width = Annotated[int, Field(ge=1, le=2**22)]
Depth = Annotated[int, Field(ge=1, le=64)]


@dataclass(frozen=True)
class Architecture:
    """What it takes to build the same model again; stored beside the weights.

    - `backbone`: timm's name, or None for a module of the user's own.
    - `embedding_dim`: width D of the embedding.
    - `head_dims`: similarity → width of its projection.
    - `head_layers`, `head_width`: linear layers of a head and their hidden width.
    - `own_layers`: similarity → layers of its head, where they are not so many.
    - `head_norm`: normalisation before a head's ReLU, by batch or by LayerNorm as `norm` says.
    - `image_size`: side in pixels of the images it was trained on.
    - `in_chans`: channels of an image.
    - `stages`: what the stages of the backbone give to the embedding; with none, its own pooling does.
    - `backbone_options`: passed on to timm.
    - `uncertainty`: whether there is an uncertainty head.
    - `heads`: see `Heads`; all but separate ones have one width.
    - `embedding_norm`: whether what the stages give is normalised; `embedding_map`: whether it is then mapped linearly
      to `embedding_dim`.
    - `norm`: what features are normalised by, see `mscon.encoder.Norm`. A module of the user's own keeps its layers;
      `"frozen"` holds for its batch normalisation too.
    """

    backbone: str | None
    embedding_dim: Width
    head_dims: dict[str, Width]
    head_layers: Depth = 2
    head_width: Width | None = None
    head_norm: bool = False
    image_size: Width | None = None
    in_chans: Width = 3
    stages: tuple[Stage, ...] = ()
    backbone_options: dict[str, Any] = field(default_factory=dict)
    norm: Norm = "batch"
    uncertainty: bool = False
    heads: Heads = "separate"
    embedding_norm: bool = True
    embedding_map: bool = False
    own_layers: dict[str, Depth] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str) -> "Architecture":
        """From what a file of weights holds, which anybody may have written.

        **Raises:** `ValueError` for anything else: a key or a value that it does not have, sizes that no model has, and
        options that would fetch or read other weights.
        """
        found = parse_json(text)
        if not isinstance(found, dict):
            raise ValueError("no table of an architecture")
        if unknown := sorted(set(found) - set(cls.__dataclass_fields__)):
            raise ValueError(f"unknown {', '.join(unknown)}: written by another version of mscon?")
        try:
            made: Architecture = _ADAPTER.validate_json(text, strict=True)
        except ValidationError as error:
            raise ValueError(explained(error)) from None
        if not made.head_dims:
            raise ValueError("head_dims: no similarity")
        if forbidden := sorted(set(made.backbone_options) & set(LOADING)):
            raise ValueError(f"backbone_options: {forbidden[0]} is about other weights than these")
        if any(isinstance(each, int | float) and abs(each) > LARGEST_OPTION for each in _values(made.backbone_options)):
            raise ValueError(f"backbone_options: a number beyond {LARGEST_OPTION}")
        return made


_ADAPTER: TypeAdapter[Architecture] = TypeAdapter(Architecture)


def _values(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict | list):
        for each in tree.values() if isinstance(tree, dict) else tree:
            yield from _values(each)
    else:
        yield tree

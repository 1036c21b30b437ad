"""What the JSON files of a run's folder must hold: checked when one is read, for another version, or another hand, may
have written it.

What is not named here is let through; what is optional here was not always written.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from mscon.errors import UserError
from mscon.files import digest
from mscon.parsing import explained, parse_json

# A number that a figure can be drawn from; none that is measured is near the ends.
Number = Annotated[float, Field(strict=True, ge=-1e15, le=1e15)]
Count = Annotated[int, Field(strict=True, ge=0, le=10**15)]
Metric = Literal["accuracy", "r2", "mAP"]


class Estimate(TypedDict):
    """A value and its 95% interval."""

    value: Number | None
    low: NotRequired[Number | None]
    high: NotRequired[Number | None]


class Known(TypedDict):
    """The same where the value is defined."""

    value: Number
    low: NotRequired[Number | None]
    high: NotRequired[Number | None]


class Floor(Estimate):
    """What a probe scores without the model, and how far the model is above it."""

    difference: NotRequired[Estimate | None]


class Tag(TypedDict):
    """How well one tag is told."""

    value: Number
    prevalence: Number
    n: Count


class Scored(Estimate):
    """One label's scores; see `mscon.evaluate.score`."""

    role: Literal["in-domain", "ood"]
    kind: str
    metric: Metric
    classes: NotRequired[Count | None]
    unseen: NotRequired[Count | None]
    n: Count
    balanced: NotRequired[Number | None]
    majority: NotRequired[Number | None]
    knn: NotRequired[Number | None]
    mae: NotRequired[Number | None]
    own_head: NotRequired[Estimate | None]
    paper_probe: NotRequired[Estimate | None]
    spearman: NotRequired[Estimate | None]
    circular: NotRequired[Estimate | None]
    levels: NotRequired[list[Estimate]]
    tags: NotRequired[dict[str, Tag]]
    floors: NotRequired[dict[str, Floor | None]]


class Link(TypedDict):
    """The share of an item's linked ones among its ten nearest, and what chance finds."""

    value: Number
    low: Number | None
    high: Number | None
    chance: Number


class Links(TypedDict):
    """How linked items find one another in one space."""

    recall: dict[str, Link]


class Linked(TypedDict):
    """The same for one table of pairs."""

    pairs: Count
    asked: Count
    own_head: Links
    embedding: Links


class Ranking(TypedDict):
    """How items of a class find one another in one space."""

    map_at_r: Known
    precision_at_1: Known
    precision_at_10: Known


class Retrieval(TypedDict):
    """The same for one label."""

    asked: Count
    chance: Number
    embedding: Ranking | None
    own_head: Ranking | None
    difference: Ranking | None


class Head(TypedDict):
    """What is known of one head."""

    name: str
    effective_rank: Number
    uniformity: Number | None
    relative_excess: NotRequired[Number | None]
    weight: Number | None
    alone: NotRequired[Number | None]


class Pair(TypedDict):
    """What two heads have in common."""

    first: str
    second: str
    cka: Number | None
    shared_information: Number | None
    gradient_cosine: Number | None


class Diagnostics(TypedDict):
    """What to watch."""

    items: Count
    effective_rank: Number
    uniformity: Number | None
    heads: list[Head]
    pairs: list[Pair]
    warnings: list[str]


class Rows(TypedDict):
    """Items of each part."""

    train: Count
    val: Count
    test: Count


class Evaluation(TypedDict):
    """evaluation.json."""

    model: NotRequired[str]
    labels: dict[str, Scored]
    rows: NotRequired[Rows]
    links: NotRequired[dict[str, Linked]]
    retrieval: NotRequired[dict[str, Retrieval]]
    diagnostics: NotRequired[Diagnostics | None]
    notes: NotRequired[list[str]]


class Record(TypedDict):
    """A line of metrics.jsonl."""

    kind: Literal["train", "val"]
    step: Count
    epoch: Number
    total: NotRequired[Number | None]
    lr: NotRequired[Number]
    images_per_second: NotRequired[Number]
    seconds: NotRequired[Number]
    terms: dict[str, dict[str, Number | None]]
    trust: NotRequired[dict[str, dict[str, Number | None]]]
    temperature: NotRequired[dict[str, Number]]
    doubted: NotRequired[dict[str, Count]]


class EffectOf(TypedDict):
    """What a similarity adds to a label."""

    label: str
    without: str
    value: Number | None
    low: Number | None
    high: Number | None


class ScoreOf(TypedDict):
    """A label's score with all similarities."""

    metric: Metric
    value: Number | None


class Unread(TypedDict):
    """A row of skipped.json."""

    row: Count
    id: str
    reason: str


class Ablated(TypedDict):
    """ablation.json."""

    scores: dict[str, ScoreOf]
    effects: list[EffectOf]
    notes: list[str]
    warnings: list[str]


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """A run's evaluation.json; None where there is none, or it is of another model than the run has by now. **Raises**
    `UserError` for a file that is none.
    """
    found = _read(folder / "evaluation.json", Evaluation, "an evaluation", f"mscon evaluate {folder}")
    model = folder / "model.safetensors"
    if found is None or "model" not in found or not model.is_file():
        return found
    return found if found["model"] == digest(model) else None


def read_ablation(folder: Path) -> dict[str, Any] | None:
    """A run's ablation.json; None where there is none. **Raises** `UserError` for a file that is none."""
    return _read(folder / "ablation.json", Ablated, "an ablation", f"mscon ablate {folder}")


def check_unread(listed: Any) -> list[dict[str, Any]]:
    """What skipped.json holds, as it is. **Raises** `ValueError` for anything else."""
    return _checked(listed, list[Unread])


def check_record(record: Any) -> dict[str, Any]:
    """A line of metrics.jsonl as it is. **Raises** `ValueError` for anything else, with the key that is wrong."""
    return _checked(record, Record)


def _read(path: Path, shape: Any, what: str, command: str) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        return _checked(parse_json(path.read_text(encoding="utf-8")), shape)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not {what} ({error}); `{command}` writes it anew") from None


def _checked(found: Any, shape: Any) -> Any:
    try:
        _adapter(shape).validate_python(found)
    except ValidationError as error:
        raise ValueError(explained(error)) from None
    return found


@cache
def _adapter(shape: Any) -> Any:
    """Made once: it takes some milliseconds."""
    return TypeAdapter(shape)

"""The course of a training as a whole: rate and pace, and what else was learned or found of each similarity."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from mscon.report.curves import Curve, curve_of, points_each


@dataclass(frozen=True)
class End:
    """Where one similarity stood when training ended; None where that was not logged.

    - `loss`, `floor`, `chance`, `excess`: of training, in nats; `relative_excess`: of training, and `held_out`.
    - `weight`: how far it was trusted after the last look at held-out items, as the diagnostics have it, and not in the
      steps before it; `noise_share`: of its labels, as the weighting reads it, where it is given by labels.
    - `temperature`: τ; `doubted`: labels left out of training in the end.
    """

    name: str
    loss: float | None
    floor: float | None
    chance: float | None
    excess: float | None
    relative_excess: float | None
    held_out: float | None
    weight: float | None
    noise_share: float | None
    temperature: float | None
    doubted: int | None


@dataclass(frozen=True, eq=False)
class Course:
    """What is logged beside the losses.

    - `rate`, `pace`: learning rate, and images per second, of training's lines.
    - `held_out`: the mean relative excess of the held-out items, by which the model that is kept is chosen.
    - `noise_share`, `temperature`, `doubted`: by similarity, of the held-out lines; empty where nothing of the kind is
      learned or asked, or where it never changed.
    - `ends`: a line for each similarity. `usual_pace`: the median of `pace`.
    """

    rate: Curve
    pace: Curve
    held_out: Curve
    noise_share: dict[str, Curve]
    temperature: dict[str, Curve]
    doubted: dict[str, Curve]
    ends: tuple[End, ...]
    usual_pace: float | None


def read_course(
    records: Iterable[Mapping[str, Any]], similarities: Sequence[str], labelled: Collection[str] | None = None
) -> Course:
    """The course that the lines of metrics.jsonl tell. `labelled`: the similarities that labels give, all when left
    out: of instance, appearance and pairs there are no labels that could be noise.
    """
    labelled = [name for name in similarities if labelled is None or name in labelled]
    logged = list(records)
    train, held_out = ([record for record in logged if record["kind"] == kind] for kind in ("train", "val"))
    paces = [record["images_per_second"] for record in train if "images_per_second" in record]
    most = points_each(len(similarities))

    def each(lines: Sequence[Mapping[str, Any]], *keys: str) -> Curve:
        return _curve(lines, *keys).averaged(most)

    return Course(
        rate=_curve(train, "lr"),
        pace=_curve(train, "images_per_second"),
        held_out=_curve(held_out, "total"),
        noise_share=_changing({name: each(held_out, "trust", name, "noise_share") for name in labelled}),
        temperature=_changing({name: each(held_out, "temperature", name) for name in similarities}),
        doubted=_changing({name: each(held_out, "doubted", name) for name in similarities}),
        ends=tuple(_end(name, train, held_out, labelled=name in labelled) for name in similarities) if logged else (),
        usual_pace=median(paces) if paces else None,
    )


def _curve(records: Sequence[Mapping[str, Any]], *keys: str) -> Curve:
    return curve_of((record["step"], _at(record, *keys)) for record in records)


def _changing(curves: dict[str, Curve]) -> dict[str, Curve]:
    """The curves, or none of them where each is flat."""
    changes = any(len(curve.known) and curve.known.min() < curve.known.max() for curve in curves.values())
    return curves if changes else {}


def _end(
    name: str, train: Sequence[Mapping[str, Any]], held_out: Sequence[Mapping[str, Any]], *, labelled: bool
) -> End:
    trained, looked_at = (records[-1] if records else {} for records in (train, held_out))
    weights = (
        _at(looked_at, "trust", name, "weight"),
        *(_at(of, "terms", name, "weight") for of in (looked_at, trained)),
    )
    return End(
        name,
        **{key: _at(trained, "terms", name, key) for key in ("loss", "floor", "chance", "excess", "relative_excess")},
        held_out=_at(looked_at, "terms", name, "relative_excess"),
        weight=next((weight for weight in weights if weight is not None), None),
        noise_share=_at(looked_at, "trust", name, "noise_share") if labelled else None,
        temperature=_at(looked_at, "temperature", name),
        doubted=_at(looked_at, "doubted", name),
    )


def _at(record: Mapping[str, Any], *keys: str) -> Any:
    """What stands in nested tables under the keys, or None."""
    found: Any = record
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found

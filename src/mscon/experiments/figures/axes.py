"""The figures' axes: noisy, missing and repeated labels, temperature, number of similarities, batch size."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from mscon.experiments.figures.figure import Figure, Panel, Point
from mscon.experiments.studies import Preset, Study
from mscon.experiments.variants import PLAIN, Variant
from mscon.recipe import Recipe
from mscon.settings import TrainingSettings

WEIGHTINGS = ("mscon-equal", "mscon-paper", "mscon-uncertainty", "mscon-exact", "mscon-excess")
TWO = ("mscon-equal", "mscon-excess")
WITH_LITTLE = ("cross-entropy-equal", "mscon-equal", "mscon-excess-instance", "mscon-appearance")
PARTS = 6
"""Classes of the two labels whose shared information is set."""


def _noise(study: Study, _: Preset) -> list[Point]:
    label = study.similarities[-1]
    points = [Point("0", PLAIN)]
    for share in (20, 40, 60, 80, 100):
        own = {name: {} for name in study.similarities} | {label: {"column": f"noisy_{label}"}}
        alter = partial(shuffled, label=label, share=share / 100)
        points.append(Point(str(share), Variant(f"noise-{share}", similarities=own, alter=alter)))
    return points


def shuffled(table: pl.DataFrame, seed: int, *, label: str, share: float) -> pl.DataFrame:
    """With a column `noisy_LABEL`: a share of the training and validation items have one another's labels."""
    rng = np.random.default_rng((seed, 7))
    rows = np.flatnonzero((table["split"] != "test").to_numpy())
    some = rng.permutation(rows)[: round(share * len(rows))]
    source = np.arange(table.height)
    source[some] = rng.permutation(some)
    return table.with_columns(table[label].gather(source).alias(f"noisy_{label}"))


def _gaps(study: Study, _: Preset) -> list[Point]:
    own = {name: {"column": f"partial_{name}"} for name in study.similarities}
    points = [Point("0", PLAIN)]
    for share in (50, 80, 90, 95, 98):
        alter = partial(thinned, labels=study.similarities, share=share / 100)
        points.append(Point(str(share), Variant(f"gaps-{share}", similarities=own, alter=alter)))
    return points


def thinned(table: pl.DataFrame, seed: int, *, labels: Sequence[str], share: float) -> pl.DataFrame:
    """With a column `partial_LABEL` for each label, of which a share of the training items lack it: others of each."""
    rows = np.flatnonzero((table["split"] == "train").to_numpy())
    columns: list[pl.Series] = []
    for number, label in enumerate(labels):
        lacking = np.random.default_rng((seed, 9, number)).permutation(rows)[: round(share * len(rows))]
        source = pl.Series(np.arange(table.height)).scatter(lacking, None)
        columns.append(table[label].gather(source).alias(f"partial_{label}"))
    return table.with_columns(columns)


def _redundancy(study: Study, _: Preset) -> list[Point]:
    label = study.similarities[-1]
    own: dict[str, dict[str, Any]] = {name: {} for name in study.similarities}
    thrice = own | {"again": {"column": label}, "once_more": {"column": label}}
    points = [Point("once", PLAIN), Point("three times", Variant("thrice", similarities=thrice))]
    rest = {name: {} for name in study.similarities[:-1]}
    for share in (0, 50, 100):
        alter = partial(related, label=label, share=share / 100)
        two = {**rest, "first": {}, "second": {}}
        points.append(Point(f"two that share {share}%", Variant(f"shared-{share}", similarities=two, alter=alter)))
    return points


def related(table: pl.DataFrame, seed: int, *, label: str, share: float) -> pl.DataFrame:
    """With columns `first` and `second`: the label's classes dealt into six parts twice, the same way for a share of
    the classes. Both are clean, and the share sets what they tell of one another.
    """
    rng = np.random.default_rng((seed, 8))
    classes = table[label].drop_nulls().value_counts(sort=True)[label].to_list()
    one = _dealt(len(classes), rng)
    two = _dealt(len(classes), rng)
    # Most frequent classes first: every other so many of them, so that shares of classes are shares of items, about.
    same = np.floor(np.arange(1, len(classes) + 1) * share) > np.floor(np.arange(len(classes)) * share)
    parts = {"first": one, "second": np.where(same, one, two)}
    return table.with_columns(
        table[label].replace_strict(classes, [f"part {each}" for each in part], return_dtype=pl.String).alias(name)
        for name, part in parts.items()
    )


def _dealt(count: int, rng: np.random.Generator) -> np.ndarray:
    """Parts of classes, as many in each as can be, frequent ones apart."""
    rounds = -(-count // PARTS)
    return np.concatenate([rng.permutation(PARTS) for _ in range(rounds)])[:count]


def _temperature(_: Study, preset: Preset) -> list[Point]:
    values = (0.02, 0.05, 0.1, 0.2, 0.5)
    return [_changed(f"{tau:g}", preset, "temperature", "objective.temperature", tau) for tau in values]


def _changed(at: str, preset: Preset, name: str, key: str, value: Any) -> Point:
    """A point at which one value is another; where the preset has it already, the study as it is."""
    section, last = key.split(".")
    usual = Recipe.model_fields[section].default.model_dump()[last]
    if preset.tables.get(section, {}).get(last, usual) == value:
        return Point(at, PLAIN)
    return Point(at, Variant(f"{name}-{at}", {key: value}))


def _five(study: Study) -> list[str]:
    """Five labels to learn: the study's own, then those that it never trains on, but the first, which stays."""
    return [*study.similarities, *study.ood[1:]][:5]


def _similarities(study: Study, _: Preset) -> list[Point]:
    labels = _five(study)
    return [Point(str(count), _only(study, labels[:count], f"first-{count}")) for count in range(1, len(labels) + 1)]


def _leave_one_out(study: Study, _: Preset) -> list[Point]:
    labels = _five(study)
    whole = Point("all", _only(study, labels, f"first-{len(labels)}"))
    rest = ((name, [other for other in labels if other != name]) for name in labels if len(labels) > 1)
    return [whole, *(Point(f"without {name}", _only(study, others, f"without-{name}")) for name, others in rest)]


def _only(study: Study, labels: Sequence[str], name: str) -> Variant:
    if tuple(labels) == study.similarities:
        return PLAIN
    return Variant(name, similarities={label: {} for label in labels})


def _heads(_: Study, preset: Preset) -> list[Point]:
    return [_changed(which, preset, "heads", "model.heads", which) for which in ("separate", "shared", "masked")]


MICRO_BATCH = 64
"""Views that the encoder sees at once, whatever the batch: its batch normalisation is then the same in all."""
ROWS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
EPOCHS, STEPS = 4, 100


def _batch(rows: int, preset: Preset, name: str, changes: Mapping[str, Any]) -> Point:
    # Adam's steps keep their length per item under a rate that grows with the root of the batch (Malladi et al. 2022).
    items, usual = rows // 2, preset.tables.get("training", {}).get("batch_size", TrainingSettings().batch_size)
    recipe = {"training.batch_size": items, "training.micro_batch": MICRO_BATCH, **changes}
    return Point(f"{rows:,}", Variant(f"{name}-{rows}", recipe, rate=(items / usual) ** 0.5))


def _batch_size(_: Study, preset: Preset) -> list[Point]:
    return [_batch(rows, preset, "batch", {"training.epochs": EPOCHS}) for rows in ROWS]


def _equal_steps(_: Study, preset: Preset) -> list[Point]:
    # Where a step is an epoch or more, validations of every epoch would take longer than the training.
    changes = {"training.steps": STEPS, "training.checkpoint_epochs": 10}
    return [_batch(rows, preset, "steps", changes) for rows in ROWS]


def _own(study: Study) -> list[Panel]:
    return [Panel("labels trained", study.similarities), Panel("labels never trained", study.ood)]


def _last_apart(study: Study) -> list[Panel]:
    others, last = study.similarities[:-1], study.similarities[-1]
    weight = Panel(f"weight of {last}, % of all", weight_of=last)
    return [Panel(", ".join(others), others), Panel(last, (last,)), Panel("labels never trained", study.ood), weight]


def _each(study: Study) -> list[Panel]:
    return [Panel(label, (label,)) for label in study.labels]


noise = Figure(
    "noise",
    "% of the last label's training items that have one another's label",
    WEIGHTINGS,
    _noise,
    _last_apart,
)
gaps = Figure("gaps", "% of the training items that lack each label", WITH_LITTLE, _gaps, _own)
redundancy = Figure(
    "redundancy",
    "the last label",
    (*TWO, "mscon-uncertainty"),
    _redundancy,
    lambda study: _last_apart(study)[:3],
)
temperature = Figure("temperature", "temperature τ", TWO, _temperature, _own)
similarities = Figure("similarities", "similarities trained", TWO, _similarities, _each)
leave_one_out = Figure("leave-one-out", "trained", (*TWO, "mscon-paper"), _leave_one_out, _each)
heads = Figure("heads", "heads", TWO, _heads, _own)
batch_size = Figure("batch-size", "views in a batch", TWO, _batch_size, _own)
equal_steps = Figure("equal-steps", "views in a batch", ("mscon-equal",), _equal_steps, _own)

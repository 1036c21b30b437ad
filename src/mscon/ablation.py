"""Leave one out: the run's recipe again without each similarity in turn, and what that does to every label."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mscon.data.items import Items
from mscon.data.splits import PARTS, Split
from mscon.embed import embed_pixels
from mscon.errors import UserError
from mscon.evaluate.bootstrap import verdict
from mscon.evaluate.entries import MODEL
from mscon.evaluate.evaluation import scored_labels
from mscon.evaluate.notes import data_notes, print_notes
from mscon.evaluate.scores import score
from mscon.evaluate.show import STYLES, UNITS, number, scale_of, score_notes
from mscon.log import Display
from mscon.prepare import prepare
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.train import train
from mscon.words import listed

WITHOUT = "without "
"""Before a similarity's name, that of the embeddings of the run that lacks it: a similarity may be called `model`."""

LONGEST = 60
"""Letters of a similarity's name that its folder has: file systems have 255 bytes for all of it."""


@dataclass(frozen=True)
class Effect:
    """What a similarity does to a label: the run's score minus the score without it, paired, with its 95% interval.

    In the unit of `metric`: shares for accuracy, R², mAP. None where it is not defined.
    """

    label: str
    without: str
    metric: str
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Ablation:
    """Every label's `score` in the run itself, and the effect on it of every similarity that can be left out.

    - `notes`: what the table lacks, what of the catalog has changed since the training, and which labels could not be
      scored.
    """

    scores: dict[str, dict[str, Any]]
    effects: tuple[Effect, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What ablation.json holds."""
        effects = [vars(each) for each in self.effects]
        return {"scores": self.scores, "effects": effects, "notes": [*self.notes], "warnings": warnings(self)}


def train_without_each(
    run: Run, *, display: Callable[[], AbstractContextManager[Display | None]] = nullcontext
) -> dict[str, Run]:
    """Train a run's recipe again without each of its similarities, as runs of their own.

    Each is trained from the run's seed on the run's items, in the parts that they have there, and under its views, in
    the folder RUN-without-NAME beside it; one that is there is gone on with, and taken as it is when it is done.

    **Arguments:**

    - `run`: a run of two similarities or more; its catalog must still be where it was.
    - `display`: makes what watches a training, once for each.

    **Returns:** the runs by the name of what they lack.

    **Raises:** `UserError` for a run of one similarity, a folder that holds another run, a split that is not kept with
    the run and comes out another without one of the columns, and whatever `train` raises.
    """
    recipes = dict(without_each(run.recipe))
    if not recipes:
        raise UserError(f"{run.folder}: there is nothing to leave out of {', '.join(run.recipe.similarities)}")
    split, items = run.prepare().split, run.items()
    for name, recipe in recipes.items():  # all of them, before hours go into the first
        _check_same_items(run, split, name, prepare(recipe, items=items).split)
        _check_folder(run, items, ablated_folder(run, name))
    runs: dict[str, Run] = {}
    for name, recipe in recipes.items():
        folder = ablated_folder(run, name)
        with display() as watching:
            resume = (folder / "recipe.toml").exists()
            runs[name] = train(recipe, folder, resume=resume, known=items, display=watching)
    return runs


def compare(run: Run, without: Mapping[str, Run], *, progress: Callable[[int, int], None] | None = None) -> Ablation:
    """Probe every label on the run's embedding and on those of the runs without a similarity; write ablation.json.

    A similarity that was left out stays a label to probe. All are scored on the same test items, so the differences
    are paired. Their intervals are over test items: that another seed trains another model is not in them.

    **Arguments:**

    - `run`: the run with all similarities.
    - `without`: name of what is lacking → run.
    - `progress`: called with runs probed and runs in all.

    **Raises:** `UserError` for a run without a model, and whatever `score` raises.
    """
    data = run.prepare()
    runs = {MODEL: run} | {f"{WITHOUT}{name}": each for name, each in without.items()}
    features = {name: embed_pixels(each.model(), data.pixels.array) for name, each in runs.items()}
    data = data.readable()
    scores = score(features, scored_labels(run, data), data.split, groups=data.groups, progress=progress)
    found = _ablation(scores, notes=(*notes(run.recipe), *data_notes(data)))
    run.write_json("ablation.json", found.to_json())
    return found


def without_each(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """The name of each similarity that can be left out, and the recipe without it; nothing else changes.

    The one that batches are drawn by cannot be: without it the others would see other batches. Nor can the only one, or
    the only one with a weight.
    """
    for name in recipe.similarities:
        rest = {other: each for other, each in recipe.similarities.items() if other != name}
        weighting = recipe.objective.weighting
        if isinstance(weighting, dict):
            weighting = {other: weight for other, weight in weighting.items() if other != name}
            if not any(weighting.values()):
                continue
        if not rest or name == recipe.sampler:
            continue
        settings = recipe.similarities[name]
        # Its label is probed on, where a column of its name is all it takes to read it.
        columns = settings.column or settings.joint or settings.levels
        asked = settings.kind or columns or settings.separator or settings.period
        plain = name in recipe.labelled and not asked
        probed = (name,) if plain else ()
        changed = {
            "similarities": rest,
            "catalog": recipe.catalog.model_copy(update={"ood": (*probed, *recipe.catalog.ood)}),
            # The limits that its labels set to the views stay, or two things would change at once.
            "views": recipe.run_views,
            "objective": recipe.objective.model_copy(update={"weighting": weighting}),
        }
        yield name, recipe.model_copy(update=changed)


def notes(recipe: Recipe) -> Iterator[str]:
    """What an ablation of the recipe leaves unasked: the similarities that stay, and what becomes of links."""
    if recipe.sampler != "random":
        yield f"{recipe.sampler} stays: batches are drawn by it. To leave it out too, set training.sampler = 'random'."
    weights = recipe.objective.weighting
    led = [name for name, weight in weights.items() if weight] if isinstance(weights, dict) else []
    if len(led) == 1 < len(recipe.similarities):
        yield f"{led[0]} stays: it alone has a weight (objective.weighting)."
    if linked := [name for name in recipe.similarities if recipe.kind(name) == "pairs"]:
        yield (
            f"{listed(linked, 'and')}: what the others do to how linked items find one another is not in the table;"
            " `mscon evaluate` tells it of each run."
        )


def ablated_folder(run: Run, name: str) -> Path:
    """RUN-without-NAME beside the run, what no folder can be called put as "_"; with a digest of the name where it is
    long, or where the folder of another similarity would have this name, but for capitals.
    """
    safe = _as_folder(name)
    same = [other for other in run.recipe.similarities if _as_folder(other).casefold() == safe.casefold()]
    if len(same) > 1 or len(name) > LONGEST:
        safe = f"{safe}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"
    return run.folder.with_name(f"{run.folder.name}-without-{safe}")


def _as_folder(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in name[:LONGEST])


def warnings(found: Ablation) -> list[str]:
    """One for each similarity without which a label scores higher, its whole interval on that side."""
    return [
        f"{name} hurts {', '.join(hurt)}: without it they score higher. Give it less weight (objective.weighting),"
        " or leave it out; one training may be chance, so see first whether another training.seed says the same."
        for name in dict.fromkeys(each.without for each in found.effects)
        if (hurt := [_points(each) for each in found.effects if each.without == name and _hurts(each)])
    ]


def show(found: Ablation, console: Console) -> None:
    """Print label × similarity: by how much the label scores higher for it, with intervals, and the warnings."""
    names = list(dict.fromkeys(each.without for each in found.effects))
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("label")
    for title in ("score", *names):
        table.add_column(Text(title), justify="right")
    for label, each in found.scores.items():
        scale = scale_of(each["metric"])
        effects = [_cell(effect) for effect in found.effects if effect.label == label]
        table.add_row(Text(label), f"{number(each['value'], scale)} {UNITS[each['metric']]}", *effects)
    console.print("what each similarity adds to each label, scored on test", style="bold")
    console.print(table)
    console.print("with it − without it [95% interval over test items]; green: it helps, red: it hurts", style="dim")
    for note in score_notes(found.scores, {}):
        console.print(note, soft_wrap=True)
    print_notes(found.notes, console)
    for warning in warnings(found):
        console.print(Text.assemble(("warning: ", "yellow"), warning), soft_wrap=True)


def _ablation(scores: dict[str, dict[str, Any]], *, notes: tuple[str, ...]) -> Ablation:
    """The floors of the probe table are the runs that lack a similarity: model − floor is what it adds."""
    effects = [
        Effect(label, name.removeprefix(WITHOUT), each["metric"], **floor["difference"])
        for label, each in scores.items()
        for name, floor in each["floors"].items()
    ]
    kept = ("role", "metric", "value", "low", "high", "n", "unseen")
    found = {label: {key: each[key] for key in kept if key in each} for label, each in scores.items()}
    return Ablation(found, tuple(effects), notes)


def _check_same_items(run: Run, ours: Split, name: str, theirs: Split) -> None:
    if not all(np.array_equal(getattr(ours, part), getattr(theirs, part)) for part in PARTS):
        raise UserError(
            f"{run.folder}: without {name} the split that is made comes out another, so scores could not be compared."
            " Give the catalog a column 'split' (train, val, test) and train the run again"
        )


def _check_folder(run: Run, items: Items | None, folder: Path) -> None:
    """What an earlier ablation left must have been trained on the run's items, in the run's parts."""
    theirs = Run.open(folder).items() if (folder / "recipe.toml").exists() else None
    if items is not None and theirs is not None and not theirs.same(items):
        raise UserError(
            f"{folder} was trained on other items than {run.folder}, so scores could not be compared. Remove it, and it"
            " is trained again"
        )


def _hurts(effect: Effect) -> bool:
    return verdict(effect.low, effect.high) == "below"


def _points(effect: Effect) -> str:
    value = -(effect.value or 0.0)
    points = f"{100 * value:.1f} points" if scale_of(effect.metric) > 1 else f"{value:.3f} in {UNITS[effect.metric]}"
    return f"{effect.label} ({points})"


def _cell(effect: Effect) -> Text:
    scale = scale_of(effect.metric)
    ends = f"[{number(effect.low, scale)}, {number(effect.high, scale)}]"
    return Text(f"{number(effect.value, scale, sign=True)} {ends}", style=STYLES[verdict(effect.low, effect.high)])

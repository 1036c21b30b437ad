"""What a published run says of itself: its model card, from the recipe, the items, the labels and the scores."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from huggingface_hub import EvalResult

from mscon.data.splits import PARTS
from mscon.errors import UserError
from mscon.evaluate.bootstrap import FEW
from mscon.hub import CITATION, TASK, escaped, front_matter
from mscon.model import MSConModel
from mscon.parsing import parse_json
from mscon.recipe import Recipe
from mscon.report.probes import Probe, Score, read_probes
from mscon.report.text import catalog_name, score
from mscon.run import Run
from mscon.schemas import check_unread, read_evaluation
from mscon.templates import templates
from mscon.words import listed

ALIKE = {
    "categorical": "items of the same class, of {} classes",
    "continuous": "items near in value",
    "rank_n_contrast": "items nearer in value than others",
    "tags": "items with a tag in common, of {} tags",
    "hierarchy": "items whose paths begin alike, of {} nodes",
    "pairs": "items that a table of pairs links",
    "instance": "views of the same item",
    "appearance": "an item and features of its picture that nobody learned",
}

METRICS = {"accuracy": "accuracy", "R²": "r_squared", "mAP": "mean_average_precision"}
"""Measures by the names that the Hub has for them."""

TOLD = (
    *("model.backbone", "model.pretrained", "model.norm", "model.heads", "model.head_dim", "objective.loss"),
    *("objective.weighting", "training.epochs", "training.steps", "training.batch_size", "training.views_per_item"),
    *("training.optimizer", "training.lr", "training.weight_decay", "training.ema", "training.keep", "training.seed"),
)
"""The values of a recipe that the card shows."""


class Plain(str):
    """Text that is Markdown already."""


@dataclass(frozen=True)
class Result:
    """A row of the card's table of scores."""

    label: str
    trained: bool
    measure: str
    score: float | None
    interval: str
    floor: str
    items: int


@dataclass(frozen=True)
class Taught:
    """A row of the card's table of similarities."""

    name: str
    kind: str
    alike: str
    temperature: str


def model_card(run: Run, model: MSConModel, *, name: str, repo: str | None = None) -> str:
    """README.md of a published run. Whatever the user wrote, names of labels above all, stands escaped.

    **Arguments:**

    - `name`: the model's, its title.
    - `repo`: where on the Hub it will be, such as `"me/shoes"`, which is what the card loads it from; left out, the
      card loads it from its own folder.
    """
    recipe, evaluation = run.recipe, read_evaluation(run.folder) or {}
    results, catalog = _results(evaluation), catalog_name(public_source(recipe.catalog.source))
    counts, unread = _counts(run)
    parts = listed([f"{count:,} {part}" for part, count in counts.items()], "and") if counts else ""
    environment = templates("export", html=False, finalize=_finished)
    environment.filters |= {"plain": Plain, "thousands": "{:,}".format, "score": score}
    return environment.get_template("card.md.jinja").render(
        front_matter=Plain(_front_matter(name, catalog, evaluation)),
        title=name,
        sentence=Plain(_sentence(model, recipe)),
        recipe=recipe,
        architecture=model.architecture,
        place=Plain(json.dumps(repo or ".")),
        place_note=Plain("" if repo else "  # this folder; once it is on the Hub, its name there"),
        catalog=catalog,
        items=sum(counts.values()),
        parts=parts,
        unread=f"{unread:,} more whose image{'s' * (unread != 1)} could not be read" if unread else "",
        fit="padded with white" if recipe.image.fit == "letterbox" else "cut from their middle",
        similarities=[_taught(run, each) for each in recipe.similarities],
        ood=listed(recipe.catalog.ood, "and") if recipe.catalog.ood else "",
        settings=_settings(recipe),
        parameters=sum(each.numel() for each in model.parameters()),
        results=results,
        unmeasured="Not measured: `mscon evaluate` had not been run on this model when the card was written.",
        limits=_limits(results, evaluation),
        citation=CITATION,
    )


def _counts(run: Run) -> tuple[dict[str, int], int]:
    """Part → its items, and how many more there were whose images the training could not read."""
    items, path = run.items(), run.folder / "skipped.json"
    if items is None:
        return {}, 0
    try:
        unread = check_unread(parse_json(path.read_text(encoding="utf-8"))) if path.exists() else []
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no list of unreadable images ({error}): mend it, or move it away") from None
    rows = [each["row"] for each in unread if each["row"] < len(items)]
    names = items.table["split"].to_numpy()
    readable = np.delete(names, rows)
    return {part: int((readable == part).sum()) for part in PARTS}, len(names) - len(readable)


def public_source(source: str) -> str:
    """A table's address without the folders, the server and the signature that lead to it."""
    parts = [each for each in source.partition("?")[0].replace("\\", "/").split("/") if each and "*" not in each]
    return parts[-1] if parts else "catalog"


def _finished(value: Any) -> Any:
    return escaped(value) if isinstance(value, str) and not isinstance(value, Plain) else value


def _front_matter(name: str, catalog: str, evaluation: Mapping[str, Any]) -> str:
    probes = read_probes(evaluation) if evaluation else []
    found = [_eval_result(probe, catalog) for probe in probes if probe.score.value is not None]
    return front_matter(
        metrics=sorted({each.metric_type for each in found}) or None,
        model_name=name if found else None,
        eval_results=found or None,
    )


def _eval_result(probe: Probe, catalog: str) -> EvalResult:
    return EvalResult(
        task_type=TASK,
        task_name="Linear probe on the frozen embedding",
        dataset_type="private",
        dataset_name=catalog,
        dataset_split="test",
        metric_type=METRICS[probe.metric],
        metric_name=f"{probe.metric} of {probe.name}",
        metric_value=round(probe.score.value or 0.0, 4),
    )


def _sentence(model: MSConModel, recipe: Recipe) -> str:
    heads = listed([escaped(name) for name in recipe.similarities], "and")
    return (
        f"An encoder, `{recipe.model.backbone}`, that turns an image into {model.architecture.embedding_dim:,} numbers,"
        f" with projections under {heads}, learned by multi-similarity contrastive learning"
        " ([arXiv 2307.02712](https://arxiv.org/abs/2307.02712)): images that are alike under a similarity lie near one"
        " another in its projections, and the embedding below them serves all."
    )


def _taught(run: Run, name: str) -> Taught:
    recipe, label = run.recipe, run.labels.get(name)
    kind = recipe.kind(name) or (label.kind if label else "categorical")
    alike = ALIKE[kind].format(f"{len(label.classes):,}" if label else "")
    learned = ", then learned" if recipe.objective.learn_temperature else ""
    return Taught(name, kind.replace("_", " "), alike, f"{recipe.temperature(name):g}{learned}")


def _settings(recipe: Recipe) -> dict[str, str]:
    """The values that are told, as TOML has them; one that is left out is not."""
    tables = recipe.model_dump(mode="json", exclude_none=True)
    pairs = [(key, *key.split(".")) for key in TOLD]
    return {key: json.dumps(tables[section][name]) for key, section, name in pairs if name in tables[section]}


def _results(evaluation: Mapping[str, Any]) -> list[Result]:
    if not evaluation:
        return []
    found = [
        Result(
            label=probe.name,
            trained=not probe.ood,
            measure=probe.described,
            score=probe.score.value,
            interval=_interval(probe.score),
            floor=_best_floor(probe),
            items=probe.items or 0,
        )
        for probe in read_probes(evaluation)
    ]
    for name, each in evaluation.get("links", {}).items():
        recall = each["own_head"]["recall"]["10"]
        ends = _interval(Score.of(recall))
        chance = f"{score(recall['chance'])} (chance)"
        measure = "recall of linked items among the 10 nearest, in its own projections"
        found.append(Result(name, True, measure, recall["value"], ends, chance, each["asked"]))
    return found


def _interval(found: Score) -> str:
    return "–" if found.low is None or found.high is None else f"{score(found.low)} to {score(found.high)}"


def _best_floor(probe: Probe) -> str:
    scores = {name: floor.score.value for name, floor in probe.floors.items() if floor is not None}
    known = {name: value for name, value in scores.items() if value is not None}
    if not known:
        return "–"
    best = max(known, key=lambda name: known[name])
    return f"{score(known[best])} ({best})"


def _limits(results: list[Result], evaluation: Mapping[str, Any]) -> list[str]:
    limits = [
        "It has seen the images of one catalog. What it makes of others, other cameras and other things is not known.",
        "It repeats what the labels say, their mistakes and their leanings included.",
        "The intervals say how far a score depends on which test items were drawn, not on the seed of the training.",
    ]
    if few := [each.label for each in results if each.items < FEW]:
        limits.append(f"Fewer than {FEW} test items have a value of {listed(few, 'or')}: that score says little.")
    return [
        *limits,
        *(f"The evaluation warned: {each}" for each in evaluation.get("diagnostics", {}).get("warnings", ())),
    ]

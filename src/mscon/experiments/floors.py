"""What nobody learned, scored as every method is: the first rows of a study's table."""

import json
from collections.abc import Mapping

from filelock import FileLock

from mscon.data.classical import classical_features, pixel_features
from mscon.evaluate import probe_categorical
from mscon.experiments.jobs import Job
from mscon.experiments.scoring import STRENGTHS, items_digest, study_labels
from mscon.experiments.work import Places, catalog_of
from mscon.files import write_text
from mscon.parsing import parse_json
from mscon.prepare import prepare
from mscon.settings import ImageSettings

KINDS = {"nothing: plain pixels": pixel_features, "nothing: classical features": classical_features}
"""Titles of rows, and the features in them."""

Floors = Mapping[str, Mapping[str, float]]
"""Title → label → accuracy on test in percent."""


def read_floors(job: Job, places: Places, items: str | None = None) -> Floors:
    """The floors of a job's study and preset; none where they were not taken yet, or of another image or question.

    **Arguments:** `items`: the digest of the test items that they must be of, if it is known.
    """
    path = places.results / job.folder / "floors.json"
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        # What recipes have come to say of images since, they said by its default.
        asked = found["asked"] | {"image": ImageSettings(**found["asked"]["image"]).model_dump(mode="json")}
        return found["accuracy"] if asked == _asked(job) and items in (None, found["items"]) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def take_floors(job: Job, places: Places, items: str | None = None) -> None:
    """Take the floors of a job's study and preset, unless they are there, of these test items if they are known."""
    path = places.results / job.folder / "floors.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    places.runs.mkdir(parents=True, exist_ok=True)
    with FileLock(places.runs / f"{job.folder}-floors.lock"):
        if read_floors(job, places, items):
            return
        recipe = job.recipe(str(catalog_of(job, places)), job.preset.learning_rates[0])
        data = prepare(recipe)
        columns = study_labels(job.study, data)
        accuracy: dict[str, dict[str, float]] = {}
        for title, features in KINDS.items():
            # The strongest beside the others': features that were not trained are less to be relied on.
            strengths = (10 * STRENGTHS[0], *STRENGTHS)
            probes = probe_categorical(features(data.pixels.array), columns, data.split, strengths=strengths)
            accuracy[title] = {name: round(100 * probe.accuracy, 4) for name, probe in probes.items()}
        found = {"asked": _asked(job), "items": items_digest(data, recipe.catalog.id), "accuracy": accuracy}
        write_text(path, json.dumps(found, indent=1) + "\n")


def _asked(job: Job) -> dict[str, object]:
    recipe = job.recipe("", job.preset.learning_rates[0])
    return {"study": job.study.digest, "image": recipe.image.model_dump(mode="json")}

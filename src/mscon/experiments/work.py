"""One job: train, score, keep the result; never twice at a time, and nothing lost when it is stopped."""

import hashlib
import math
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

import mscon
from mscon.data.splits import PARTS
from mscon.embed import embed_pixels
from mscon.errors import DivergedError, UserError
from mscon.experiments.jobs import Job, recipe_hash, tables_of
from mscon.experiments.results import Result, rate_of, result_of, searched
from mscon.experiments.scoring import items_digest, measured, scored
from mscon.files import write_text, write_whole
from mscon.log import Display
from mscon.model import MSConModel
from mscon.prepare import Prepared
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.train import train


@dataclass(frozen=True)
class Places:
    """Where things are: the study's data, the results, and the trainings themselves."""

    root: Path
    results: Path
    runs: Path

    def run(self, job: Job) -> Path:
        """The folder of a job's training."""
        return self.runs / job.folder / job.key


class TakenError(Exception):
    """Another process is doing the job."""


def do(job: Job, places: Places, *, display: Display | None = None) -> Result:
    """Do a job that is not done: train (or go on with it), score, and write its result.

    What is trained stays in its run folder, without its checkpoints once the result is written. A training that was
    begun by another recipe is removed and made anew.

    **Raises:** `TakenError` when another process has it in hand; `UserError` when its learning rate is not chosen yet;
    what `train` raises.
    """
    folder = places.run(job)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(folder.name + ".lock")):
        if done := result_of(job, places.results):  # by another process, since this one looked
            return done
        rate = rate_of(job, places.results)
        if rate is None:
            raise UserError(f"{job.key}: its learning rate is not chosen yet; the search for it comes first")
        found = _from_search(job, rate, places) or _trained(job, rate, places, folder, display)
        result = replace(found, searched=_validations(job, places.results))
        result.write(job.result(places.results))
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return result


def _from_search(job: Job, rate: float, places: Places) -> Result | None:
    """The first seed of the study as it is was trained in the search, where only its scores were taken.

    None for any other job, and where the rest would have to be measured on a training that is not there any more.
    """
    if not _is_first(job):
        return None
    searching = replace(job, learning_rate=rate)
    found, run = searched(job, places.results)[rate], places.run(searching)
    if job.quick or found.failed:
        return found
    if not (run / "recipe.toml").exists() or not _goes_on(run, searching.recipe(str(catalog_of(job, places)), rate)):
        return None
    return _measured(job, found, _Trained.of(Run.open(run)))


def _is_first(job: Job) -> bool:
    return job.learning_rate is None and not job.variant.name and job.seed == 0


def _validations(job: Job, results: Path) -> dict[str, float]:
    """What a first seed's rate was chosen by, in percent."""
    if not _is_first(job):
        return {}
    found, trained = searched(job, results), job.method.trained_of(job.study)
    values = {f"{each:g}": of.validation(trained) for each, of in found.items() if not of.failed}
    return {rate: round(value, 4) for rate, value in values.items() if math.isfinite(value)}


@dataclass(frozen=True, eq=False)
class _Trained:
    """A run that is trained, read and embedded once."""

    recipe: Recipe
    data: Prepared
    model: MSConModel
    embedding: Tensor

    @classmethod
    def of(cls, run: Run) -> "_Trained":
        data, model = run.prepare(), run.model()
        embedding = embed_pixels(model, data.pixels.array)
        return cls(run.recipe, data.readable(), model, embedding)


def _measured(job: Job, result: Result, trained: _Trained) -> Result:
    """The result with its measures, which take longer than its scores: none are taken of what only searches."""
    started = perf_counter()
    measures = measured(job.study, trained.recipe, trained.data, trained.model, trained.embedding)
    seconds = {**result.seconds, "measuring": round(perf_counter() - started, 1)}
    return replace(result, measures=measures, seconds=seconds)


def _trained(job: Job, rate: float, places: Places, folder: Path, display: Display | None) -> Result:
    recipe = job.recipe(str(catalog_of(job, places)), rate)
    resume = _goes_on(folder, recipe)
    try:
        run = train(recipe, folder, resume=resume, display=display)
    except DivergedError as error:
        return _result(job, rate, recipe, failed=str(error))
    started = perf_counter()
    trained = _Trained.of(run)
    found = scored(job.study, trained.data, trained.embedding)
    result = _result(
        job,
        rate,
        recipe,
        rows={part: len(getattr(trained.data.split, part)) for part in PARTS},
        items=items_digest(trained.data, recipe.catalog.id),
        scores=found.scores,
        correct=found.correct,
        weights=_weights(run),
        seconds={"training": round(_training_seconds(run), 1), "scoring": round(perf_counter() - started, 1)},
    )
    searches = job.learning_rate is not None
    return result if job.quick or searches or job.variant.name else _measured(job, result, trained)


def _goes_on(folder: Path, recipe: Recipe) -> bool:
    """Whether the folder holds a training by this recipe; one by another is removed.

    What belongs to the machine may have changed since: it is written anew.
    """
    if (folder / "recipe.toml").exists():
        begun = Run.open(folder).recipe
        if recipe_hash(begun) == recipe_hash(recipe):
            if begun != recipe:
                write_text(folder / "recipe.toml", recipe.to_toml())
            return True
    if folder.exists():  # also what is left of a folder whose removal was cut short
        shutil.rmtree(folder)
    return False


def _result(job: Job, rate: float, recipe: Recipe, **found: Any) -> Result:
    """A result, empty but for what was found."""
    empty: dict[str, Any] = {"rows": {}, "items": "", "scores": {}, "correct": {}, "measures": {}, "weights": {}}
    return Result(
        study=job.study.digest,
        method=job.method.name,
        variant=job.variant.name,
        seed=job.seed,
        learning_rate=rate,
        recipe=tables_of(recipe),
        recipe_hash=recipe_hash(recipe),
        versions={"mscon": mscon.__version__, "torch": torch.__version__, "python": platform.python_version()},
        **{**empty, "seconds": {}, **found},
    )


def catalog_of(job: Job, places: Places) -> Path:
    """The study's catalog as the job's variant has it, written where its run is, once for each state of the data."""
    altered = [job.variant.name, str(job.seed)] if job.variant.alter else []
    path = places.runs / "catalogs" / f"{'-'.join([job.study.name, _state(job, places.root), *altered])}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock")):
        if not path.exists():
            table = job.study.table(places.root)
            if job.variant.alter:
                table = job.variant.alter(table, job.seed)
            write_whole(path, table.write_parquet)
    return path


def _state(job: Job, root: Path) -> str:
    """Twelve digits of what the study reads, of where it lies, and of the sizes and times of the files there."""
    files = sorted(each for each in root.iterdir() if each.is_file())
    there = [(each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in files]
    return hashlib.sha256(repr((job.study.digest, str(root), there)).encode()).hexdigest()[:12]


def _weights(run: Run) -> dict[str, float]:
    records = [each for each in run.metrics() if each["kind"] == "train"]
    late = [each["terms"] for each in records if each["epoch"] > records[-1]["epoch"] - 1]
    mean = {name: float(np.mean([each[name]["weight"] for each in late])) for name in late[0]}
    return {name: round(weight / sum(mean.values()), 4) for name, weight in mean.items()}


def _training_seconds(run: Run) -> float:
    return next(each["seconds"] for each in reversed(list(run.metrics())) if each["kind"] == "train")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """A lock that goes with the process that holds it, however it ends."""
    try:
        with FileLock(path, timeout=0):
            yield
    except Timeout:
        raise TakenError(path) from None

"""Results: what is kept of a job, a small JSON file each, and what is read back from them."""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from mscon.errors import UserError
from mscon.experiments.jobs import Job, recipe_hash, search
from mscon.experiments.methods import methods
from mscon.experiments.tables import laid_over
from mscon.files import write_text
from mscon.parsing import parse_json
from mscon.recipe import Recipe

FORMAT = "mscon result 1"


@dataclass(frozen=True)
class Result:
    """What one training came to.

    - `method`, `variant`, `seed`, `learning_rate`: which it was; `study`: what was read and asked, `Study.digest`.
    - `recipe`, `recipe_hash`: all its values but those of the machine, and a digest of them.
    - `rows`: items in train, val and test; `items`: a digest of the test items' ids, in order.
    - `scores`: label → `accuracy` on test and `validation`, both shares (`validation` None without held-out items
      that have the label), `classes`, `n`.
    - `correct`: label → one bit for each labelled test item in the catalog's order, the probe being right, as hex.
    - `measures`: whatever else was read from the embedding, by name; of full trainings in the main table.
    - `weights`: similarity → its weight over the last epoch, as a share of all.
    - `seconds`: of `training`, of `scoring` and of `measuring`.
    - `versions`: of what it was made with.
    - `searched`: learning rate → the percentage that the choice was by, of a first seed.
    - `failed`: why there is nothing else, of a training that diverged.
    """

    study: str
    method: str
    variant: str
    seed: int
    learning_rate: float
    recipe: dict[str, Any]
    recipe_hash: str
    rows: dict[str, int]
    items: str
    scores: dict[str, dict[str, Any]]
    correct: dict[str, str]
    measures: dict[str, Any]
    weights: dict[str, float]
    seconds: dict[str, float]
    versions: dict[str, str]
    searched: dict[str, float] = field(default_factory=dict)
    failed: str = ""

    def accuracy(self, label: str) -> float | None:
        """In percent of the labelled test items; None for a label that was not scored."""
        found = self.scores.get(label)
        return None if found is None else 100 * found["accuracy"]

    def validation(self, labels: tuple[str, ...]) -> float:
        """Mean accuracy on held-out items, in percent, over the labels that have any; below all without one."""
        known = [self.scores[name]["validation"] for name in labels if name in self.scores]
        known = [value for value in known if value is not None]
        return 100 * float(np.mean(known)) if known else -math.inf

    def was_correct(self, label: str) -> Bool[np.ndarray, " n"]:
        """Of each labelled test item, whether the probe was right."""
        return unpacked(self.correct[label], self.scores[label]["n"])

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(
            path, json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True, allow_nan=False) + "\n"
        )


def read_result(path: Path) -> Result | None:
    """A result that is there; None when it is not. **Raises** `UserError` for a file that is none."""
    try:
        table = parse_json(path.read_text(encoding="utf-8"))
        if table.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        return Result(**table)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not a result that can be read: {error}. Remove it to have it made again") from None


def result_of(job: Job, results: Path) -> Result | None:
    """A job's result; None while it is not there, and for one of another recipe or of a rate that is not chosen."""
    found = read_result(job.result(results))
    if found is None or (rate := rate_of(job, results)) is None:
        return None
    same = found.study == job.study.digest and _same(found, job.recipe("", rate))
    return found if same else None


def seeds_there(job: Job, results: Path) -> dict[int, Result]:
    """Seed → result, of every seed of a job's method and variant that is there and did not diverge."""
    files = job.result(results).parent.glob("*.json")
    seeds = sorted(int(path.stem) for path in files if path.stem.isdecimal())
    each = {seed: result_of(replace(job, seed=seed), results) for seed in seeds}
    return {seed: found for seed, found in each.items() if found is not None and not found.failed}


def searched(job: Job, results: Path) -> dict[float, Result]:
    """The results there are of the search for the learning rate of a job's method, in the study as it is."""
    own = [each for each in methods(job.study) if each.name == job.method.name]
    each = {rate.learning_rate: result_of(rate, results) for rate in search(job.study, own, quick=job.quick)}
    return {rate: found for rate, found in each.items() if rate is not None and found is not None}


def rate_of(job: Job, results: Path) -> float | None:
    """The rate that a job trains with: its own of the search, or the one that the search has chosen, if it has."""
    return chosen_rate(job, results) if job.learning_rate is None else job.learning_rate


def chosen_rate(job: Job, results: Path) -> float | None:
    """The rate with the highest accuracy on held-out items, mean over the labels that the method trains, or over the
    study's own where it trains none of them; the middle one of equals.

    None while the search is not done. Other labels, and test items, have no say.
    """
    found = searched(job, results)
    rates = job.preset.learning_rates
    if len(found) < len(rates):
        return None
    middle = rates[len(rates) // 2]
    trained = job.method.trained_of(job.study)
    return max(rates, key=lambda rate: (found[rate].validation(trained), rate == middle))


def _same(found: Result, recipe: Recipe) -> bool:
    """Whether a result was made by this recipe; what recipes have come to say since, it said by its default."""
    try:
        made_by = Recipe.of(laid_over(found.recipe, {"catalog": {"source": ""}}))
    except UserError:
        return False
    return recipe_hash(made_by) == recipe_hash(recipe)


def packed(correct: Bool[np.ndarray, " n"]) -> str:
    """Bits as hex, four to a digit."""
    return np.packbits(correct).tobytes().hex()


def unpacked(text: str, count: int) -> Bool[np.ndarray, " n"]:
    """The same back."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8))[:count].astype(bool)

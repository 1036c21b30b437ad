"""The scores of evaluation.json as the page shows them: in-domain first, the same floors in every row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mscon.evaluate.bootstrap import Verdict, verdict
from mscon.evaluate.show import FLOORS


@dataclass(frozen=True)
class Score:
    """A number with the 95% interval around it; what was not measured, or is not defined, is None."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Score":
        """As the JSON files of a run hold it; the interval may be left out."""
        return cls(found["value"], found.get("low"), found.get("high"))

    @property
    def verdict(self) -> Verdict:
        """Of a difference, what its interval says."""
        return verdict(self.low, self.high)


@dataclass(frozen=True)
class Floor:
    """What the same probe scores without the model, and the paired difference model − floor."""

    score: Score
    difference: Score | None

    @property
    def verdict(self) -> Verdict | None:
        """That of the difference; None when it has no interval."""
        if self.difference is None or self.difference.low is None or self.difference.high is None:
            return None
        return self.difference.verdict


@dataclass(frozen=True)
class Tag:
    """How well one tag is told: average precision, and the share of test items that have it, which chance scores."""

    name: str
    precision: float
    prevalence: float
    items: int


@dataclass(frozen=True)
class Probe:
    """One label's scores on the test split; what does not apply to its kind is None or empty.

    - `knn`, `own_head`: of nearest neighbours in the shared embedding, in the label's own projections; of numbers, as
      `spearman` is, correlations of ranks, and as `circular` is, of those on a circle.
    - `by_sgd`: of the probe that is trained on augmented images, `mscon.evaluate.probe_by_sgd`.
    - `levels`: accuracy of a path's beginning, coarse to fine.
    - `tags`: the most frequent first.
    """

    name: str
    ood: bool
    metric: str
    score: Score
    floors: dict[str, Floor | None]
    classes: int | None
    items: int | None
    balanced: float | None
    majority: float | None
    knn: float | None
    own_head: Score | None
    by_sgd: Score | None
    mae: float | None
    spearman: Score | None
    circular: Score | None
    levels: tuple[Score, ...]
    tags: tuple[Tag, ...]

    @property
    def described(self) -> str:
        """The metric, and of how many classes, paths or tags."""
        things = "tags" if self.metric == "mAP" else "paths" if self.levels else "classes"
        return self.metric + (f", {self.classes} {things}" if self.classes else "")

    @property
    def verdict(self) -> Verdict | None:
        """Against all floors together: `above` every one, `below` at least one, else `level`; None without floors."""
        verdicts = {floor.verdict for floor in self.floors.values() if floor is not None} - {None}
        if not verdicts:
            return None
        return "below" if "below" in verdicts else "level" if "level" in verdicts else "above"


def read_probes(evaluation: Mapping[str, Any]) -> list[Probe]:
    """The labels of an evaluation, in-domain first; a floor that a label lacks is None there."""
    labels: Mapping[str, Mapping[str, Any]] = evaluation["labels"]
    found = dict.fromkeys(floor for label in labels.values() for floor in label.get("floors", {}))
    floors = [*(name for name in FLOORS if name in found), *(name for name in found if name not in FLOORS)]
    probes = [_probe(name, label, floors) for name, label in labels.items()]
    return sorted(probes, key=lambda probe: probe.ood)


def _probe(name: str, label: Mapping[str, Any], floors: list[str]) -> Probe:
    measured = label.get("floors", {})
    return Probe(
        name=name,
        ood=label["role"] == "ood",
        metric="R²" if label["metric"] == "r2" else label["metric"],
        score=Score.of(label),
        floors={floor: _floor(measured[floor]) if measured.get(floor) else None for floor in floors},
        classes=label.get("classes"),
        items=label.get("n"),
        balanced=label.get("balanced"),
        majority=label.get("majority"),
        knn=label.get("knn"),
        own_head=_score(label.get("own_head")),
        by_sgd=_score(label.get("paper_probe")),
        mae=label.get("mae"),
        spearman=_score(label.get("spearman")),
        circular=_score(label.get("circular")),
        levels=tuple(Score.of(level) for level in label.get("levels", [])),
        tags=_tags(label.get("tags", {})),
    )


def _tags(tags: Mapping[str, Any]) -> tuple[Tag, ...]:
    found = [Tag(name, each["value"], each["prevalence"], each["n"]) for name, each in tags.items()]
    return tuple(sorted(found, key=lambda tag: -tag.items))


def _floor(floor: Mapping[str, Any]) -> Floor:
    return Floor(Score.of(floor), _score(floor.get("difference")))


def _score(found: Mapping[str, Any] | None) -> Score | None:
    return Score.of(found) if found else None

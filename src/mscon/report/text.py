"""Numbers and names as the page writes them."""

from datetime import datetime
from pathlib import PurePosixPath

from mscon.prepare import Prepared
from mscon.recipe import Recipe
from mscon.words import listed

LONGEST = 80
"""Letters of a class, an id or a set of tags that the page shows; the files beside it have them whole."""

_ALIKE = {
    ("categorical", "hierarchy"): "images with the same {}",
    ("tags",): "images with {} in common",
    ("continuous",): "images that are near in {}",
}


def catalog_name(source: str) -> str:
    """What a reader would call a catalog: the last part of its address without wildcards, and without its suffix."""
    named = [part for part in PurePosixPath(source.replace("\\", "/")).parts if "*" not in part]
    return (PurePosixPath(named[-1]).stem if named else "") or source


def describe(recipe: Recipe, data: Prepared, *, embedding_dim: int) -> str:
    """What was trained, in one sentence."""
    alike = [
        phrase.format(listed(names, "or"))
        for kinds, phrase in _ALIKE.items()
        if (names := [name for name in recipe.similarities if name in data.labels and data.labels[name].kind in kinds])
    ]
    if linked := [name for name in recipe.similarities if name in data.pairs]:
        alike.append(f"images linked by {listed(linked, 'or')}")
    if any(recipe.is_instance(name) for name in recipe.similarities):
        alike.append("views of the same image")
    if any(recipe.kind(name) == "appearance" for name in recipe.similarities):
        alike.append("an image and features of it that nobody learned")
    training, size, ood = recipe.training, recipe.image.size, recipe.catalog.ood
    count, unit = (training.steps, "step") if training.steps else (training.epochs, "epoch")
    probed = f"; {listed(ood, 'and')} stayed out of training, only to be probed" if ood else ""
    return (
        f"A {recipe.model.backbone} encoder, which turns an image into {embedding_dim:,} numbers, was trained for"
        f" {count:,} {unit}{'s' * (count > 1)} on {len(data.split.train):,} images of {size} × {size} pixels to bring"
        f" together {listed(alike, 'and')}{probed}."
    )


def label(data: Prepared, name: str, row: int) -> str:
    """An item's class, number, tags or path, or "missing"; cut short where it is long."""
    return brief(data.labels[name].text(data.values[name][row].item()))


def brief(words: str, longest: int = LONGEST) -> str:
    """A user's words, cut where they are longer: whatever they are, a page with many of them stays small."""
    return words if len(words) <= longest else words[: longest - 1] + "…"


def score(value: float | None) -> str:
    """Three decimals; a dash for what was not measured."""
    return "–" if value is None else f"{_rounded(value):.3f}".replace("-", "−")


def change(value: float | None) -> str:
    """The same with its sign."""
    return "–" if value is None else f"{_rounded(value):+.3f}".replace("-", "−")


def percent(share: float | None) -> str:
    """A share in percent with one decimal, without the sign; a dash for what was not measured."""
    return "–" if share is None else f"{_rounded(100 * share, 1):.1f}".replace("-", "−")


def points(share: float | None) -> str:
    """The same with + or −: a difference in percentage points."""
    return "–" if share is None else f"{_rounded(100 * share, 1):+.1f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever has few digits."""
    minutes = round(seconds / 60)
    return f"{round(seconds)} s" if minutes < 2 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def moment(time: datetime) -> str:
    """A time in UTC to the minute."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _rounded(value: float, digits: int = 3) -> float:
    return round(value, digits) + 0.0  # adding 0 takes the sign off a rounded −0.0001

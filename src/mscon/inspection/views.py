"""Views that change what a label is read from: an encoder trained under them learns to ignore it."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int64, UInt8

from mscon.data.circle import as_points
from mscon.data.streamed import StreamedImages
from mscon.data.views import ViewSettings
from mscon.prepare import Prepared

SAMPLE = 2000
"""Images looked at."""

TOGETHER = 32
"""Images of these that are held as floats at a time: at 1,024 px that is 0.4 GB, where all would be 25."""

PIECES = 8
"""Row groups that these are taken from, where each would have to be read for them."""

TOLD_APART = 0.5
"""Share of a colour statistic's variance that a label must explain before a view that changes it is warned of."""

SPARED = {"brightness": 0.2, "saturation": 0.2, "grey": 0.2, "hue": 0.03}
"""How strong each may be before a class is warned of; a number survives no change at all. A fifth brighter, or paler,
is the same class; so it is if one view in five is grey. A hue is a share of the colour circle: red turns orange at a
twelfth.
"""


def harmful_views(views: ViewSettings, data: Prepared) -> Iterator[str]:
    """A warning for each setting that changes an image statistic which goes with a label, and what to set it to."""
    rows = _sample(data)
    parts = [_light_and_tint(data.pixels.array[rows[at : at + TOGETHER]]) for at in range(0, len(rows), TOGETHER)]
    light, tint = map(np.concatenate, zip(*parts, strict=True))
    data = data.readable()
    changes = {
        "brightness": ("brightness", views.brightness, light),
        "saturation": ("colour", views.saturation, tint),
        "grey": ("colour", views.grey, tint),
        "hue": ("colour", views.hue, tint),
    }
    for name, label in data.labels.items():
        values = data.values[name][rows]
        for setting, (what, strength, statistic) in changes.items():
            spared = 0.0 if label.kind == "continuous" else SPARED[setting]
            share = explained(values, statistic, period=label.period) if strength > spared else 0.0
            if share > TOLD_APART:
                yield (
                    f"{name}: it goes with the image's {what} (R² {share:.2f}), which views.{setting} = {strength:g}"
                    f" changes: an encoder trained so learns to ignore it. Set views.{setting} to {spared:g}."
                )


def _light_and_tint(
    pixels: UInt8[np.ndarray, "n s s 3"],
) -> tuple[Float[np.ndarray, "n 19"], Float[np.ndarray, "n 3"]]:
    """Of each image how light it is, from its dark to its light parts and by thirds, for a label may be read from the
    item on whatever ground, or from the middle; and how far its mean colour is from grey.
    """
    images = pixels.astype(np.float32) / 255.0
    grey = images @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    tenths = np.quantile(grey.reshape(len(grey), -1), np.linspace(0.05, 0.95, 10), axis=1).T
    thirds = [
        cell.mean(axis=(1, 2)) for band in np.array_split(grey, 3, axis=1) for cell in np.array_split(band, 3, axis=2)
    ]
    return np.column_stack([tenths, *thirds]), images.mean(axis=(1, 2)) - grey.mean(axis=(1, 2))[:, None]


def _sample(data: Prepared) -> Int64[np.ndarray, " k"]:
    """Some rows, ascending; of images that stay in their Parquet files those of a few row groups."""
    rng, rows = np.random.default_rng(0), np.arange(len(data.catalog))
    if isinstance(data.pixels.array, StreamedImages) and data.catalog.stored is not None:
        pieces = data.catalog.stored.pieces
        present = np.unique(pieces)
        rows = rows[np.isin(pieces, rng.choice(present, min(PIECES, len(present)), replace=False))]
    return np.sort(rng.choice(rows, min(SAMPLE, len(rows)), replace=False))


def explained(values: np.ndarray, statistic: Float[np.ndarray, "n k"], *, period: float | None = None) -> float:
    """R² between a label and an image statistic: the variance between classes, or that of the label on the statistic,
    on a circle of its two coordinates together; less what as many classes, or numbers, drawn by lot would explain.
    """
    if values.dtype.kind == "f":
        known = ~np.isnan(values)
        if known.sum() < 3 or np.ptp(values[known]) == 0:
            return 0.0
        design = np.column_stack([np.ones(int(known.sum())), statistic[known]])
        points = as_points(values[known].astype(np.float64), period)
        target = points - points.mean(axis=0)
        fit, _, rank, _ = np.linalg.lstsq(design, target, rcond=None)
        share = float(1.0 - ((target - design @ fit) ** 2).sum() / (target**2).sum())
        return _beyond_chance(share, (int(rank) - 1) / (len(target) - 1))
    known = values >= 0
    codes, points = values[known], statistic[known] - statistic[known].mean(axis=0)
    total = (points**2).sum()
    if len(codes) < 2 or total == 0:
        return 0.0
    sums = np.zeros((codes.max() + 1, points.shape[1]))
    np.add.at(sums, codes, points)
    counts = np.bincount(codes)
    share = ((sums**2).sum(axis=1)[counts > 0] / counts[counts > 0]).sum() / total
    return _beyond_chance(float(share), float((counts > 0).sum() - 1) / (len(codes) - 1))


def _beyond_chance(share: float, by_lot: float) -> float:
    """A share of variance without what so many free numbers explain of nothing; 0 where that is a quarter or more."""
    return max(0.0, share - by_lot) / (1.0 - by_lot) if by_lot < 0.25 else 0.0

"""Whether an exported file gives the vectors that the package gives, on real images and for several batch sizes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mscon.data.cache import decoded
from mscon.data.catalog import Catalog
from mscon.errors import UserError
from mscon.export.program import EMBEDDING
from mscon.model import MSConModel
from mscon.run import Run

TOLERANCE = 1e-4
"""Of a number, or of the largest of its output where that is above 1."""

BATCHES = (1, 2, 5)
"""Batch sizes that are tried; the images are cut into each of them in turn."""

IMAGES = sum(BATCHES)

Outputs = Mapping[str, Float[np.ndarray, "n ..."]]
Runner = Callable[[UInt8[np.ndarray, "n s s 3"]], Outputs]


@dataclass(frozen=True, eq=False)
class Sample:
    """Images to compare on; `name` says which they are."""

    pixels: UInt8[np.ndarray, "n s s 3"]
    name: str


@dataclass(frozen=True)
class Parity:
    """How far a file's outputs are from the package's: output → batch size → the largest difference of a number, as a
    share of the output's largest where that is above 1.
    """

    sample: str
    widths: dict[str, int]
    differences: dict[str, dict[int, float]]


def sample_of(run: Run) -> Sample:
    """Images from all over a run's catalog; where it, or enough of them, cannot be read any more, noise."""
    settings = run.recipe.image
    try:
        catalog = Catalog.read(run.recipe.catalog.source, image=run.recipe.catalog.image)
    except UserError:
        return noise(settings.size)
    rows = np.unique(np.linspace(0, len(catalog) - 1, 2 * IMAGES).astype(np.int64))  # some may be unreadable
    found = [each for each in decoded(catalog.take(rows), settings.size, settings.fit) if not isinstance(each, str)]
    if len(found) < IMAGES:
        return noise(settings.size)
    return Sample(np.stack(found[:IMAGES]), f"{IMAGES} images of the run's catalog")


def noise(size: int) -> Sample:
    """As many images of random pixels, the same every time."""
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, size, size, 3), dtype=np.uint8)
    return Sample(pixels, f"{IMAGES} images of noise, for lack of the run's catalog")


def compare(model: MSConModel, similarities: Sequence[str], runner: Runner, sample: Sample) -> Parity:
    """Run a file and the package on the same images.

    **Raises:** `UserError` when an output is missing, has another shape or differs by more than `TOLERANCE`.
    """
    differences: dict[str, dict[int, float]] = {}
    widths: dict[str, int] = {}
    first = 0
    for size in BATCHES:
        pixels = sample.pixels[first : first + size]
        first += size
        expected, found = reference(model, similarities, pixels), runner(pixels)
        for name, ours in expected.items():
            theirs = found.get(name)
            if theirs is None or theirs.shape != ours.shape:
                shape = "missing" if theirs is None else f"of shape {theirs.shape}, not {ours.shape}"
                raise UserError(f"the exported output {name!r} is {shape}: nothing was written")
            difference = np.abs(theirs - ours).max() / max(1.0, np.abs(ours).max())
            if not difference <= TOLERANCE:
                raise UserError(
                    f"the exported output {name!r} differs from the package's by {difference:.1e} on {sample.name},"
                    f" more than {TOLERANCE:.0e}: nothing was written. This backbone does not survive this format; try"
                    " another --format"
                )
            differences.setdefault(name, {})[size] = float(difference)
            widths[name] = 1 if ours.ndim == 1 else ours.shape[1]
    return Parity(sample.name, widths, differences)


def reference(
    model: MSConModel, similarities: Sequence[str], pixels: UInt8[np.ndarray, "n s s 3"]
) -> dict[str, np.ndarray]:
    """What the package itself gives, by the names of a file's outputs."""
    h = model.embed(torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2))
    vectors = {EMBEDDING: h} | {f"z_{name}": model.project_embedding(h, name) for name in similarities}
    uncertain = model.item_uncertainty(h)
    vectors |= {f"uncertainty_{name}": uncertain[name] for name in similarities if name in uncertain}
    return {name: each.cpu().numpy() for name, each in vectors.items()}


def show(parity: Parity, console: Console) -> None:
    """Print the outputs, their widths and how far they are from the package's."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("output")
    table.add_column("width", justify="right")
    for size in BATCHES:
        table.add_column(f"batch of {size}", justify="right")
    for name, each in parity.differences.items():
        table.add_row(Text(name), f"{parity.widths[name]:,}", *(f"{each[size]:.1e}" for size in BATCHES))
    console.print("largest difference from the package's own vectors", style="bold")
    console.print(table)
    console.print(f"on {parity.sample}; at most {TOLERANCE:.0e} is accepted", style="dim")

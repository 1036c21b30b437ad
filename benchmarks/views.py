"""Time and memory of random views of a batch of images, ours beside others'.

    python benchmarks/views.py                     # the whole table: views.csv and its picture, about five minutes
    python benchmarks/views.py --sizes 64 --out /tmp/try.csv

Every method makes one view of each uint8 image: crop and resize, flip, colours, normalise to float32. `default` are the
strengths of `ViewSettings()`; `strong` adds saturation, hue and greyscale, and crops down to a fifth of the area. All
run in one process and take turns, every round in another order; extra memory is taken in fresh processes.

Methods:

mscon          `augment` on the batch
torchvision    `transforms.v2` on one uint8 image after the other, then `torch.stack`
torchvision workers
               the same in a Dataset under a DataLoader with as many workers as threads, workers kept, per batch
kornia         `kornia.augmentation` on the batch
conversion     no views: `images.float()`, which reads and writes the same bytes, into fresh memory
conversion into kept memory
               the same into memory that was used before: what the memory's speed alone allows

The others' operations are not exactly ours: torchvision smooths before it shrinks and rounds to uint8 between its
steps, both turn hues in HSV, and both draw a crop again where it does not fit.

Columns:

median_ms, least_ms
               for one batch
images_per_s   batch / median
times_ours     median over that of mscon at the same size and strength
gb_per_s       bytes of the uint8 batch and of its float32 views over the median
extra_mb       highest memory of one batch above what stood before (inputs, libraries), result included, MB
status         ok, or "not installed"
"""

import argparse
import json
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from measuring import PeakMemory, figure, in_fresh_process, machine, picture_of, write_csv
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from mscon.data.views import IMAGENET_MEAN, IMAGENET_STD, ViewSettings, augment

STRENGTHS = {
    "default": ViewSettings(),
    "strong": ViewSettings(scale=(0.2, 1.0), brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, grey=0.2),
}
WORKERS = "torchvision workers"
KEPT = "conversion into kept memory"
METHODS = ("mscon", "torchvision", WORKERS, "kornia", "conversion", KEPT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 224], help="side of images and views in pixels")
    parser.add_argument("--batch", type=int, default=256, help="images")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--repeats", type=int, default=9, help="timed rounds, after one that does not count")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.case:
        print(json.dumps({"extra_mb": extra_memory(**given.case)}))
        return
    lines: list[dict[str, Any]] = []
    for size in given.sizes:
        for strength in STRENGTHS:
            case = {"size": size, "strength": strength, "batch": given.batch}
            for line in measure(given.methods, case, given.repeats, given.threads):
                print(line["size"], line["strength"], line["method"], line.get("median_ms"), line["status"], flush=True)
                lines.append(line)
    for line in lines:  # after all timing, as it takes processors too
        if line["status"] == "ok":
            line["extra_mb"] = _extra_mb({key: line[key] for key in ("method", "size", "strength", "batch")})
    write_csv(given.out, lines)
    draw(lines, picture_of(given.out))


def measure(methods: list[str], case: dict[str, Any], repeats: int, threads: int) -> list[dict[str, Any]]:
    """One line of the table per method."""
    ready = {name: work for name in methods if (work := make(name, **case, workers=threads))}
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for turn in range(repeats + 1):
        names = list(ready)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = perf_counter()
            batches = ready[name]()
            took = (perf_counter() - start) / batches
            if turn:  # the first round warms up
                seconds[name].append(took)
    moved = case["batch"] * case["size"] ** 2 * 3 * (1 + 4)
    ours = median(seconds["mscon"]) if "mscon" in seconds else None
    lines: list[dict[str, Any]] = []
    for name in methods:
        line = {
            "size": case["size"], "strength": case["strength"], "method": name, "batch": case["batch"],
            "repeats": repeats, "median_ms": None, "least_ms": None, "images_per_s": None, "times_ours": None,
            "gb_per_s": None, "extra_mb": None, "status": "not installed", "version": _version(name), **machine(),
        }  # fmt: skip
        if name in seconds:
            middle = median(seconds[name])
            line |= {
                "median_ms": round(1e3 * middle, 3),
                "least_ms": round(1e3 * min(seconds[name]), 3),
                "images_per_s": round(case["batch"] / middle),
                "times_ours": round(middle / ours, 2) if ours else None,
                "gb_per_s": round(moved / middle / 1e9, 3),
                "status": "ok",
            }
        lines.append(line)
    return lines


def make(method: str, *, size: int, strength: str, batch: int, workers: int) -> Callable[[], int] | None:
    """What makes views and returns how many batches they were; None where the method is not installed."""
    shape = (batch, size, size, 3)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images, settings = images.permute(0, 3, 1, 2), STRENGTHS[strength]
    if method == "mscon":
        generator = torch.Generator().manual_seed(0)
        return _one(lambda: augment(images, settings, generator=generator))
    if method == "conversion":
        return _one(images.float)
    if method == KEPT:
        kept = images.float()
        return _one(lambda: kept.copy_(images))
    images = images.contiguous()  # as decoders give them
    if method == "torchvision":
        each = per_sample(settings, size)
        return _one(lambda: torch.stack([each(image) for image in images]))
    if method == WORKERS:
        dataset = Samples(images.repeat(workers, 1, 1, 1), per_sample(settings, size))
        loader = DataLoader(dataset, batch_size=batch, num_workers=workers, persistent_workers=True)
        return lambda: sum(1 for _ in loader)
    return kornias(images, settings, size)


def _one(work: Callable[[], Tensor]) -> Callable[[], int]:
    @torch.inference_mode()
    def once() -> int:
        work()
        return 1

    return once


def per_sample(settings: ViewSettings, size: int) -> v2.Compose:
    jitter = v2.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue)
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=settings.scale, ratio=settings.ratio),
            v2.RandomHorizontalFlip(settings.flip),
            jitter,
            *([v2.RandomGrayscale(settings.grey)] if settings.grey else []),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(IMAGENET_MEAN), list(IMAGENET_STD)),
        ]
    )


class Samples(Dataset[Tensor]):
    def __init__(self, images: Tensor, transform: v2.Compose) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(self.images[index])


def kornias(images: Tensor, settings: ViewSettings, size: int) -> Callable[[], int] | None:
    try:
        import kornia.augmentation as K  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        return None
    jiggle = K.ColorJiggle(settings.brightness, settings.contrast, settings.saturation, settings.hue, p=1.0)
    transform = torch.nn.Sequential(
        K.RandomResizedCrop((size, size), scale=settings.scale, ratio=settings.ratio),
        K.RandomHorizontalFlip(settings.flip),
        jiggle,
        *([K.RandomGrayscale(p=settings.grey)] if settings.grey else []),
        K.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    )
    return _one(lambda: transform(images.float() / 255))


def _extra_mb(case: dict[str, Any]) -> int | None:
    """None for the workers, whose memory is in other processes."""
    if case["method"] == WORKERS:
        return None
    return round(in_fresh_process(__file__, case)["extra_mb"])


def extra_memory(*, method: str, size: int, strength: str, batch: int) -> float:
    small = make(method, size=size, strength=strength, batch=2, workers=0)
    work = make(method, size=size, strength=strength, batch=batch, workers=0)
    assert small is not None
    assert work is not None
    small()  # libraries set themselves up
    peak = PeakMemory()
    work()
    return peak.extra_mb()


def _version(method: str) -> str:
    package = next((each for each in ("torchvision", "kornia", "mscon") if method.startswith(each)), "torch")
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""


def draw(lines: list[dict[str, Any]], path: Path) -> None:
    """Bars of milliseconds, a panel per size, with each length and how many times ours it is written beside it."""
    from matplotlib.patches import Patch

    done = [line for line in lines if line["status"] == "ok"]
    sizes, methods = (list(dict.fromkeys(line[key] for line in done)) for key in ("size", "method"))
    colours = {"default": "#2a6f97", "strong": "#d98324"}
    page = figure(10, 0.8 + 0.55 * len(methods))
    for axes, size in zip(page.subplots(1, len(sizes), sharey=True, squeeze=False)[0], sizes, strict=True):
        here = [line for line in done if line["size"] == size]
        for line in here:
            row = methods.index(line["method"]) + (0.2 if line["strength"] == "strong" else -0.2)
            axes.barh(row, line["median_ms"], height=0.36, color=colours[line["strength"]])
            milliseconds = f"{line['median_ms']:.1f}" if line["median_ms"] < 10 else f"{line['median_ms']:,.0f}"
            times = f" ({line['times_ours']:.1f}×)" if line["times_ours"] not in (None, 1) else ""
            axes.annotate(
                f"{milliseconds} ms{times}",
                (line["median_ms"], row),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
            )
        axes.set_title(f"{size} × {size} pixels", loc="left")
        axes.set_xlabel(f"milliseconds for {here[0]['batch']} views")
        axes.set_xlim(right=1.45 * max(line["median_ms"] for line in here))
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    page.axes[0].set_yticks(range(len(methods)), methods)
    page.axes[0].invert_yaxis()
    marks = [Patch(color=colour, label=name) for name, colour in colours.items()]
    page.axes[-1].legend(handles=marks, title="strength of the views", loc="lower right", frameon=False)
    page.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()

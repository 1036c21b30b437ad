"""Images a second of a whole training, beside its encoder alone and beside the same training built from others' parts.

    python benchmarks/training.py                  # training.csv and its picture, about a quarter of an hour

Every line is a fresh process; the ways take turns, `--rounds` times over. Fifty steps of the default recipe on
`footwear` (three similarities; letters where MSCON_DATA does not name the folder that holds it), batches of 128 items
in two views of 64 px.

Ways:

encoder        forward and backward of the encoder alone, on one batch that is already there: nothing to load, no heads,
               no loss, no optimiser
encoder, memory kept
               the same while the C library keeps freed memory, as `mscon train` makes it do (`mscon.memory`)
model, memory kept
               that with the projection heads
mscon          `mscon train` as it is: cache, views, encoder, heads, objective, clipping, optimiser, log
peers          a DataLoader with two workers that decodes each image and takes torchvision v2 transforms of the same
               strengths, the same model, one pytorch-metric-learning SupConLoss per head, clipping, torch's AdamW
views          what `mscon` does before the encoder, alone
peers' views   what `peers` do before the encoder, alone

Columns:

images_per_second   views through the encoder in a second, median over stretches of ten steps, the first left out; what
                    `mscon train` does between epochs (validation, checkpoint) is not counted
stretches           how many
share               of the encoder alone
"""

import argparse
import io
import json
import os
import tempfile
from itertools import chain, count, repeat
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from measuring import figure, in_fresh_process, machine, picture_of, real_catalog, write_csv

KEPT = ", memory kept"
WAYS = ("encoder", "encoder" + KEPT, "model" + KEPT, "mscon", "peers", "views", "peers' views")
STRETCH, STRETCHES = 10, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes per way")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps({"rates": measure(given.case["way"])}))
        return
    rates: dict[str, list[float]] = {way: [] for way in given.ways}
    for number in range(given.rounds):
        for way, each in rates.items():
            each += in_fresh_process(__file__, {"way": way})["rates"]
            print(f"round {number + 1}: {way}: {median(each):.0f} images/s", flush=True)
    alone = median(rates["encoder"]) if "encoder" in rates else float("nan")
    lines: list[dict[str, Any]] = []
    for way, each in rates.items():
        found = {"way": way, "images_per_second": f"{median(each):.0f}", "stretches": len(each)}
        share = {"share": f"{median(each) / alone:.2f}", "catalog": _recipe().catalog.source.rpartition("/")[2]}
        lines.append(found | share | machine())
    write_csv(given.out, lines)
    draw({way: median(each) for way, each in rates.items()}, picture_of(given.out))


def draw(rates: dict[str, float], path: Path) -> None:
    """Bars of images a second: what goes through the encoder, and apart from it what is done before."""
    page = figure(9, 2.4)
    groups = [[way for way in rates if way.endswith("views") == before] for before in (False, True)]
    for panel, ways in zip(page.subplots(1, 2, width_ratios=(3, 2)), groups, strict=True):
        for place, way in enumerate(ways):
            ours = way in ("mscon", "views")
            panel.barh(place, rates[way], height=0.7, color="#2a6f97" if ours else "#c9d3da")
            panel.text(rates[way], place, f" {rates[way]:,.0f}", va="center", fontsize=9)
        panel.set_yticks(range(len(ways)), [{"views": "mscon", "peers' views": "peers"}.get(way, way) for way in ways])
        panel.set_xlim(right=1.2 * max((rates[way] for way in ways), default=1.0))
        panel.invert_yaxis()
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
    page.axes[0].set_title("training: images per second", loc="left", fontsize=10)
    page.axes[1].set_title("views alone: images per second", loc="left", fontsize=10)
    page.savefig(path, metadata={"Date": None})


def _recipe(epochs: int = 1) -> Any:
    from mscon.recipe import Recipe

    source, names = "glyphs", ("character", "style")
    if "MSCON_DATA" in os.environ:
        source, names = str(real_catalog("footwear")), ("category", "gender", "colour")
    return Recipe.of(
        {
            "catalog": {"source": source},
            "similarities": {name: {} for name in names},
            "training": {"epochs": epochs},
        }
    )


def _parts() -> tuple[Any, Any, Any]:
    """The recipe, its model and the autocast that its precision asks for."""
    import torch

    from mscon.build import new_model
    from mscon.fabric import new_fabric

    recipe = _recipe()
    fabric = new_fabric(recipe)
    torch.manual_seed(0)
    model = new_model(recipe, pretrained=False).to(memory_format=torch.channels_last)
    return recipe, fabric.to_device(model), fabric


def measure(way: str) -> list[float]:
    """Images a second of each stretch."""
    from mscon.memory import freed_memory_kept

    if way.endswith(KEPT):
        with freed_memory_kept():
            return measure(way.removesuffix(KEPT))
    match way:
        case "encoder" | "model":
            return _alone(heads=way == "model")
        case "mscon":
            return _mscon()
        case "peers":
            return _peers()
        case "views":
            return _views()
        case _:
            return _peers_views()


def _alone(*, heads: bool) -> list[float]:
    import torch

    recipe, model, fabric = _parts()
    rows = recipe.training.batch_size * recipe.training.views_per_item
    images = torch.randn(rows, 3, recipe.image.size, recipe.image.size, device=fabric.device)
    images = images.to(memory_format=torch.channels_last)

    def step() -> None:
        model.zero_grad()
        with fabric.autocast():
            outputs = list(model(images).values()) if heads else [model.encoder(images)]
        sum(each.float().square().mean() for each in outputs).backward()

    return _rates(step, rows)


def _views() -> list[float]:
    import torch

    from mscon.data.views import augment
    from mscon.prepare import prepare, training_batches

    recipe = _recipe()
    data, generator = prepare(recipe), torch.Generator().manual_seed(0)
    batches = chain.from_iterable(map(training_batches(recipe, data).epoch, count()))

    def step() -> None:
        rows = next(batches).repeat(recipe.training.views_per_item)
        images = torch.from_numpy(data.pixels.array[rows.numpy()]).permute(0, 3, 1, 2)
        augment(images, recipe.run_views, generator=generator)

    return _rates(step, recipe.training.batch_size * recipe.training.views_per_item)


def _mscon() -> list[float]:
    from mscon.train import train

    with tempfile.TemporaryDirectory() as folder:
        epochs = 1 if "footwear" in _recipe().catalog.source else 2  # fifty steps at the least
        run = train(_recipe(epochs), Path(folder) / "run")
        rates = [each["images_per_second"] for each in run.metrics() if each["kind"] == "train"]
    return rates[1:STRETCHES]


def _peers() -> list[float]:
    import torch
    from pytorch_metric_learning.losses import SupConLoss

    recipe, model, fabric = _parts()
    settings, batches = recipe.training, _peers_batches()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    loss_fn = SupConLoss(temperature=recipe.objective.temperature)

    def step() -> None:
        first, second, codes = next(batches)
        images = torch.cat([first, second]).to(fabric.device, memory_format=torch.channels_last)
        with fabric.autocast():
            projections = model(images)
        total = sum(
            loss_fn(z.float(), code.repeat(2).to(fabric.device))
            for z, code in zip(projections.values(), codes, strict=True)
        )
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()

    return _rates(step, 2 * settings.batch_size)


def _peers_views() -> list[float]:
    import torch

    batches = _peers_batches()
    return _rates(lambda: torch.cat(next(batches)[:2]), 2 * _recipe().training.batch_size)


def _peers_batches() -> Any:
    """Epoch after epoch of (first views, second views, labels of each similarity)."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision.transforms import v2

    from mscon.data.views import IMAGENET_MEAN, IMAGENET_STD
    from mscon.prepare import prepare

    recipe = _recipe()
    data, views = prepare(recipe), recipe.run_views
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(recipe.image.size, scale=views.scale, ratio=views.ratio, antialias=True),
            v2.RandomHorizontalFlip(views.flip),
            v2.ColorJitter(views.brightness, views.contrast, views.saturation, views.hue),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )

    class Photos(Dataset):
        def __len__(self) -> int:
            return len(data.split.train)

        def __getitem__(self, number: int) -> tuple[Any, Any, list[int]]:
            row = int(data.split.train[number])
            image = Image.open(io.BytesIO(data.catalog.image_bytes(row))).convert("RGB")
            return transform(image), transform(image), [int(codes[row]) for codes in labels]

    labels = [data.values[name] for name in recipe.similarities]
    loader = DataLoader(Photos(), recipe.training.batch_size, shuffle=True, drop_last=True, num_workers=2)
    return chain.from_iterable(repeat(loader))


def _rates(step: Any, images: int) -> list[float]:
    """Images a second of each stretch after the first."""
    rates: list[float] = []
    for _ in range(STRETCHES):
        start = perf_counter()
        for _ in range(STRETCH):
            step()
        rates.append(images * STRETCH / (perf_counter() - start))
    return rates[1:]


if __name__ == "__main__":
    main()

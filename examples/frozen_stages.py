"""Fine-tuning a timm backbone: the first stages frozen with their norms, the others slow, the heads fast.

To install, in a clone of mscon:    pip install . scikit-learn
To run:                             python examples/frozen_stages.py shoes.csv --labels category closure --pretrained
Without a table of your own:        python examples/frozen_stages.py --pretrained   (letters, drawn from typefaces)
Without a download:                 leave out --pretrained: what is frozen is then random, and the numbers are lower

A table has a column of images (paths, addresses or bytes) and columns of labels; mscon reads it, splits it and decodes
the images. The table at the end is the share of the test images of which the five nearest training images know the
label, before and after.
"""

import argparse
from typing import cast

import timm
import torch
from sklearn.neighbors import KNeighborsClassifier
from timm.utils.model import freeze
from torch import Tensor, nn

from mscon import Categorical, MSConLoss, Recipe
from mscon.data.views import ViewSettings, augment, normalize
from mscon.prepare import prepare

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", default="glyphs", help="CSV or Parquet; left out, letters")
    parser.add_argument("--labels", nargs="+", default=["character", "weight"])
    parser.add_argument("--backbone", default="resnet18", help="any of timm's")
    parser.add_argument("--pretrained", action="store_true", help="start from timm's weights, which are downloaded")
    parser.add_argument("--freeze", nargs="*", default=["conv1", "bn1", "layer1", "layer2"], help="modules of it")
    parser.add_argument("--lr", type=float, default=1e-4, help="of what is not frozen; heads learn ten times as fast")
    parser.add_argument("--size", type=int, default=64, help="side of an image in pixels")
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    torch.manual_seed(0)

    similarities = {name: {"kind": "categorical"} for name in given.labels}
    table = {"catalog": {"source": given.table}, "similarities": similarities, "image": {"size": given.size}}
    data = prepare(Recipe.of(table))
    images = torch.tensor(data.pixels.array[:]).permute(0, 3, 1, 2)  # (N, 3, size, size), uint8
    codes = torch.stack([torch.from_numpy(data.values[name]) for name in given.labels], dim=1)  # −1: missing
    train, test = torch.from_numpy(data.split.train), torch.from_numpy(data.split.test)

    encoder = timm.create_model(given.backbone, pretrained=given.pretrained, num_classes=0)
    weights = sum(each.numel() for each in encoder.parameters())
    if given.freeze:
        freeze(encoder, given.freeze)  # neither their weights nor the statistics of their norms move any more
    encoder.to(DEVICE)
    width = cast(int, encoder.num_features)
    heads = nn.ModuleList(
        nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 64)) for _ in given.labels
    ).to(DEVICE)
    loss_fn = MSConLoss({name: Categorical() for name in given.labels}, temperature=0.1).to(DEVICE)
    moving = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": moving, "lr": given.lr},
            {"params": heads.parameters(), "lr": 10 * given.lr},
            *loss_fn.parameter_groups(),
        ]
    )
    print(f"{sum(each.numel() for each in moving):,} of {weights:,} weights of the encoder are trained", flush=True)

    # Views are normalised by ImageNet's colours, as most of timm's weights expect; letters are not mirrored.
    views, generator = ViewSettings(flip=0.0), torch.Generator().manual_seed(0)
    before = scores(encoder, images, codes, train, test)
    for epoch in range(given.epochs):
        encoder.train()
        losses: list[float] = []
        for rows in train[torch.randperm(len(train))].split(64):
            pictures, labels = images[rows].to(DEVICE), codes[rows].repeat(2, 1).to(DEVICE)
            embedding = encoder(torch.cat([augment(pictures, views, generator=generator) for _ in range(2)]))
            projections = {name: head(embedding) for name, head in zip(given.labels, heads, strict=True)}
            out = loss_fn(projections, dict(zip(given.labels, labels.unbind(1), strict=True)))
            optimizer.zero_grad()
            out.total.backward()
            optimizer.step()
            losses.append(float(out.total.detach()))
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.3f}", flush=True)

    print(f"{'label':12} {'before':>10} {'after':>10}")
    for name, was, now in zip(given.labels, before, scores(encoder, images, codes, train, test), strict=True):
        print(f"{name:12} {was:10.2f} {now:10.2f}")


@torch.no_grad()
def scores(encoder: nn.Module, images: Tensor, codes: Tensor, train: Tensor, test: Tensor) -> list[float]:
    """Of each label, the share of the test images of which the five nearest training images know it."""
    encoder.eval()
    h = torch.cat([encoder(normalize(each.to(DEVICE))).cpu() for each in images.split(256)]).numpy()
    nearest, found = KNeighborsClassifier(n_neighbors=5, metric="cosine"), []
    for label in codes.unbind(1):
        of_train, of_test = train[label[train] >= 0], test[label[test] >= 0]
        found.append(nearest.fit(h[of_train], label[of_train]).score(h[of_test], label[of_test]))
    return found


if __name__ == "__main__":
    main()

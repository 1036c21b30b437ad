"""Photos in folders, a plain PyTorch loop: one encoder, one head for each level of folders, one loss.

    photos/boots/laces/17.jpg       category: boots, closure: laces
    photos/boots/zip/3.jpg          category: boots, closure: zip

To install, in a clone of mscon:    pip install . scikit-learn
To run:                             python examples/image_folders.py photos --labels category closure --size 128
Without photos of your own:         python examples/image_folders.py

The last draws letters of many typefaces into runs/letters/<character>/<weight>. A quarter of the photos is held out.
The table at the end is the share of them of which the five nearest training photos know the label, before and after.
"""

import argparse
from pathlib import Path
from typing import cast

import timm
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.datasets.folder import IMG_EXTENSIONS, default_loader
from torchvision.transforms import v2

from mscon import Catalog, Categorical, MSConLoss

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Photos(Dataset[tuple[list[Tensor], Tensor]]):
    """Views of each photo, and the numbers of the folders that it lies in: one label a level."""

    def __init__(self, folder: Path, labels: list[str], views: list[v2.Transform]):
        self.views = views
        self.paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)
        names = [path.relative_to(folder).parts[:-1] for path in self.paths]
        if {len(each) for each in names} != {len(labels)}:
            raise SystemExit(f"{folder}: each photo has to lie {len(labels)} folders deep: {'/'.join(labels)}/a.jpg")
        classes = [sorted(set(level)) for level in zip(*names, strict=True)]
        self.codes = torch.tensor([[c.index(one) for c, one in zip(classes, each, strict=True)] for each in names])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, item: int) -> tuple[list[Tensor], Tensor]:
        photo = default_loader(str(self.paths[item]))
        return [view(photo) for view in self.views], self.codes[item]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="left out, letters are drawn")
    parser.add_argument("--labels", nargs="+", default=["character", "weight"], help="of the folders, outermost first")
    parser.add_argument("--backbone", default="resnet10t", help="any of timm's")
    parser.add_argument("--size", type=int, default=32, help="side of a view in pixels")
    parser.add_argument("--epochs", type=int, default=15)
    given = parser.parse_args()
    torch.manual_seed(0)

    tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.5,) * 3, (0.25,) * 3)]
    random_view = v2.Compose([v2.RandomResizedCrop(given.size, scale=(0.7, 1.0)), v2.ColorJitter(0.1, 0.1), *tensor])
    plain_view = v2.Compose([v2.Resize((given.size, given.size)), *tensor])
    folder = given.folder or drawn_letters(Path("runs/letters"))
    photos, plain = Photos(folder, given.labels, [random_view, random_view]), Photos(folder, given.labels, [plain_view])
    test, train = torch.randperm(len(photos)).tensor_split([len(photos) // 4])
    batches = DataLoader(Subset(photos, train.tolist()), batch_size=64, shuffle=True)

    encoder = timm.create_model(given.backbone, num_classes=0).to(DEVICE)  # without classes it returns the embedding
    heads = nn.ModuleList(new_head(cast(int, encoder.num_features)) for _ in given.labels).to(DEVICE)
    loss_fn = MSConLoss({name: Categorical() for name in given.labels}, temperature=0.1).to(DEVICE)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *heads.parameters(), *loss_fn.parameters()], lr=2e-3)
    before = scores(encoder, plain, train, test)
    for epoch in range(given.epochs):
        encoder.train()
        for views, codes in batches:
            embedding = encoder(torch.cat(views).to(DEVICE))  # all first views, then all second views …
            codes = codes.repeat(len(views), 1).to(DEVICE)  # … so the labels are repeated, view by view
            projections = {name: head(embedding) for name, head in zip(given.labels, heads, strict=True)}
            out = loss_fn(projections, dict(zip(given.labels, codes.unbind(1), strict=True)))
            optimizer.zero_grad()
            out.total.backward()
            optimizer.step()
        # 1: as good as chance, 0: all that the labels can tell is learned.
        excess = ", ".join(f"{name} {now['relative_excess']:.2f}" for name, now in loss_fn.trust.items())
        print(f"epoch {epoch + 1}: relative excess {excess}", flush=True)

    print(f"{'label':12} {'untrained':>10} {'trained':>10}")
    for name, was, now in zip(given.labels, before, scores(encoder, plain, train, test), strict=True):
        print(f"{name:12} {was:10.2f} {now:10.2f}")


def new_head(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 64))


@torch.no_grad()
def scores(encoder: nn.Module, photos: Photos, train: Tensor, test: Tensor) -> list[float]:
    """Of each label, the share of the test photos of which the five nearest training photos know it."""
    encoder.eval()
    h = torch.cat([encoder(views[0].to(DEVICE)).cpu() for views, _ in DataLoader(photos, batch_size=256)]).numpy()
    nearest = KNeighborsClassifier(n_neighbors=5, metric="cosine")
    return [nearest.fit(h[train], codes[train]).score(h[test], codes[test]) for codes in photos.codes.numpy().T]


def drawn_letters(folder: Path) -> Path:
    """Capital letters and digits of 21 typefaces as images, in folders by character and weight."""
    glyphs = Catalog.read("glyphs").table.unique("group", keep="first", maintain_order=True)
    for number, glyph in enumerate(glyphs.iter_rows(named=True)):
        if not glyph["character"].islower():  # for some file systems a/ and A/ are the same folder
            path = folder / glyph["character"] / glyph["weight"] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(glyph["image"])
    return folder


if __name__ == "__main__":
    main()

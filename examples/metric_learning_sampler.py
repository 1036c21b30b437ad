"""pytorch-metric-learning around the objective: its MPerClassSampler for batches, its AccuracyCalculator for scores.

To install, in a clone of mscon:    pip install . pytorch-metric-learning
To run:                             python examples/metric_learning_sampler.py shoes.csv --labels model closure
Without a table of your own:        python examples/metric_learning_sampler.py     (letters, drawn from typefaces)

The first label has many classes: in a random batch most items would be the only one of theirs. The sampler brings four
of each, which serve as one another's positives, so that no second view is needed. The table at the end: for each test
image, whether the nearest training image has its label (precision at 1), and how far up those with its label stand
among all (mean average precision at R, Musgrave et al. 2020, arXiv 2003.08505).
"""

import argparse

import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.samplers import MPerClassSampler
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from mscon import Categorical, MSConLoss, Recipe
from mscon.data.views import ViewSettings, augment
from mscon.model import MSConModel, build_model
from mscon.prepare import prepare

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MEASURES = {"precision_at_1": "precision at 1", "mean_average_precision_at_r": "MAP at R"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", default="glyphs", help="CSV or Parquet; left out, letters")
    parser.add_argument("--labels", nargs="+", default=["character", "weight"], help="batches follow the first")
    parser.add_argument("--backbone", default="resnet10t", help="any of timm's")
    parser.add_argument("--size", type=int, default=32, help="side of an image in pixels")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    given = parser.parse_args()
    torch.manual_seed(0)

    similarities = {name: {"kind": "categorical"} for name in given.labels}
    table = {"catalog": {"source": given.table}, "similarities": similarities, "image": {"size": given.size}}
    data = prepare(Recipe.of(table))
    images = torch.tensor(data.pixels.array[:]).permute(0, 3, 1, 2)  # (N, 3, size, size), uint8
    codes = torch.stack([torch.from_numpy(data.values[name]) for name in given.labels], dim=1)  # −1: missing
    train, test = torch.from_numpy(data.split.train), torch.from_numpy(data.split.test)

    drawn_from = train[codes[train, 0] >= 0]  # the sampler would take a missing label for a class
    sampler = MPerClassSampler(codes[drawn_from, 0], m=4, length_before_new_iter=len(drawn_from))
    batches = DataLoader(TensorDataset(images[drawn_from], codes[drawn_from]), given.batch_size, sampler=sampler)

    model = build_model(given.backbone, dict.fromkeys(given.labels, 64), image_size=given.size).to(DEVICE)
    loss_fn = MSConLoss({name: Categorical() for name in given.labels}, temperature=0.1).to(DEVICE)
    optimizer = torch.optim.AdamW([*model.parameters(), *loss_fn.parameters()], lr=2e-3)
    views, generator = ViewSettings(flip=0.0), torch.Generator().manual_seed(0)  # letters are not mirrored
    before = scores(model, images, codes, train, test)
    for _ in range(given.epochs):
        model.train()
        for pictures, labels in batches:
            view = augment(pictures.to(DEVICE), views, generator=generator)
            out = loss_fn(model(view), dict(zip(given.labels, labels.to(DEVICE).unbind(1), strict=True)))
            optimizer.zero_grad()
            out.total.backward()
            optimizer.step()

    print(f"{'label':12} {'measure':16} {'untrained':>10} {'trained':>10}")
    for name, was, now in zip(given.labels, before, scores(model, images, codes, train, test), strict=True):
        for measure, title in MEASURES.items():
            print(f"{name:12} {title:16} {was[measure]:10.2f} {now[measure]:10.2f}")


def scores(model: MSConModel, images: Tensor, codes: Tensor, train: Tensor, test: Tensor) -> list[dict[str, float]]:
    """The calculator's measures for each label, in the shared embedding; items without the label are left out."""
    h = torch.cat([model.embed(each.to(DEVICE)).cpu() for each in images.split(256)])
    # Its own neighbours need faiss; these need nothing else. "max_bin_count" is as many as MAP at R asks for.
    calculator = AccuracyCalculator(include=tuple(MEASURES), k="max_bin_count", knn_func=CustomKNN(CosineSimilarity()))
    found = []
    for label in codes.unbind(1):
        of_train, of_test = train[label[train] >= 0], test[label[test] >= 0]
        found.append(calculator.get_accuracy(h[of_test], label[of_test], h[of_train], label[of_train]))
    return found


if __name__ == "__main__":
    main()

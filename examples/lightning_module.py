"""A PyTorch Lightning module: losses and weights in the log, trust by held-out items, its state in the checkpoints.

To install, in a clone of mscon:    pip install . pytorch-lightning scikit-learn
To run:                             python examples/lightning_module.py shoes.csv --labels category closure
On several GPUs, as one batch:      the same with --devices 4
Without a table of your own:        python examples/lightning_module.py            (letters, drawn from typefaces)

A table has a column of images (paths, addresses or bytes) and columns of labels; mscon reads it, splits it and decodes
the images. The table at the end is the share of the test images of which the five nearest training images know the
label. Logs and checkpoints lie in lightning_logs/.
"""

import argparse

import torch
from pytorch_lightning import LightningModule, Trainer
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from mscon import Categorical, MSConLoss, Recipe
from mscon.data.views import ViewSettings, augment, normalize
from mscon.model import build_model
from mscon.prepare import prepare

VIEWS = ViewSettings(flip=0.0)
"""Letters are not mirrored; most photos may be."""


class MSCon(LightningModule):
    """An encoder, a head for each label, and the objective over both. A batch is (uint8 images, one code per label)."""

    def __init__(self, labels: list[str], backbone: str, size: int):
        super().__init__()
        self.save_hyperparameters()
        self.labels = labels
        self.model = build_model(backbone, dict.fromkeys(labels, 64), image_size=size)
        # Its weighting keeps what it has seen in buffers, so that a checkpoint holds it. Gathering makes one batch of
        # those of all devices; on a single one it changes nothing.
        self.loss_fn = MSConLoss({name: Categorical() for name in labels}, temperature=0.1, gather_distributed=True)
        self.held_out = torch.zeros(())

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        images, codes = batch
        # Views are drawn on the CPU, by a seed of its own for each step and device, and made on the device.
        seed = self.global_step * self.trainer.world_size + self.global_rank
        generator = torch.Generator().manual_seed(seed)
        views = torch.cat([augment(images, VIEWS, generator=generator) for _ in range(2)])
        out = self.loss_fn(self.model(views), self.by_label(codes.repeat(2, 1)))
        for name, term in out.terms.items():
            self.log(f"{name}/loss", term.loss, on_epoch=True)
            self.log(f"{name}/relative_excess", term.relative_excess)
            self.log(f"{name}/weight", term.weight, prog_bar=True)
        return out.total

    def on_validation_epoch_start(self) -> None:
        self.held_out = torch.zeros((), device=self.device)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        images, codes = batch
        self.held_out = self.held_out + self.loss_fn.held_out_sums(self.model(normalize(images)), self.by_label(codes))

    def on_validation_epoch_end(self) -> None:
        # Heads learn wrong labels by heart, so what held-out items say decides how far each similarity is trusted.
        self.loss_fn.observe_held_out(self.held_out)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW([{"params": self.model.parameters()}, *self.loss_fn.parameter_groups()], lr=2e-3)

    def by_label(self, codes: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.labels, codes.unbind(1), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", default="glyphs", help="CSV or Parquet; left out, letters")
    parser.add_argument("--labels", nargs="+", default=["character", "weight"])
    parser.add_argument("--backbone", default="resnet10t", help="any of timm's")
    parser.add_argument("--size", type=int, default=32, help="side of an image in pixels")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--devices", type=int, default=1)
    given = parser.parse_args()
    torch.manual_seed(0)

    similarities = {name: {"kind": "categorical"} for name in given.labels}
    table = {"catalog": {"source": given.table}, "similarities": similarities, "image": {"size": given.size}}
    data = prepare(Recipe.of(table))
    images = torch.tensor(data.pixels.array[:]).permute(0, 3, 1, 2)  # (N, 3, size, size), uint8
    codes = torch.stack([torch.from_numpy(data.values[name]) for name in given.labels], dim=1)  # −1: missing
    train, val, test = (torch.from_numpy(rows) for rows in (data.split.train, data.split.val, data.split.test))
    batches = DataLoader(TensorDataset(images[train], codes[train]), batch_size=128, shuffle=True)
    held_out = DataLoader(TensorDataset(images[val], codes[val]), batch_size=128)

    module = MSCon(given.labels, given.backbone, given.size)
    before = scores(module, images, codes, train, test)
    device = "cuda" if torch.cuda.is_available() else "cpu"  # the weighting's float64 is not for MPS
    trainer = Trainer(accelerator=device, devices=given.devices, max_epochs=given.epochs, log_every_n_steps=5)
    trainer.fit(module, batches, held_out)
    if trainer.is_global_zero:
        print(f"{'label':12} {'untrained':>10} {'trained':>10}")
        for name, was, now in zip(given.labels, before, scores(module, images, codes, train, test), strict=True):
            print(f"{name:12} {was:10.2f} {now:10.2f}")


def scores(module: MSCon, images: Tensor, codes: Tensor, train: Tensor, test: Tensor) -> list[float]:
    """Of each label, the share of the test images of which the five nearest training images know it."""
    h = torch.cat([module.model.embed(each.to(module.device)).cpu() for each in images.split(256)]).numpy()
    nearest, found = KNeighborsClassifier(n_neighbors=5, metric="cosine"), []
    for label in codes.unbind(1):
        of_train, of_test = train[label[train] >= 0], test[label[test] >= 0]
        found.append(nearest.fit(h[of_train], label[of_train]).score(h[of_test], label[of_test]))
    return found


if __name__ == "__main__":
    main()

"""One batch over several processes: torchrun, DistributedDataParallel, and every anchor against the rows of all.

To install, in a clone of mscon:    pip install . scikit-learn
To run, on two GPUs or two CPUs:    torchrun --nproc-per-node=2 examples/two_gpus.py shoes.csv --labels category closure
In one process, the same numbers:   python examples/two_gpus.py shoes.csv --labels category closure
Without a table of your own:        torchrun --nproc-per-node=2 examples/two_gpus.py   (letters, drawn from typefaces)

NCCL connects GPUs, gloo CPUs. A table has a column of images (paths, addresses or bytes) and columns of labels; mscon
reads it, splits it and decodes the images. The table at the end is the share of the test images of which the five
nearest training images know the label, before and after training.
"""

import argparse
import os

import torch
import torch.distributed as dist
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from mscon import Categorical, MSConLoss, Recipe
from mscon.data.views import normalize
from mscon.model import MSConModel, build_model
from mscon.prepare import prepare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", default="glyphs", help="CSV or Parquet; left out, letters")
    parser.add_argument("--labels", nargs="+", default=["character", "weight"])
    parser.add_argument("--backbone", default="resnet10t", help="any of timm's")
    parser.add_argument("--size", type=int, default=32, help="side of an image in pixels")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=128, help="items of all processes together")
    given = parser.parse_args()
    rank, world_size, device = connected()
    torch.manual_seed(0)  # the same weights in every process

    similarities = {name: {"kind": "categorical"} for name in given.labels}
    table = {"catalog": {"source": given.table}, "similarities": similarities, "image": {"size": given.size}}
    data = prepare(Recipe.of(table))
    images = torch.tensor(data.pixels.array[:]).permute(0, 3, 1, 2)  # (N, 3, size, size), uint8
    codes = torch.stack([torch.from_numpy(data.values[name]) for name in given.labels], dim=1)  # −1: missing
    train, test = torch.from_numpy(data.split.train), torch.from_numpy(data.split.test)
    items = TensorDataset(images[train], codes[train])
    # Every process draws the same order and takes its part of each batch.
    sampler = DistributedSampler(items, num_replicas=world_size, rank=rank, seed=0, drop_last=True)
    share = min(given.batch_size, len(train)) // world_size
    batches = DataLoader(items, share, sampler=sampler, drop_last=True)

    # Group normalisation looks at one image alone: batch normalisation would see another batch in each process.
    model = build_model(given.backbone, dict.fromkeys(given.labels, 64), image_size=given.size, norm="group").to(device)
    parallel = DistributedDataParallel(model) if world_size > 1 else model
    loss_fn = MSConLoss({name: Categorical() for name in given.labels}, gather_distributed=True).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    before = scores(model, images, codes, train, test) if rank == 0 else []
    for epoch in range(given.epochs):
        model.train()
        sampler.set_epoch(epoch)
        losses: list[float] = []
        for pictures, labels in batches:
            # Random views would go here (`mscon.data.views.augment`), from a seed of each process's own.
            projections = parallel(normalize(pictures.to(device)))
            out = loss_fn(projections, dict(zip(given.labels, labels.to(device).unbind(1), strict=True)))
            optimizer.zero_grad()
            out.total.backward()  # DistributedDataParallel averages gradients to those of one process
            optimizer.step()
            losses.append(float(out.total.detach()))
        if rank == 0:  # the losses are the same in all
            print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}", flush=True)

    if rank == 0:
        print(f"{'label':12} {'untrained':>10} {'trained':>10}")
        for name, was, now in zip(given.labels, before, scores(model, images, codes, train, test), strict=True):
            print(f"{name:12} {was:10.2f} {now:10.2f}")
    if world_size > 1:
        dist.destroy_process_group()


def connected() -> tuple[int, int, torch.device]:
    """This process's number, how many there are, and its device: as torchrun says, else one process."""
    local = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return 0, 1, device
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return dist.get_rank(), dist.get_world_size(), device


def scores(model: MSConModel, images: Tensor, codes: Tensor, train: Tensor, test: Tensor) -> list[float]:
    """Of each label, the share of the test images of which the five nearest training images know it."""
    device = next(model.parameters()).device
    h = torch.cat([model.embed(each.to(device)).cpu() for each in images.split(256)]).numpy()
    nearest, found = KNeighborsClassifier(n_neighbors=5, metric="cosine"), []
    for label in codes.unbind(1):
        of_train, of_test = train[label[train] >= 0], test[label[test] >= 0]
        found.append(nearest.fit(h[of_train], label[of_train]).score(h[of_test], label[of_test]))
    return found


if __name__ == "__main__":
    main()

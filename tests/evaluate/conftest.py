"""Simulated features with label columns that a linear classifier can partly tell."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from mscon.data.splits import Split


@dataclass(frozen=True)
class Simulated:
    features: torch.Tensor
    columns: dict[str, np.ndarray]
    numbers: dict[str, np.ndarray]
    split: Split


@pytest.fixture(scope="session")
def simulated() -> Simulated:
    """600 items, 20 correlated float64 features on unlike scales; columns of 2, 4 and 9 classes, the last with gaps."""
    generator = np.random.default_rng(7)
    x = generator.normal(size=(600, 20)) @ generator.normal(size=(20, 20)) * np.geomspace(0.1, 10, 20) + 3
    z = (x - x.mean(0)) / x.std(0)
    columns = {}
    for name, classes in (("pair", 2), ("few", 4), ("gaps", 9)):
        logits = z @ generator.normal(size=(20, classes)) + 2 * generator.gumbel(size=(600, classes))
        columns[name] = logits.argmax(1)
    columns["gaps"][generator.random(600) < 0.3] = -1
    numbers = {"length": z @ generator.normal(size=20) * 5 + 100 + generator.normal(size=600) * 10}
    numbers["sparse"] = np.where(
        generator.random(600) < 0.3, np.nan, np.exp((z[:, 0] + generator.normal(size=600)) / 3)
    )
    return Simulated(torch.from_numpy(x), columns, numbers, split_of(600, seed=1))


@pytest.fixture(scope="session")
def tagged(simulated: Simulated) -> tuple[np.ndarray, np.ndarray]:
    """The number of each item's set of tags, a tenth of them missing, and which of 5 tags each set holds."""
    generator = np.random.default_rng(8)
    x = simulated.features.numpy()
    z = (x - x.mean(0)) / x.std(0)
    margins = z @ generator.normal(size=(20, 5)) + 2 * generator.logistic(size=(600, 5)) - np.arange(5)
    table, sets = np.unique(margins > 0, axis=0, return_inverse=True)
    return np.where(generator.random(600) < 0.1, -1, sets), table


def split_of(items: int, *, seed: int) -> Split:
    order = np.random.default_rng(seed).permutation(items)
    first, second = round(0.6 * items), round(0.8 * items)
    return Split(np.sort(order[:first]), np.sort(order[first:second]), np.sort(order[second:]))

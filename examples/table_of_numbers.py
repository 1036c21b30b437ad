"""A table of numbers, an encoder of two layers: one label is a class, the other a number.

To install, in a clone of mscon:    pip install . scikit-learn pandas
To run:                             python examples/table_of_numbers.py cars.csv --category maker --number price
Without a table of your own:        python examples/table_of_numbers.py

The last takes scikit-learn's measurements of cell nuclei in 569 biopsies: the category is the diagnosis, the number the
area of the largest nuclei, and the encoder sees no column that measures size (radius, perimeter, area). A quarter of
the rows is held out. The table at the end, from the ten nearest training rows: the share of the held-out rows whose
category they know, and R² of the mean of their numbers.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from torch import nn

from mscon import Categorical, Continuous, MSConLoss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path, nargs="?", help="left out, the biopsies")
    parser.add_argument("--category", default="diagnosis", help="column of classes")
    parser.add_argument("--number", default="worst area", help="column of numbers")
    parser.add_argument("--leave-out", nargs="*", default=[], help="columns that the encoder shall not see either")
    parser.add_argument("--epochs", type=int, default=100)
    given = parser.parse_args()
    torch.manual_seed(0)

    table = pd.read_csv(given.csv) if given.csv else biopsies()
    inputs = table.drop(columns=[given.category, given.number, *given.leave_out]).select_dtypes("number")
    rows = train_test_split(range(len(table)), test_size=0.25, random_state=0)
    train, test = (torch.tensor(part) for part in rows)
    scaled = StandardScaler().fit(inputs.iloc[train]).transform(inputs)
    x = torch.tensor(scaled, dtype=torch.float32).nan_to_num()  # a missing input takes the mean, 0
    # A missing label is −1 or NaN: it takes its row out of that similarity alone.
    category = torch.from_numpy(pd.factorize(table[given.category])[0])
    number = torch.tensor(table[given.number], dtype=torch.float32)

    encoder = nn.Sequential(nn.Dropout(0.2), nn.Linear(x.shape[1], 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 64))
    heads = nn.ModuleDict({"category": nn.Linear(64, 16), "number": nn.Linear(64, 16)})
    # Ranks are taken among all training rows, so that a batch by chance of high numbers misleads nobody.
    similarities = {"category": Categorical(), "number": Continuous(reference=number[train])}
    loss_fn = MSConLoss(similarities, temperature=0.1)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *heads.parameters(), *loss_fn.parameters()], lr=1e-3)
    for _ in range(given.epochs):
        for batch in train[torch.randperm(len(train))].split(128):
            embedding = encoder(x[batch])
            projections = {name: head(embedding) for name, head in heads.items()}
            out = loss_fn(projections, {"category": category[batch], "number": number[batch]})
            optimizer.zero_grad()
            out.total.backward()
            optimizer.step()

    encoder.eval()
    with torch.no_grad():
        embedding = encoder(x)
    print(f"{'label':20} {'raw input':>10} {'trained':>10}")
    for name, labels, nearest in (
        (given.category, category, KNeighborsClassifier(n_neighbors=10)),
        (given.number, number, KNeighborsRegressor(n_neighbors=10)),
    ):
        known = labels >= 0 if labels is category else ~labels.isnan()
        of_train, of_test = train[known[train]], test[known[test]]
        raw, trained = (
            nearest.fit(seen[of_train], labels[of_train]).score(seen[of_test], labels[of_test])
            for seen in (x, embedding)
        )
        print(f"{name:20} {raw:10.2f} {trained:10.2f}")


def biopsies() -> pd.DataFrame:
    """The diagnosis, the largest area, and the 21 measurements that do not speak of size."""
    measured, benign = load_breast_cancer(return_X_y=True, as_frame=True)
    table = pd.DataFrame(measured).assign(diagnosis=pd.Series(benign).map({0: "malignant", 1: "benign"}))
    sizes = [name for name in table if any(size in str(name) for size in ("radius", "perimeter", "area"))]
    return table.drop(columns=[name for name in sizes if name != "worst area"])


if __name__ == "__main__":
    main()

"""What the diagnostics of a run show on footwear when it is known what is wrong: where their thresholds come from.

    python benchmarks/diagnostics.py --folder /tmp/diagnostics        # 1 to 2 minutes a run; goes on where it was

Every run is the default recipe at 32 px for 4 epochs on category, gender and colour, and one thing more: a label given
twice, given again with a share of its values drawn anew (from the label's own distribution), pure noise, another honest
label, views of the same item, or a setting that collapses it. Needs the footwear catalog in the folder that MSCON_DATA
names. The CSV that is committed holds the first nine cases with both seeds. Its columns:

case, seed
figure   shared_information (labels), cka (heads), gradient_cosine, effective_rank, uniformity, relative_excess, weight,
         bound (-1: the least weight, 1: the most, else 0), alone
where    a head, a pair of heads, or the embedding
value    cka as of the 924 held-out items as if they were the whole, which is at most √(r s) / 924 above the unbiased
         estimate that diagnostics have, for heads of effective ranks r and s
"""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from measuring import real_catalog, write_csv

HONEST = ("category", "gender", "colour")
NOISE_CLASSES = 8


@dataclass(frozen=True)
class Case:
    """`more` similarities beside the honest three, `changed` settings, and how many seeds."""

    name: str
    more: tuple[str, ...] = ()
    changed: dict[str, Any] = field(default_factory=dict)
    seeds: int = 2


CASES = (
    Case("honest"),
    Case("noisy copy, 50%", ("category_50",)),
    Case("noisy copy, 20%", ("category_20",)),
    Case("copy", ("category_again",)),
    Case("noise", ("noise",)),
    Case("collapsed by temperature", changed={"objective.temperature": 10.0, "training.epochs": 2}),
    Case("collapsed by rate", changed={"training.lr": 1.0, "training.epochs": 2}),
    Case("five honest", ("season", "usage")),
    Case("views of an item", ("instance",)),
    Case("two copies", ("category_again", "category_once_more"), seeds=1),
    Case("coarser copy", ("subcategory",), seeds=1),
    Case("noisy copy of gender, 20%", ("gender_20",), seeds=1),
    Case("noisy copy of colour, 50%", ("colour_50",), seeds=1),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="the catalog and the runs; what is there is kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    given = parser.parse_args()
    source = catalog(given.folder)
    rows: list[dict[str, Any]] = []
    order = [case.name for case in CASES]
    for seed in range(max(case.seeds for case in CASES)):
        for case in CASES:
            if seed < case.seeds:
                rows += [{"case": case.name, "seed": seed} | each for each in figures(case, seed, source)]
                write_csv(given.out, sorted(rows, key=lambda row: order.index(row["case"])))


def catalog(folder: Path) -> Path:
    """Footwear with the doubtful labels beside the honest ones."""
    path = folder / "footwear.parquet"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    table = pl.read_parquet(real_catalog("footwear"))
    generator = np.random.default_rng(0)

    def noisy(name: str, share: float) -> pl.Series:
        values = table[name].to_numpy()
        anew = generator.permutation(values)
        return pl.Series(np.where(generator.random(len(values)) < share, anew, values))

    table.with_columns(
        category_again=pl.col("category"),
        category_once_more=pl.col("category"),
        category_20=noisy("category", 0.2),
        category_50=noisy("category", 0.5),
        gender_20=noisy("gender", 0.2),
        colour_50=noisy("colour", 0.5),
        noise=pl.Series(generator.integers(NOISE_CLASSES, size=len(table))).cast(pl.String),
    ).write_parquet(path)
    return path


def figures(case: Case, seed: int, source: Path) -> list[dict[str, str]]:
    """The figures of the case's run, which is trained if it is not there yet; measured once."""
    folder = source.parent / f"{case.name.translate(str.maketrans(' ', '-', ',%'))}-{seed}"
    found = folder / "figures.json"
    if not found.exists():
        found.write_text(json.dumps(measure(trained(case, seed, source, folder))))
    return json.loads(found.read_text())


def trained(case: Case, seed: int, source: Path, folder: Path) -> Any:
    """The case's run, gone on with, or as it is when it is done."""
    from mscon.recipe import Recipe
    from mscon.train import train

    recipe = Recipe.of(
        {
            "catalog": {"source": str(source)},
            "similarities": {name: {} for name in (*HONEST, *case.more)},
            "image": {"size": 32},
            "training": {"epochs": 4, "seed": seed},
        },
        case.changed,
    )
    return train(recipe, folder, resume=(folder / "recipe.toml").exists())


def measure(run: Any) -> list[dict[str, str]]:
    """Every figure of the run's diagnostics, a row each."""
    import torch

    from mscon.embed import embed_pixels
    from mscon.evaluate.diagnose import diagnose

    data = run.prepare()
    model, held_out = run.model(), data.split.val
    embeddings = torch.zeros(len(data.catalog), model.architecture.embedding_dim)
    embeddings[held_out] = embed_pixels(model, data.pixels.array[held_out])  # the only ones that are looked at
    facts = diagnose(run, data, embeddings)
    found: list[tuple[str, str, float | None]] = [
        ("effective_rank", "embedding", facts.effective_rank),
        ("uniformity", "embedding", facts.uniformity),
    ]
    for head in facts.heads:
        names = ("effective_rank", "uniformity", "relative_excess", "weight", "alone")
        found += [(name, head.name, getattr(head, name)) for name in names]
        found += [("bound", head.name, {"least": -1.0, None: 0.0, "most": 1.0}[head.bound])]
    for pair in facts.pairs:
        where = f"{pair.first} · {pair.second}"
        found += [(name, where, getattr(pair, name)) for name in ("shared_information", "cka", "gradient_cosine")]
    return [
        {"figure": figure, "where": where, "value": "" if value is None else f"{value:.4g}"}
        for figure, where, value in found
    ]


if __name__ == "__main__":
    main()

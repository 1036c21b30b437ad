"""The experiments' CSVs as the tables of docs/results.md: python benchmarks/tables.py [NAME of a function below …]

Means over seeds; ± is half of the 95% interval of the mean, Student's t over seeds, and differences are paired: both
trainings of a pair have the seed, and with it the split, the wrong labels and the weights at the start, in common.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import t

from mscon.weighting.excess import LEAST_EXCESS

HERE = Path(__file__).parent
LABELS = ("category", "gender", "colour", "brand")
KINDS = ("continuous", "continuous h=0.1", "continuous h=0.025", "rank_n_contrast", "10 bins", "5 bins")


def noise() -> Iterator[str]:
    """Weight shares and accuracies by the share of shuffled labels."""
    table = _noisy("noise")
    table = table.with_columns(probe_trained=pl.mean_horizontal(f"probe_{name}" for name in LABELS[:3]))
    yield from _lines("colour shuffled", "weight share of colour: excess", "uncertainty (equal: 33.3%)", "seeds")
    shares = sorted(table["colour_is"].unique(), key=lambda each: int(each.split()[-1]))
    for share in shares:
        rows = table.filter(colour_is=share)
        weights = [100 * _of(rows, method, "weight_colour") for method in ("excess", "uncertainty")]
        yield _line(_percent(share), *(_mean(each, "%") for each in weights), str(len(weights[0])))
    yield ""
    for one in ("excess", "uncertainty"):
        heads = ("category, gender, colour", "brand", "own head: category", "gender", "colour")
        yield from _lines("colour shuffled", *heads)
        for share in shares:
            rows = table.filter(colour_is=share)
            columns = ("probe_trained", "probe_brand", *(f"own_head_{name}" for name in LABELS[:3]))
            equal = (f"{_of(rows, 'equal', each).mean():.1f}" for each in columns)
            apart = (_mean(_change(rows, "equal", one, each), signed=True) for each in columns)
            yield _line(_percent(share), *(f"{a} ({b})" for a, b in zip(equal, apart, strict=True)))
        yield ""


def merged() -> Iterator[str]:
    """Raw and calibrated weights of a similarity that is made coarser, by its noise."""
    table = _noisy("noise", "merged")
    names = ("category", "gender", "colour")
    raw = {name: 1 / pl.col(f"held_out_r_{name}") for name in names}
    table = table.with_columns(raw_colour=raw["colour"] / pl.sum_horizontal(raw.values()))
    shares = ("share by 1/r", "share by excess", "of that with 23 classes", "share by uncertainty")
    yield from _lines("noise", "classes", "r", *shares, "seeds")
    for share in (0, 20, 50):
        whole: dict[int, float] = {}
        for classes in (23, 10, 5, 2):
            both = (f"merged {classes} {share}", *((f"shuffled {share}",) if classes == 23 else ()))
            rows = table.filter(pl.col("colour_is").is_in(both))
            r, plain, weight = (_of(rows, "excess", f"{each}_colour") for each in ("held_out_r", "raw", "weight"))
            of_seed = dict(rows.filter(method="excess").select("seed", "weight_colour").sort("seed").iter_rows())
            whole = whole or of_seed
            ratio = np.array([each / whole[seed] for seed, each in of_seed.items() if seed in whole])
            beside = _of(rows, "uncertainty", "weight_colour")
            yield _line(
                f"{share}%",
                str(classes),
                _mean(r, digits=2),
                _mean(100 * plain, "%"),
                _mean(100 * weight, "%"),
                _mean(ratio, digits=2),
                _mean(100 * beside, "%"),
                str(len(weight)),
            )
    yield ""


def long() -> Iterator[str]:
    """Labels that are chance, with the time to learn them by heart."""
    yield from _beside("long", (*(f"probe_{name}" for name in LABELS), *(f"own_head_{name}" for name in LABELS[:2])))


def most() -> Iterator[str]:
    """Two of three similarities being noise."""
    yield from _beside("most", (*(f"probe_{name}" for name in LABELS), *(f"own_head_{name}" for name in LABELS[:1])))


def _beside(name: str, columns: Sequence[str]) -> Iterator[str]:
    """Equal weights, and what `excess` adds to them."""
    table = _noisy(name)
    named = (each.removeprefix("probe_").replace("own_head_", "own head: ") for each in columns)
    yield from _lines("weighting", "weight share of colour", *named, "seeds")
    equal, excess = (table.filter(method=each).sort("seed") for each in ("equal", "excess"))
    yield _line("equal", "33.3%", *(_mean(equal[each].to_numpy()) for each in columns), str(len(equal)))
    yield _line("excess", _mean(100 * excess["weight_colour"].to_numpy(), "%"), *_changes(equal, excess, columns))
    yield ""


def copies() -> Iterator[str]:
    """What a similarity costs that is there more than once."""
    table = _noisy("noise", "copies")
    yield from _lines("weighting", "colour is there", *LABELS, "own head: colour", "seeds")
    columns = (*(f"probe_{name}" for name in LABELS), "own_head_colour")
    for method in ("equal", "excess"):
        once = table.filter(method=method, colour_is="shuffled 0", table="noise").sort("seed")
        yield _line(method, "once", *(_mean(once[each].to_numpy()) for each in columns), str(len(once)))
        for name, text in (("shuffled 0 x3", "three times"), ("shuffled 20 x2", "and with 20% noise")):
            more = table.filter(method=method, colour_is=name)
            yield _line(method, text, *_changes(once, more, columns))
    yield ""


def trust() -> Iterator[str]:
    """What share of labels r stands for, by where r was read."""
    table = _whole(pl.read_csv(HERE / "trust.csv"))
    classes, shares = (sorted(table[each].unique()) for each in ("classes", "drawn_anew"))
    both = [(where, count) for where in ("running", "held_out") for count in classes]
    yield from _lines("drawn anew", *(f"{where.replace('_', ' ')}, {count} classes" for where, count in both))
    for share in shares:
        rows = table.filter(drawn_anew=share)
        columns = (rows.filter(classes=count)[f"noise_{where}"].to_numpy() for where, count in both)
        yield _line(f"{share}%", *(_mean(100 * each, "%") for each in columns))
    yield ""


def functions() -> Iterator[str]:
    """What functions of r make of a label's noise: their span over class counts, by what a clean one gets."""
    table = _whole(pl.read_csv(HERE / "trust.csv"))
    shares = sorted(table["drawn_anew"].unique())
    yield from _lines("f", "r read from", *(f"{share}%" for share in shares))
    of_r: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
        "1 / r": lambda r, _: 1 / r,
        "(1 − r) / r": lambda r, _: (1 - r) / r,
        "1 − r": lambda r, _: 1 - r,
        "(1 − η̂)²": lambda _, noise: (1 - noise) ** 2,
    }
    for name, f in of_r.items():
        for where in ("running", "held_out"):
            value = f(pl.col(f"r_{where}").clip(LEAST_EXCESS, 1), pl.col(f"noise_{where}"))
            means = table.group_by("classes", "drawn_anew").agg(value.mean().alias("f"))
            clean = means.filter(drawn_anew=0)["f"].to_numpy().mean()
            spans = (means.filter(drawn_anew=share)["f"] / clean for share in shares)
            yield _line(name, where.replace("_", " "), *(f"{each.min():.2f}–{each.max():.2f}" for each in spans))
    yield ""


def continuous() -> Iterator[str]:
    """Numbers as kernels on ranks, as published, and as bins."""
    # The cube of lightness is there for one seed, and the same as lightness.
    table = _whole(pl.read_csv(HERE / "continuous.csv").filter(pl.col("method").is_in(KINDS)))
    for catalog, label in (("footwear", "lightness"), ("footwear", "year"), ("clothing", "lightness")):
        rows = table.filter(catalog=catalog)
        yield from _lines(f"{catalog}, {label}", "own head: Spearman's ρ", "beside it", "probe: R²", "beside it")
        for method in KINDS:
            if method not in rows["method"]:
                continue
            cells: list[str] = []
            for column in (f"spearman_{label}", f"r2_{label}"):
                apart = _change(rows, "continuous", method, column)
                beside = "" if method == "continuous" else _mean(apart, digits=4, signed=True)
                cells += [f"{_of(rows, method, column).mean():.4f}", beside]
            yield _line(method.replace("_", "-"), *cells)
        yield ""


def doubts() -> Iterator[str]:
    """What wrong labels cost, and what is left of it."""
    table = _whole(pl.read_csv(HERE / "doubts.csv")).rename({"colours": "method"})
    others = ("category", "gender", "brand")
    kept = ("kept_head_colour", "kept_probe_colour")
    columns = ("own_head_colour", "probe_colour", *kept, *(f"probe_{name}" for name in others))
    heads = ("own head: colour", "probe: colour", "own head, kept labels", "probe, kept labels")
    yield from _lines("colours", *heads, *(f"probe: {name}" for name in others), "seeds")
    clean = table.filter(method="clean").sort("seed")
    yield _line("clean", *(_mean(clean[each].to_numpy()) for each in columns), str(len(clean)))
    for method in ("replaced", "weighed", "audited", "known"):
        yield _line(method, *_changes(clean, table.filter(method=method), columns))
    yield ""


def mixes() -> Iterator[str]:
    """Precision of each label in what is found under a mix of similarities."""
    table = pl.read_csv(HERE / "mixes.csv")
    yield from _lines("searched by", *LABELS[:3])
    for mix in table["mix"].unique(maintain_order=True):
        rows = table.filter(mix=mix).rows_by_key("label", named=True, unique=True)
        cells = ([f"{100 * rows[label][each]:.1f}" for each in ("precision", "low", "high")] for label in LABELS[:3])
        yield _line(mix, *(f"{mean} [{low}, {high}]" for mean, low, high in cells))
    yield ""


def search() -> Iterator[str]:
    """Recall and milliseconds of a search, by method and kind of weights; and what was built: docs/performance.md."""
    table = pl.read_csv(HERE / "search.csv")
    kinds = table["weights"].unique(maintain_order=True)
    methods = ("index", "index half", "index exact", "numpy", "pq", "usearch", "usearch 512", "faiss 64")
    for count in table["rows"].unique(maintain_order=True):
        yield from _lines(f"{count:,} items", *kinds, "built in", "memory to build, to search", "disk")
        for method in methods:
            rows = table.filter(rows=count, method=method).rows_by_key("weights", named=True, unique=True)
            if rows:
                first = rows[kinds[0]]
                cells = (f"{rows[kind]['recall']:.2f}, {_digits(rows[kind]['ms'])} ms" for kind in kinds)
                built = f"{first['build_s']:.0f} s" if first["build_s"] is not None else ""
                memory = f"{first['build_mb']:,}, {first['search_mb']:,} MB" if built else f"{first['search_mb']:,} MB"
                yield _line(method, *cells, built, memory, f"{first['disk_mb']:,} MB" if built else "")
        yield ""


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "noise": noise,
    "merged": merged,
    "long": long,
    "most": most,
    "copies": copies,
    "trust": trust,
    "functions": functions,
    "doubts": doubts,
    "continuous": continuous,
    "mixes": mixes,
    "search": search,
}


def _noisy(*tables: str) -> pl.DataFrame:
    """Some of the tables of noise.csv."""
    return _whole(pl.read_csv(HERE / "noise.csv").filter(pl.col("table").is_in(tables)))


def _whole(table: pl.DataFrame) -> pl.DataFrame:
    """The lines of those seeds that have as many as any has: what goes on is not shown in parts."""
    count = pl.len().over("seed")
    return table.filter(count == count.max())


def _of(rows: pl.DataFrame, method: str, column: str) -> np.ndarray:
    return rows.filter(method=method).sort("seed")[column].cast(pl.Float64).to_numpy()


def _change(rows: pl.DataFrame, one: str, other: str, column: str) -> np.ndarray:
    """The second method minus the first, over the seeds that both have."""
    both = rows.filter(method=one).join(rows.filter(method=other), on="seed", suffix="_other").sort("seed")
    return (both[f"{column}_other"] - both[column]).to_numpy()


def _changes(one: pl.DataFrame, other: pl.DataFrame, columns: Sequence[str]) -> Iterator[str]:
    """The second minus the first, over the seeds that both have, and how many these are."""
    rows = pl.concat([one.with_columns(method=pl.lit("one")), other.with_columns(method=pl.lit("other"))])
    changes = [_change(rows, "one", "other", each) for each in columns]
    yield from (_mean(each, signed=True) for each in changes)
    yield str(len(changes[0]))


def _mean(values: np.ndarray, unit: str = "", *, digits: int = 1, signed: bool = False) -> str:
    """The mean and half of its interval; of one seed, the value alone."""
    if not len(values):
        return "–"
    mean = f"{values.mean():{'+' if signed else ''}.{digits}f}".replace("-", "−")
    if len(values) < 2:
        return mean + unit
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{mean} ± {half:.{digits}f}{unit}"


def _percent(share: str) -> str:
    return f"{share.split()[-1]}%"


def _digits(value: float) -> str:
    """Two of them."""
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _lines(*heads: str) -> Sequence[str]:
    return _line(*heads), _line(*("---" for _ in heads))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    for wanted in sys.argv[1:] or TABLES:
        print("\n".join(TABLES[wanted]()))

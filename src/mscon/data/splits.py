"""Which rows train, validate and test: as a column says, or made so that near-duplicates stay together."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from mscon.data.catalog import Catalog
from mscon.data.cells import as_text
from mscon.data.deal import deal_rows
from mscon.data.labels import LabelColumn, infer_kind
from mscon.errors import UserError

NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
PARTS = ("train", "val", "test")
GROUP_NAMES = ("group", "group_id")
# A number to stratify by is cut into so many bins of equally many rows.
BINS = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Split:
    """The catalog's rows, each in exactly one of three: int64 indices in ascending order."""

    train: Int64[np.ndarray, " train"]
    val: Int64[np.ndarray, " val"]
    test: Int64[np.ndarray, " test"]

    @property
    def names(self) -> pl.Series:
        """Each row's part as a word, in a series called `split`."""
        parts = np.empty(len(self.train) + len(self.val) + len(self.test), dtype=np.int64)
        for number, name in enumerate(PARTS):
            parts[getattr(self, name)] = number
        return pl.Series("split", PARTS, dtype=pl.String)[parts]


def read_split(
    catalog: Catalog,
    *,
    column: str | None = None,
    group: str | None = None,
    stratify: str | Sequence[str] | None = None,
    seed: int = 0,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
) -> Split:
    """The split that a column names, or a new one in which no group straddles and every stratum keeps its share.

    A new split deals out whole groups in random order, those of the rarest stratum first, each to the part that still
    lacks most of that stratum; very large groups go before the others. With one stratify column and no groups, each
    part's count of a stratum is within one row of its share, so a stratum of at least 1 / min(`fractions`) rows is in
    every part. Rarer strata of a column are dealt as one. But for a sort, the work grows linearly with the rows.

    **Arguments:**

    - `column`: holds each row's part: `train` (also `training`), `val` (`valid`, `validation`, `dev`) or `test`
      (`testing`), in any case. Left out, a column named `split` is used where there is one. Such a split is taken as
      it is, groups or not; without validation rows in it, they are cut from the training rows, and the log says so.
    - `group`: near-duplicates that share a value here stay together; see `group_codes`.
    - `stratify`: one or more columns whose values should be as frequent in each part as in all. A missing value
      counts as a value; numbers are cut into ten bins of equal frequency.
    - `seed`: the same seed gives the same split of the same catalog.
    - `fractions`: shares of the rows for train, val and test; positive, with sum 1.

    **Raises:**

    - `UserError`: a column is missing; the split column has another name in it, an empty cell, or no train or no test
      rows; the fractions are not shares; there are fewer groups than parts.

    **Source:** Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data", 2011: the rarest label
    first.
    """
    if not (len(fractions) == 3 and min(fractions) > 0 and math.isclose(sum(fractions), 1, abs_tol=1e-6)):
        raise UserError(f"The split's fractions {fractions} should be three positive numbers with sum 1.")
    codes = group_codes(catalog, group)
    groups = np.arange(len(catalog)) if codes is None else codes
    strata = [_strata(catalog, name) for name in ([stratify] if isinstance(stratify, str) else stratify or [])]
    column = _split_column(catalog, column)
    if column is None:
        parts = _deal(groups, strata, np.array(fractions), seed, catalog.source)
        return Split(*(np.flatnonzero(parts == part) for part in range(3)))
    split = _read_column(catalog, column)
    if len(split.val):
        return split
    rows = split.train
    shares = np.array(fractions[:2]) / sum(fractions[:2])
    where = f"{catalog.source} has no validation rows in column {column!r}, and its training rows"
    parts = _deal(groups[rows], [stratum[rows] for stratum in strata], shares, seed, where)
    logger.warning("%s have been cut: %d train, %d val.", where, (parts == 0).sum(), (parts == 1).sum())
    return Split(rows[parts == 0], rows[parts == 1], split.test)


def moved_rows(catalog: Catalog, split: Split, column: str | None = None) -> int:
    """How many rows a split column now puts elsewhere than `split` has them; 0 without such a column.

    A column without validation rows, which had them cut from its training rows, agrees with any such cut.
    """
    column = _split_column(catalog, column)
    if column is None or column not in catalog.table.columns:
        return 0
    text = as_text(catalog.column(column)).str.strip_chars().str.to_lowercase()
    named = text.replace_strict(NAMES, default="").fill_null("")
    wanted = {part: ("val", "train") if part == "val" and not (named == "val").any() else (part,) for part in PARTS}
    return sum(int((~named.gather(getattr(split, part)).is_in(wanted[part])).sum()) for part in PARTS)


def group_codes(catalog: Catalog, column: str | None = None) -> Int64[np.ndarray, " n"] | None:
    """One code per row, from 0 on without gaps, equal within a group; a row whose group is missing is one of its own.

    Where `column` is left out, it is `group` or `group_id` if there is one; if there is none, the answer is None.

    **Raises:**

    - `UserError`: the column is missing, or holds lists, structs or bytes.
    """
    if column is None:
        column = next((name for name in GROUP_NAMES if name in catalog.table.columns), None)
    if column is None:
        return None
    codes = _codes(as_text(catalog.column(column)))
    alone = codes < 0
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(alone.sum())
    return codes


def _split_column(catalog: Catalog, column: str | None) -> str | None:
    return "split" if column is None and "split" in catalog.table.columns else column


def _codes(text: pl.Series) -> Int64[np.ndarray, " n"]:
    """Places of texts among the distinct ones in order; −1 for null."""
    return (text.rank("dense").cast(pl.Int64) - 1).fill_null(-1).to_numpy(writable=True)


def _strata(catalog: Catalog, name: str) -> Int64[np.ndarray, " n"]:
    values = catalog.column(name)
    if infer_kind(values) != "continuous":
        return _codes(as_text(values)) + 1
    numbers = LabelColumn(name, "continuous").encode(values)
    known = ~np.isnan(numbers)
    edges = np.quantile(numbers[known], np.arange(1, BINS) / BINS) if known.any() else []
    return np.where(known, np.searchsorted(edges, numbers, side="right") + 1, 0)


def _read_column(catalog: Catalog, column: str) -> Split:
    text = as_text(catalog.column(column))
    where = f"Column {column!r} of {catalog.source}"
    if text.null_count():
        row = text.is_null().arg_true()[0]
        raise UserError(
            f"{where} is empty in {text.null_count()} rows, the first of them row {row} (from 0): give each row"
            " a split."
        )
    counts = dict(text.value_counts(sort=True).iter_rows())
    found = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:10])
    unknown = [name for name in counts if name.strip().lower() not in NAMES]
    if unknown:
        raise UserError(
            f"{where} names splits that are not known: {', '.join(map(repr, unknown[:10]))}. It holds {found}. "
            "Names are train, val (valid, validation, dev) and test."
        )
    names = text.replace_strict({name: NAMES[name.strip().lower()] for name in counts})
    split = Split(*(names.eq(name).arg_true().cast(pl.Int64).to_numpy(writable=True) for name in PARTS))
    for name, rows in (("train", split.train), ("test", split.test)):
        if len(rows) == 0:
            raise UserError(
                f"{where} has no {name} rows: it holds {found}. Name some, or rename the column to have a split made."
            )
    return split


def _deal(
    groups: Int64[np.ndarray, " n"],
    strata: list[Int64[np.ndarray, " n"]],
    shares: Float64[np.ndarray, " parts"],
    seed: int,
    where: str,
) -> Int64[np.ndarray, " n"]:
    """The part of each row. The rows as a whole are one more stratum: the one that settles ties."""
    _, groups = np.unique(groups, return_inverse=True)
    count = groups.max(initial=-1) + 1
    if count < len(shares):
        raise UserError(
            f"{where} can't be divided: {len(groups)} rows don't make {len(shares)} parts, their groups being {count}."
        )
    least = shares.min()
    if np.array_equal(groups, np.arange(len(groups))):
        parts = deal_rows([_pool_rare(codes, least) for codes in strata], shares, seed, len(groups))
        _fill_empty(parts, np.ones(len(groups), dtype=np.int64), len(shares))
        return parts
    owner, stratum, rows = _entries(groups, [*(_pool_rare(codes, least) for codes in strata), np.zeros_like(groups)])
    totals = np.bincount(stratum, weights=rows)
    # A group's rarest stratum comes first among its entries, and all rows come last.
    order = np.lexsort((stratum, totals[stratum], owner))
    stratum, rows = stratum[order], rows[order]
    starts = np.searchsorted(owner[order], np.arange(count + 1))
    rarest, weight = stratum[starts[:-1]], rows[starts[:-1]]
    # A group larger than the smallest part would overfill it if it came late.
    bulk = np.where(weight > least * totals[rarest], weight, 0)
    chance = np.random.default_rng(seed).permutation(count)
    queue = np.lexsort((chance, -bulk, rarest, totals[rarest]))
    parts = _greedy(queue, starts, stratum, rows, totals[:, None] * shares)
    _fill_empty(parts, np.bincount(groups), len(shares))
    return parts[groups]


def _pool_rare(codes: Int64[np.ndarray, " n"], least: float) -> Int64[np.ndarray, " n"]:
    """Joins strata too rare to give the smallest part a row: apart, they would all go to the largest part."""
    counts = np.bincount(codes)
    return np.where(counts[codes] * least < 1 - 1e-9, len(counts), codes)


def _entries(
    groups: Int64[np.ndarray, " n"], strata: list[Int64[np.ndarray, " n"]]
) -> tuple[Int64[np.ndarray, " entries"], Int64[np.ndarray, " entries"], Int64[np.ndarray, " entries"]]:
    """Which group holds how many rows of which stratum: groups, strata (numbered on over the columns), row counts."""
    numbered, first = [], 0
    for codes in strata:
        values, dense = np.unique(codes, return_inverse=True)
        numbered.append(dense + first)
        first += len(values)
    keys, rows = np.unique(np.concatenate([groups * first + codes for codes in numbered]), return_counts=True)
    owner, stratum = np.divmod(keys, first)
    return owner, stratum, rows


def _greedy(
    queue: Int64[np.ndarray, " groups"],
    starts: Int64[np.ndarray, " groups+1"],
    stratum: Int64[np.ndarray, " entries"],
    rows: Int64[np.ndarray, " entries"],
    wanted: Float64[np.ndarray, "strata parts"],
) -> Int64[np.ndarray, " groups"]:
    """Gives each group of the queue to the part that lacks most of its first stratum, among equals most of its last."""
    parts = [0] * len(queue)
    # Plain lists: a million groups take about two seconds, and reading numpy arrays number by number is far slower.
    begin, strata, counts, lacks = starts.tolist(), stratum.tolist(), rows.tolist(), wanted.tolist()
    for group in queue.tolist():
        first, end = begin[group], begin[group + 1]
        scores = list(zip(lacks[strata[first]], lacks[strata[end - 1]], strict=True))
        parts[group] = part = scores.index(max(scores))
        for entry in range(first, end):
            lacks[strata[entry]][part] -= counts[entry]
    return np.array(parts, dtype=np.int64)


def _fill_empty(parts: Int64[np.ndarray, " groups"], sizes: Int64[np.ndarray, " groups"], count: int) -> None:
    """Gives each empty part the smallest group of the part that has most groups."""
    for part in range(count):
        if not (parts == part).any():
            donors = np.flatnonzero(parts == np.bincount(parts).argmax())
            parts[donors[sizes[donors].argmin()]] = part

"""From a recipe to arrays: the catalog's labels as codes, its split, and its pixels, row for row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from mscon.data.batches import Batches
from mscon.data.cache import Pixels, load_pixels, streamed_pixels
from mscon.data.catalog import Catalog
from mscon.data.changes import changed_items, changed_labels
from mscon.data.information import labelled
from mscon.data.items import Items
from mscon.data.labels import LabelColumn, read_label
from mscon.data.pair_batches import PairBatches
from mscon.data.pairs import PairTable, read_pairs, training_pairs
from mscon.data.splits import PARTS, Split, group_codes, read_split
from mscon.data.streamed import StreamedImages
from mscon.data.window_batches import WindowBatches, check_sampler
from mscon.errors import UserError
from mscon.recipe import Recipe
from mscon.settings import SimilaritySettings

AnyBatches = Batches | PairBatches | WindowBatches

MOST_LOOKED_THROUGH = 100_000
"""Images of a catalog that is decoded for a look at a few of them."""


@dataclass(frozen=True)
class Prepared:
    """A catalog made ready; every array and every row number counts the readable images only, in the catalog's order.
    Without a cache of decoded images nobody knows yet which are readable, and all rows count.

    - `catalog`: the rows whose image could be read.
    - `pixels`: their images, uint8 (N, size, size, 3), and what had to be skipped, of a run by its place among the
      run's items; without a cache, see `readable`.
    - `labels`: name → how the label is read.
    - `values`: name → one code (−1 missing) or number (NaN missing) per row.
    - `pairs`: name → the table of pairs of a similarity that is given by one, in row numbers, over all splits.
    - `split`: row numbers of train, val and test.
    - `groups`: near-duplicate group of each row, when the catalog names groups.
    - `items`: what the items are known by, and their parts: all of them, unreadable and absent ones, too; None of
      what is only looked at.
    - `places`: which of `items` each row is.
    - `notes`: what has changed in the catalog since the items or labels that were given were read from it.
    """

    catalog: Catalog
    pixels: Pixels
    labels: dict[str, LabelColumn]
    values: dict[str, np.ndarray]
    pairs: dict[str, PairTable]
    split: Split
    groups: np.ndarray | None
    items: Items | None
    places: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def unreadable(self) -> dict[int, str]:
        """Without a cache: the rows found so far whose image cannot be read, and why. With one they are no rows."""
        return self.pixels.array.broken if isinstance(self.pixels.array, StreamedImages) else {}

    def readable(self) -> "Prepared":
        """The same without a part and a label for the rows in `unreadable`, which keep their numbers.

        **Raises:** `UserError` where that leaves nothing of a part.
        """
        if not self.unreadable:
            return self
        rows = np.array(sorted(self.unreadable))
        values = {name: without(each, np.isin(np.arange(len(each)), rows)) for name, each in self.values.items()}
        split = Split(*(np.setdiff1d(getattr(self.split, part), rows) for part in PARTS))
        for part in PARTS:
            if len(getattr(self.split, part)) > len(getattr(split, part)) == 0:
                reason = self.unreadable[int(getattr(self.split, part)[0])]
                raise UserError(f"{self.catalog.source}: no image of the {part} rows can be read: {reason}")
        return replace(self, values=values, split=split)


def prepare(
    recipe: Recipe,
    *,
    labels: Mapping[str, LabelColumn] | None = None,
    items: Items | None = None,
    look: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Read the catalog that a recipe names, check all that is cheap to check, then decode its images (or find them
    decoded), unless the recipe does without a cache. What belongs to a run is prepared by `Run.prepare`, which gives
    the run's labels and items.

    **Arguments:**

    - `recipe`: names the catalog, its columns and the images' size.
    - `labels`: how the columns were read before, so that codes mean the same again; read from the catalog when left
      out.
    - `items`: a run's, to be found again in the catalog: they alone are taken, in their order and each in its part,
      whatever a split column says by now. Left out, all rows are, and the split is the catalog's or a new one.
    - `look`: for a look at labels and a few images: more than `MOST_LOOKED_THROUGH` images are not decoded for it.
    - `progress`: called with images done and images in all.

    **Raises:** `UserError` for whatever in the catalog keeps it from being used.
    """
    whole = Catalog.read(recipe.catalog.source, image=recipe.catalog.image)
    unread = not recipe.image.cache
    found = None if items is None else items.find(whole, id=recipe.catalog.id, unread=unread)
    catalog = whole if found is None else whole.take(found.rows)
    columns = dict(labels) if labels is not None else _read_labels(catalog, recipe)
    values = {name: column.read(catalog) for name, column in columns.items()}
    tables = {name: each for name, each in recipe.similarities.items() if recipe.kind(name) == "pairs"}
    pairs = {name: _read_pairs(each, whole, recipe) for name, each in tables.items()}
    split = _read_split(catalog, recipe, columns) if found is None else found.split
    groups = group_codes(catalog, recipe.catalog.group)
    pixels = _pixels(catalog, recipe, look, progress)
    kept = pixels.rows
    if found is not None:
        skipped = tuple(replace(each, row=int(found.places[each.row])) for each in pixels.skipped)
        pixels = replace(pixels, skipped=skipped)
    kept_split = Split(*(_renumber(rows, kept) for rows in (split.train, split.val, split.test)))
    if empty := [part for part in PARTS if len(getattr(kept_split, part)) == 0]:
        reason = next((each.reason for each in pixels.skipped), "there are no such rows")
        raise UserError(f"{catalog.source}: no image of the {empty[0]} rows can be read: {reason}")
    notes = [] if found is None else list(changed_items(catalog, found, recipe.catalog.split))
    if labels is not None:
        notes += [note for name, each in values.items() for note in changed_labels(columns[name], catalog, each)]
    values = {name: each[kept] for name, each in values.items()}
    if labels is None:
        trained = {name: values[name][kept_split.train] for name in recipe.labelled}
        columns |= {name: _learned(columns[name], each, catalog.source) for name, each in trained.items()}
    return Prepared(
        catalog=catalog if len(kept) == len(catalog) else catalog.take(kept),
        pixels=pixels,
        labels=columns,
        values=values,
        pairs={name: each.at(kept if found is None else found.rows[kept]) for name, each in pairs.items()},
        split=kept_split,
        groups=None if groups is None else groups[kept],
        items=items if items is not None or look else Items.of(catalog, split, id=recipe.catalog.id, unread=unread),
        places=kept if found is None else found.places[kept],
        notes=tuple(notes),
    )


def by_row_groups(recipe: Recipe, data: Prepared) -> bool:
    """Whether a training reads images from Parquet files as batches need them, which no sampler can bring together."""
    return data.catalog.stored is not None and not recipe.image.cache


def training_batches(recipe: Recipe, data: Prepared, *, rank: int = 0, world_size: int = 1) -> AnyBatches:
    """The training split's batches, or process `rank`'s part of each when there are `world_size` of them.

    **Raises** `UserError` for a batch larger than what there is to train on, one that cannot be shared out equally, and
    more processes than a share of the batch or of the held-out items goes round.
    """
    settings = recipe.training
    items = len(_drawn_from(recipe, data))
    if settings.batch_size > items and (most := largest_batch(recipe, data) // world_size * world_size) > 1:
        raise UserError(
            f"{data.catalog.source}: training.batch_size: a batch of {settings.batch_size:,} needs as many items, but"
            f" there are {items:,} to draw it from. Lower it: -s training.batch_size={most}."
        )
    rows = torch.from_numpy(data.split.train)
    share: dict[str, Any] = {"rank": rank, "world_size": world_size}
    batches: AnyBatches
    if isinstance(data.pixels.array, StreamedImages) and by_row_groups(recipe, data):
        check_sampler(recipe.sampler, data.catalog.source)
        batches = window_batches(recipe, data, data.split.train, settings.batch_size, seed=settings.seed, **share)
    elif recipe.sampler == "random":
        batches = Batches(rows, settings.batch_size, settings.seed, **share)
    elif recipe.sampler in data.pairs:
        pairs = training_pairs(data.pairs[recipe.sampler], data.split)
        batches = PairBatches(
            rows,
            settings.batch_size,
            settings.seed,
            edges=torch.from_numpy(pairs.edges),
            strength=torch.from_numpy(pairs.strength),
            apart=torch.from_numpy(pairs.apart),
            per_cluster=settings.per_class,
            **share,
        )
    else:
        if (label := data.labels[recipe.sampler]).kind == "continuous":
            raise UserError(f"training.sampler: {label.name!r} holds numbers, of which no batch has several alike")
        codes = torch.from_numpy(data.values[recipe.sampler])[rows]
        batches = Batches(rows, settings.batch_size, settings.seed, codes=codes, per_class=settings.per_class, **share)
    if len(data.split.val) < world_size:
        raise UserError(f"{len(data.split.val)} held-out items cannot be shared by {world_size} processes: start fewer")
    try:
        recipe.check_batch_statistics(world_size)
    except ValueError as error:
        raise UserError(f"with {world_size} processes {error}") from None
    return batches


def window_batches(
    recipe: Recipe, data: Prepared, rows: np.ndarray, size: int, *, seed: int, rank: int = 0, world_size: int = 1
) -> WindowBatches:
    """Batches of some rows of a catalog whose images stay in their Parquet files, row group by row group."""
    assert data.catalog.stored is not None
    pieces = data.catalog.stored.pieces[rows]
    return WindowBatches(torch.from_numpy(rows), size, seed, pieces, recipe.image.open, rank, world_size)


def largest_batch(recipe: Recipe, data: Prepared) -> int:
    """The items of the largest batch that can be drawn for training."""
    rows, per_class = _drawn_from(recipe, data), recipe.training.per_class
    if recipe.sampler not in data.labels:
        return len(rows)
    return min(len(rows) // per_class, len(np.unique(data.values[recipe.sampler][rows]))) * per_class


def without(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Codes or numbers of a label, missing in these rows, which a mask tells."""
    return np.where(rows, np.nan if values.dtype.kind == "f" else -1, values)


def _drawn_from(recipe: Recipe, data: Prepared) -> np.ndarray:
    """The training items, or those of them that the sampler's label knows."""
    rows = data.split.train
    return rows[labelled(data.values[recipe.sampler][rows])] if recipe.sampler in data.labels else rows


def _pixels(catalog: Catalog, recipe: Recipe, look: bool, progress: Callable[[int, int], None] | None) -> Pixels:
    size, fit = recipe.image.size, recipe.image.fit
    if (look and len(catalog) > MOST_LOOKED_THROUGH) or not recipe.image.cache:
        if catalog.stored is not None and not look:
            catalog.stored.check_groups(catalog.source)
        return streamed_pixels(catalog, size=size, fit=fit, open=2 if look else recipe.image.open)
    tolerance, id = recipe.image.tolerance, recipe.catalog.id
    return load_pixels(catalog, size=size, fit=fit, tolerance=tolerance, id=id, progress=progress)


def _read_labels(catalog: Catalog, recipe: Recipe) -> dict[str, LabelColumn]:
    """How each trained and each out-of-domain label is read. **Raises** `UserError` for a column that cannot be
    used.
    """
    labels = {name: _read_trained(catalog, name, recipe) for name in recipe.labelled}
    return labels | {name: read_label(catalog, name) for name in recipe.catalog.ood}


def _read_trained(catalog: Catalog, name: str, recipe: Recipe) -> LabelColumn:
    similarity, kind = recipe.similarities[name], recipe.kind(name)
    columns = similarity.levels or similarity.joint or ((similarity.column,) if similarity.column else ())
    read_as = "continuous" if kind == "rank_n_contrast" else kind
    options: dict[str, Any] = {"separator": similarity.separator, "period": similarity.period}
    label = read_label(catalog, name, read_as, columns=columns, **options)
    try:
        similarity.check_options(name, kind or label.kind)
    except ValueError as error:
        others = similarity.fitting_kinds() if kind is None else ()
        hint = f". The column is read as {label.kind}; say its kind: --similarity {name}:{others[0]}" if others else ""
        raise UserError(f"{error}{hint}") from None
    depth, weights = len(similarity.levels or ()) or max(map(len, label.members), default=0), similarity.level_weights
    if weights is not None and len(weights) != depth:
        raise UserError(
            f"similarities.{name}.level_weights: {len(weights)} for paths of up to {depth} levels. Give one weight for"
            f" each level, from coarse to fine, such as {[1.0] * depth}."
        )
    return label


def _learned(label: LabelColumn, values: np.ndarray, source: str) -> LabelColumn:
    """A label as the training items' `values` have it. **Raises** `UserError` where these say nothing."""
    known = values[labelled(values)]
    if len(known) == 0:
        raise UserError(f"{label.name!r} of {source} is empty in all rows that are trained on.")
    if np.ptp(known) == 0:
        raise UserError(
            f"{label.name!r} of {source} is the same in all rows that are trained on: there is nothing to"
            " learn from it. Divide the rows otherwise (catalog.split), or leave it out."
        )
    return label.of_training(values) if label.kind == "continuous" else label


def _read_pairs(similarity: SimilaritySettings, catalog: Catalog, recipe: Recipe) -> PairTable:
    return read_pairs(
        similarity.edges,
        catalog,
        id=recipe.catalog.id,
        first=similarity.first,
        second=similarity.second,
        strength=similarity.strength,
    )


def _read_split(catalog: Catalog, recipe: Recipe, columns: Mapping[str, LabelColumn]) -> Split:
    return read_split(
        catalog,
        column=recipe.catalog.split,
        group=recipe.catalog.group,
        stratify=_strata(columns),
        seed=recipe.training.seed,
    )


def _strata(columns: Mapping[str, LabelColumn]) -> Sequence[str]:
    plain = [column for column in columns.values() if column.kind == "categorical"]
    return sorted({each for column in plain for each in column.columns or (column.name,)})  # in whatever order named


def _renumber(rows: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Catalog rows as positions among the kept ones; the skipped are dropped."""
    places = np.searchsorted(kept, rows)
    present = (places < len(kept)) & (kept[np.minimum(places, len(kept) - 1)] == rows)
    return places[present]

"""A run: the folder of one training, and what is written there."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mscon.data.items import Items
from mscon.data.labels import LabelColumn
from mscon.errors import UserError, nearest
from mscon.files import cache_folder, digest, make_folder, remove_drafts, write_text
from mscon.hub import CONFIG
from mscon.model import MSConModel
from mscon.parsing import parse_json
from mscon.prepare import Prepared, prepare
from mscon.recipe import Recipe
from mscon.schemas import check_record

OF_TRAINING = (
    *("recipe.toml", "labels.json", "split.parquet", "trained_on.parquet", "skipped.json"),
    *("metrics.jsonl", "model.safetensors"),
)
"""The files that a training writes whole, its checkpoints apart."""


@dataclass(frozen=True)
class Run:
    """The folder of one training: `recipe.toml  labels.json  split.parquet  model.safetensors  metrics.jsonl  …`."""

    folder: Path
    recipe: Recipe
    labels: dict[str, LabelColumn]

    @classmethod
    def create(
        cls, folder: Path, recipe: Recipe, labels: Mapping[str, LabelColumn], items: Items | None = None
    ) -> "Run":
        """Start a run in a folder that is empty or not there, which keeps how its labels are read and what part each of
        its items is in. **Raises** `UserError` when it holds a run already.
        """
        check_no_run(folder)
        make_folder(folder)
        run = cls(folder, recipe, dict(labels))
        run.write_json("labels.json", {name: asdict(column) for name, column in labels.items()})
        if items is not None:
            items.write(run.split_path)
        write_text(folder / "recipe.toml", recipe.to_toml())
        return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """A run that is there. **Raises** `UserError` when the folder is no run or its files cannot be read."""
        if not (folder / "recipe.toml").exists():
            meant = nearest(folder.name, (each.parent.name for each in folder.parent.glob("*/recipe.toml")))
            raise UserError(f"{folder} is not a run: it has no recipe.toml.{meant} Name a folder made by `mscon train`")
        _check_files(folder)
        recipe = Recipe.read(folder / "recipe.toml")
        path = folder / "labels.json"
        try:
            described = parse_json(path.read_text(encoding="utf-8"))
            labels = {name: LabelColumn.of_json(each) for name, each in described.items()}
            # Of labels that are only probed a published folder says nothing.
            if absent := sorted(set(recipe.labelled) - set(labels)):
                raise ValueError(f"{absent[0]!r}, which the recipe trains on, is not among them")
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(f"{path}: not the labels of a run: {error}") from None
        return cls(folder, recipe, labels)

    def check_recipe(self, recipe: Recipe) -> None:
        """**Raises** `UserError` that says what differs, if this run was started with another recipe. The order of its
        similarities is no difference.
        """
        is_, was = (set(each.similarities) for each in (recipe, self.recipe))
        differ = [f"the similarity {name} is new" for name in recipe.similarities if name not in was]
        differ += [f"the similarity {name} is gone" for name in self.recipe.similarities if name not in is_]
        if not differ:
            ours, theirs = flat(recipe.model_dump(mode="json")), flat(self.recipe.model_dump(mode="json"))
            changed = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
            differ = [f"{key} was {theirs.get(key)!r}, is {ours.get(key)!r}" for key in changed]
        if differ:
            raise UserError(
                f"{self.folder}: the run was started with another recipe ({'; '.join(differ)}). Start a new run for it"
            )

    def prepare(self, *, progress: Callable[[int, int], None] | None = None) -> Prepared:
        """The run's catalog made ready as it was for training: the run's own items, each in the part that it was in,
        and labels read as they were. **Raises** `UserError` as `mscon.prepare.prepare` does.
        """
        return prepare(self.recipe, labels=self.labels, items=self.items(), progress=progress)

    def items(self) -> Items | None:
        """The items and their parts; None for a run that was begun before these were kept. **Raises** `UserError` for
        a file that cannot be read.
        """
        return Items.read(self.split_path) if self.split_path.exists() else None

    @property
    def published(self) -> bool:
        """Whether it is a folder to be published (`mscon export --format hub`), into which nothing is written."""
        return (self.folder / CONFIG).exists()

    @property
    def kept(self) -> Path:
        """The folder of what is kept to be faster the next time: the run's own, or one in the cache where that is to be
        published, and all that is in it.
        """
        return cache_folder() / "published" / digest(self.model_path)[:16] if self.published else self.folder

    def check_whole(self) -> None:
        """**Raises** `UserError` for a published folder, which has no items and must not be told of any."""
        if self.published:
            raise UserError(f"{self.folder} is a published model, without the items that it learned from: name its run")

    @property
    def split_path(self) -> Path:
        """What part each item is in."""
        return self.folder / "split.parquet"

    @property
    def model_path(self) -> Path:
        """The weights that the run keeps."""
        return self.folder / "model.safetensors"

    @property
    def checkpoints(self) -> Path:
        """The folder that training resumes from."""
        return self.folder / "checkpoints"

    def model(self) -> MSConModel:
        """The trained model, in evaluation mode. **Raises** `UserError` before the first validation has kept one."""
        return MSConModel.load(self.model_path)

    def write_json(self, name: str, content: Any) -> None:
        """One of the run's JSON files, whole or not at all."""
        write_text(self.folder / name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def remove_drafts(self) -> None:
        """Remove what killed trainings have left half-written, while none is at work."""
        for name in OF_TRAINING:
            remove_drafts(self.folder / name)
        for left in self.checkpoints.glob("*.partial"):
            left.unlink(missing_ok=True)

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl. **Raises** `UserError` when the disk refuses."""
        line = json.dumps(record, allow_nan=False) + "\n"
        try:
            with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise UserError(f"{self.folder}: metrics.jsonl could not be written: {error.strerror}") from error

    def metrics(self) -> Iterator[dict[str, Any]]:
        """The lines of metrics.jsonl in order; a last line that was cut off is left out.

        **Raises:** `UserError` for any other line that no training has written.
        """
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        for number, line in enumerate(lines, start=1):
            try:
                record = check_record(parse_json(line))
            except ValueError as error:
                if number == len(lines) and isinstance(error, json.JSONDecodeError):
                    return
                raise UserError(
                    f"{path}, line {number}: nothing that a training logs ({error}). Take the line out, or move the"
                    " file away to go without it"
                ) from None
            yield record

    def cut_metrics(self, step: int) -> None:
        """Drop what was logged after `step`: a resumed training logs it again."""
        kept = [json.dumps(record) + "\n" for record in self.metrics() if record["step"] <= step]
        write_text(self.folder / "metrics.jsonl", "".join(kept))


def _check_files(folder: Path) -> None:
    """**Raises** `UserError` for what would be waited for without end when it is read."""
    for path in (*folder.iterdir(), *folder.glob("checkpoints/*")):
        if path.is_fifo() or path.is_char_device():
            raise UserError(f"{path} is no file but a pipe or a device: remove it")


def check_no_run(folder: Path) -> None:
    """**Raises** `UserError` for a folder that holds a run."""
    if (folder / "recipe.toml").exists():
        raise UserError(f"{folder} holds a run already: go on with --resume, or choose another folder with --out")


def flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables with dotted keys, as `--set` has them; an empty table leaves no key."""
    found: dict[str, Any] = {}
    for key, value in tables.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found

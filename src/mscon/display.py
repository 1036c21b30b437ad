"""What a training looks like in a terminal: progress, speed, time left, and every similarity's loss, excess and
weight.
"""

from time import perf_counter
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from mscon.checkpoint import Position
from mscon.evaluate.notes import print_notes
from mscon.inspection import column_facts, part_warnings
from mscon.prepare import Prepared
from mscon.run import Run


class TerminalDisplay:
    """A live table on a terminal; one line per validation where the output is no terminal, as in a log file.

    Use it as a context manager, so that the terminal is given back whatever happens.
    """

    def __init__(self, console: Console):
        self.console = console
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}")
        )
        self.live = Live(self.bar, console=console, refresh_per_second=4, transient=True)
        self.task = self.bar.add_task("decoding images", total=None, note="")
        self.train: dict[str, Any] = {}
        self.val: dict[str, Any] = {}
        self.at, self.steps, self.began = 0, 0, perf_counter()

    def __enter__(self) -> "TerminalDisplay":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def decoding(self, done: int, total: int) -> None:
        """Images decoded so far."""
        self.bar.update(self.task, completed=done, total=total)

    def started(self, run: Run, data: Prepared, position: Position, steps: int) -> None:
        """Say what is trained on what, then turn the bar from images to steps."""
        split = data.split
        self.console.print(Text(str(run.folder), style="bold"), soft_wrap=True)
        self.console.print(
            f"{len(split.train):,} items to train on, {len(split.val):,} to validate, {len(split.test):,} to test;"
            f" {run.recipe.model.backbone} at {run.recipe.image.size} px",
            highlight=False,
        )
        if data.pixels.skipped:
            self.console.print(
                f"[yellow]{len(data.pixels.skipped)} images could not be read: see skipped.json[/yellow]"
            )
        columns = [column_facts(name, run.recipe, data) for name in data.labels]
        print_notes([*data.notes, *part_warnings(columns)], self.console)
        if position.step:
            self.console.print(f"going on from step {position.step:,}", highlight=False)
        self.at, self.steps, self.began = position.step, steps, perf_counter()
        self.bar.update(self.task, description="training", total=steps, completed=position.step)

    def logged(self, record: dict[str, Any]) -> None:
        """Take up a line of metrics.jsonl."""
        if record["kind"] == "train":
            self.train = record
            self.bar.update(self.task, completed=record["step"], note=self._note(record))
        else:
            self.val = record
            if not self.console.is_terminal:
                self.console.print(self._line(record), highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.live.update(Group(self._table(), self.bar))

    def _note(self, record: dict[str, Any]) -> str:
        return f"epoch {record['epoch']:.1f}  {self._pace(record['images_per_second'], record['step'])}"

    def _pace(self, images_per_second: float, step: int) -> str:
        done = step - self.at
        left = (perf_counter() - self.began) / done * (self.steps - step) if done else 0.0
        return f"{images_per_second:,.0f} images/s  {_clock(left)} left"

    def _line(self, record: dict[str, Any]) -> str:
        parts = [
            f"{name} {_number(term['loss'])}"
            f" (relative excess {_number(term['relative_excess'])}, weight {_number(term['weight'])})"
            for name, term in record["terms"].items()
        ]
        note = f"  {self._pace(self.train['images_per_second'], record['step'])}" if self.train else ""
        left_out = [f"{count:,} of {name}" for name, count in record["doubted"].items() if count]
        doubted = f"  labels in doubt: {', '.join(left_out)}" if left_out else ""
        return f"epoch {record['epoch']:g}  held out: {'  '.join(parts)}{doubted}{note}"

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        held, doubted = self.val.get("terms", {}), self.val.get("doubted", {})
        titles = ["similarity", "loss", "floor", "relative excess", "held out", "weight"]
        for title in (*titles, "in doubt") if doubted else titles:
            table.add_column(title, justify="left" if title == "similarity" else "right")
        for name, term in self.train.get("terms", {}).items():
            numbers = [term["loss"], term["floor"], term["relative_excess"], held.get(name, {}).get("relative_excess")]
            in_doubt = [f"{doubted.get(name, 0):,}"] if doubted else []
            table.add_row(Text(name), *(_number(value) for value in (*numbers, term["weight"])), *in_doubt)
        return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:z.3f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

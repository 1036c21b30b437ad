"""What a training says of itself: metrics.jsonl, TensorBoard events and the display, all fed with the same records."""

from math import isnan
from time import perf_counter
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch.utils.tensorboard import SummaryWriter

from mscon.checkpoint import Position
from mscon.prepare import Prepared
from mscon.run import Run
from mscon.terms import MSConOutput, relative_excess

LOG_STEPS = 10
"""Steps between two lines of metrics.jsonl."""


@runtime_checkable
class Display(Protocol):
    """What watches a training; every method may do nothing."""

    def decoding(self, done: int, total: int) -> None:
        """Images decoded so far."""

    def started(self, run: Run, data: Prepared, position: Position, steps: int) -> None:
        """Training begins, or goes on, at this position."""

    def logged(self, record: dict[str, Any]) -> None:
        """One line of metrics.jsonl was written."""


class Log:
    """metrics.jsonl, TensorBoard events and the display, fed with the same records.

    Of several processes that train together, one `writes`; the others only keep time.
    """

    def __init__(self, run: Run, at: Position, *, items: int, display: Display | None, writes: bool = True):
        self.run, self.items, self.display = run, items, display
        self.board = SummaryWriter(str(run.folder / "tensorboard"), purge_step=at.step + 1) if writes else None
        self.terms, self.steps, self.total = TermMeans(), 0, 0.0  # since the last record
        if at.unlogged:
            self.terms.sums, self.terms.batches, self.steps, self.total = at.unlogged
        self.before, self.began = at.seconds, perf_counter()
        self.start = self.last = perf_counter()  # of the steps since the last record here, and of the step just taken
        self.timed = 0

    @property
    def unlogged(self) -> list[Any]:
        """The sums that the next record is made of, for a checkpoint: a training that goes on then logs what one that
        was never stopped does.
        """
        return [self.terms.sums, self.terms.batches, self.steps, self.total]

    @property
    def seconds(self) -> float:
        """Time spent on this run, resumed parts included."""
        return self.before + perf_counter() - self.began

    def step(self, at: Position, out: MSConOutput, *, rate: float, epochs: float, last: bool) -> None:
        """One training step was taken; every `LOG_STEPS` of them make a record, and so do those before the `last`."""
        self.terms.add(out)
        self.steps, self.timed = self.steps + 1, self.timed + 1
        self.total += float(out.total.detach())
        self.last = perf_counter()
        if last or at.step % LOG_STEPS == 0:
            record = {"kind": "train", "step": at.step, "epoch": epochs, "total": self.total / self.steps, "lr": rate}
            record |= {"images_per_second": self.timed * self.items / (self.last - self.start), "seconds": self.seconds}
            self._write(record | {"terms": self.terms.take()})
            self.start, self.timed, self.steps, self.total = self.last, 0, 0, 0.0

    def validated(
        self,
        at: Position,
        terms: dict[str, dict[str, float | None]],
        score: float | None,
        *,
        trust: dict[str, dict[str, float]],
        temperature: dict[str, float],
        doubted: dict[str, int],
    ) -> None:
        """The held-out items were looked at; `score` is the mean relative excess, None when there were no anchors,
        `trust` what the objective makes of it, `temperature` where each τ stands, and `doubted` how many labels are
        left out in training.
        """
        record = {"kind": "val", "step": at.step, "epoch": float(at.epoch), "total": score, "terms": terms}
        self._write(record | {"trust": trust, "temperature": temperature, "doubted": doubted})
        self.start += perf_counter() - self.last  # what came since the last step is no time of training

    def close(self) -> None:
        """Flush what is not on the disk yet."""
        if self.board:
            self.board.close()

    def _write(self, record: dict[str, Any]) -> None:
        if self.board is None:
            return
        self.run.append_metrics(record)
        for name, term in record["terms"].items():
            for key in ("loss", "excess", "relative_excess", "weight"):
                if term[key] is not None:
                    self.board.add_scalar(f"{record['kind']}/{key}/{name}", term[key], record["step"])
        if self.display:
            self.display.logged(record)


class TermMeans:
    """Terms of several batches as means over their anchors, weighted as these are; the relative excess as a ratio of
    those means.
    """

    MEANS = ("loss", "floor", "chance")
    KEYS = (*MEANS, "weight", "anchors", "mass")

    def __init__(self) -> None:
        self.sums: dict[str, dict[str, float]] = {}
        self.batches = 0

    def add(self, out: MSConOutput) -> None:
        """One more batch."""
        self.batches += 1
        # All numbers together: each that is asked for alone waits for the device anew.
        numbers = [getattr(term, key).detach().double() for term in out.terms.values() for key in self.KEYS]
        rows = cast("list[list[float]]", torch.stack(numbers).reshape(-1, len(self.KEYS)).tolist())  # pyright: ignore[reportUnknownMemberType]
        for name, row in zip(out.terms, rows, strict=True):
            found = dict(zip(self.KEYS, row, strict=True))
            sums = self.sums.setdefault(name, dict.fromkeys(self.KEYS, 0.0))
            for key, value in found.items():
                sums[key] += value * found["mass"] if key in self.MEANS else value

    def take(self) -> dict[str, dict[str, float | None]]:
        """The means so far, and a fresh start."""
        means = {name: self._mean(sums) for name, sums in self.sums.items()}
        self.sums, self.batches = {}, 0
        return means

    def _mean(self, sums: dict[str, float]) -> dict[str, float | None]:
        anchors = sums["anchors"]
        weight = sums["weight"] / self.batches
        if anchors == 0:
            return dict.fromkeys(("loss", "floor", "chance", "excess", "relative_excess")) | {
                "weight": weight,
                "anchors": 0,
            }
        loss, floor, chance = (sums[key] / sums["mass"] for key in self.MEANS)
        relative = float(relative_excess(*(torch.tensor(each, dtype=torch.float64) for each in (loss, floor, chance))))
        return {
            "loss": loss,
            "floor": floor,
            "chance": chance,
            "excess": loss - floor,
            "relative_excess": None if isnan(relative) else relative,
            "weight": weight,
            "anchors": anchors / self.batches,
        }

"""The log: what its numbers mean."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mscon import log
from mscon.checkpoint import Position
from mscon.data.labels import LabelColumn
from mscon.errors import UserError
from mscon.objective import MSConLoss
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.similarity import Categorical
from mscon.terms import MSConOutput


@pytest.fixture
def run(tiny: dict, tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", Recipe.of(tiny), {"a": LabelColumn("a", "categorical", ("x", "y"))})


def output(labels: list[int]) -> MSConOutput:
    z = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(0))
    return MSConLoss({"a": Categorical()})({"a": z}, {"a": torch.tensor(labels)})


def test_a_validation_between_two_records_is_no_time_of_training(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(log, "perf_counter", lambda: now[0])
    writing = log.Log(run, Position(epoch=0, batch=0, step=0), items=8, display=None)
    for step in range(1, 21):
        now[0] += 2.0
        writing.step(Position(epoch=0, batch=step, step=step), output([0, 0, 1, 1]), rate=0.1, epochs=0.1, last=False)
        if step == 17:
            now[0] += 100.0
            at, terms = Position(epoch=1, batch=0, step=step), writing.terms.take()
            writing.validated(at, terms, 0.5, trust={}, temperature={"a": 0.1}, doubted={})
    writing.close()
    rates = [record["images_per_second"] for record in run.metrics() if record["kind"] == "train"]
    assert rates == pytest.approx([4.0, 4.0])


def test_the_last_steps_make_a_record_too(run: Run) -> None:
    writing = log.Log(run, Position(epoch=0, batch=0, step=0), items=8, display=None)
    for step in range(1, 14):
        at = Position(epoch=0, batch=step, step=step)
        writing.step(at, output([0, 0, 1, 1] * (1 + step // 11)), rate=0.1, epochs=0.1, last=step == 13)
    writing.close()
    records = [(record["step"], record["terms"]["a"]["anchors"]) for record in run.metrics()]
    assert records == [(10, 4), (13, 8)]


def test_a_line_cut_off_at_the_end_is_left_out_and_one_among_others_is_told(run: Run) -> None:
    record = {"kind": "train", "step": 10, "epoch": 1.0, "total": 1.0, "lr": 0.1, "seconds": 1.0, "terms": {}}
    for step in (10, 20):
        run.append_metrics(record | {"step": step})
    path = run.folder / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole + whole[:20])
    assert [each["step"] for each in run.metrics()] == [10, 20]
    path.write_text(whole[:20] + "\n" + whole)
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 1: nothing that a training logs"):
        run.cut_metrics(15)
    assert path.read_text() == whole[:20] + "\n" + whole, "nothing is lost with it"


@pytest.mark.parametrize("rows", [100, 192, 1000])
def test_a_batch_of_one_class_has_no_relative_excess(rows: int) -> None:
    means = log.TermMeans()
    out = output([0] * rows)
    means.add(out)
    assert out.terms["a"].relative_excess.isnan()
    assert means.take()["a"]["relative_excess"] is None


class Transfers(TorchDispatchMode):
    """Counts how often a number is asked for, each time waiting for a device that is not the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_a_step_asks_the_device_once_however_many_similarities_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    names, plain, lists = [f"{number}" for number in range(7)], Tensor.tolist, Mock()
    monkeypatch.setattr(Tensor, "tolist", lambda tensor: (lists(), plain(tensor))[1])
    z = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    loss_fn = MSConLoss(dict.fromkeys(names, Categorical()))
    out = loss_fn(dict.fromkeys(names, z), dict.fromkeys(names, torch.arange(8) % 2))
    lists.reset_mock()
    means = log.TermMeans()
    with Transfers() as transfers:
        means.add(out)
    assert transfers.count + lists.call_count == 1
    for name, mean in means.take().items():
        term = out.terms[name]
        assert mean["loss"] == float(term.loss) * float(term.mass) / float(term.mass)
        assert (mean["weight"], mean["anchors"]) == (float(term.weight), float(term.anchors))

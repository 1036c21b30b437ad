"""Which engine serves which batch, and that the objective comes out the same."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor

from mscon.contrast import push
from mscon.contrast.push import takes_dense
from mscon.objective import MSConLoss
from mscon.similarity import Categorical, Continuous, Similarity
from mscon.terms import MSConOutput

with_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed here")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def step(
    engine: str, widths: dict[str, int], n: int = 90, kind: Callable[[], Similarity] = Categorical
) -> tuple[MSConOutput, list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    z = {name: torch.randn(n, d, generator=generator).to(DEVICE).requires_grad_() for name, d in widths.items()}
    labels = {name: torch.randint(-1, 4, (n,), generator=generator).to(DEVICE) for name in widths}
    if kind is Continuous:
        labels = {name: values.double() for name, values in labels.items()}
    temperature = dict(zip(widths, (0.1, 0.02, 0.3), strict=True))
    loss_fn = MSConLoss(dict.fromkeys(widths, kind()), temperature=temperature, engine=engine)  # pyright: ignore
    out = loss_fn(z, labels)
    out.total.backward()
    return out, [each.grad for each in z.values() if each.grad is not None]


@with_triton
def test_the_objective_is_the_same_through_the_kernels() -> None:
    widths = {"a": 16, "b": 16, "c": 40}
    (expected, gradients), (ours, our_gradients) = step("dense", widths), step("triton", widths)
    torch.testing.assert_close(ours.total, expected.total)
    for one, other in zip(our_gradients, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@with_triton
def test_what_the_kernels_do_not_take_says_what_does() -> None:
    with pytest.raises(ValueError, match="up to 256 columns, not 300: take engine='tiled'"):
        step("triton", {"a": 16, "b": 16, "c": 300})


@with_triton
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device for them here")
def test_without_a_device_for_them_the_kernels_are_refused() -> None:
    code = "import torch, mscon; mscon.supcon_loss(torch.randn(9, 4), torch.zeros(9).long(), engine='triton')"
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "engine 'triton' needs a CUDA device of compute capability 8.0 or more" in done.stderr


@with_triton
@pytest.mark.skipif(torch.cuda.is_available(), reason="asks the interpreter, whose device has no limits of its own")
def test_unasked_the_kernels_are_left_what_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    from mscon.contrast import triton_push

    narrow, wide, wider = (torch.ones(3, d) for d in (16, 256, 257))
    assert triton_push.takes(narrow, "float32")
    assert triton_push.takes(wide, "bfloat16")
    assert not triton_push.takes(wider, "float32")
    assert not triton_push.takes(narrow.double(), "float64")
    monkeypatch.setattr(triton_push, "HOPPER_SHARED", 99 * 1024)  # of consumers' cards
    assert triton_push.takes(narrow, "float32")
    assert triton_push.takes(wide, "bfloat16")
    assert not triton_push.takes(wide, "float32")


@with_triton
@pytest.mark.parametrize("kind", [Categorical, Continuous])
def test_a_head_that_the_kernels_do_not_take_costs_the_others_nothing(
    kind: Callable[[], Similarity], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mscon.contrast.triton_heads import PackedHeads

    served: list[int] = []

    def packed(heads: list[Tensor], *arguments: Any, **settings: Any) -> Any:
        served.extend(z.shape[1] for z in heads)
        return of_kernels(heads, *arguments, **settings)

    of_kernels = PackedHeads.of
    monkeypatch.setattr(PackedHeads, "of", packed)
    monkeypatch.setattr(push, "_may_be_triton", lambda engine, z: engine == "auto")  # pyright: ignore
    widths = {"a": 16, "b": 300, "c": 40}
    (expected, gradients), (ours, our_gradients) = (step(each, widths, 200, kind) for each in ("dense", "auto"))
    assert served == [16, 40]
    torch.testing.assert_close(ours.total, expected.total)
    for one, other in zip(our_gradients, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("engine", "rows", "dense"), [("auto", 128, True), ("auto", 129, False), ("dense", 9999, True), ("tiled", 2, False)]
)
def test_auto_takes_n_by_n_tensors_while_they_are_small(engine: str, rows: int, dense: bool) -> None:
    assert takes_dense(engine, rows) is dense  # pyright: ignore[reportArgumentType]

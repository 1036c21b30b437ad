"""Triton's kernels: equal to the equation as written, in Triton's interpreter where there is no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mscon.contrast.precision import Precision

pytest.importorskip("triton")

from mscon.contrast.ranks import Ranks
from mscon.contrast.triton_configs import GRADIENT_CONFIGS, HOPPER_SHARED, PUSH_CONFIGS, Config, fastest, fitting
from mscon.contrast.triton_heads import PackedHeads
from mscon.contrast.triton_push import available, push_backward, push_forward, triton_push, triton_push_pull
from processes import in_processes

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LENGTHS = [2, 3, 17, 64, 65, 130, 200]
ERROR: dict[Precision, float] = {"float32": 2.0**-21, "tf32": 2.0**-14, "bfloat16": 2.0**-7}
"""The most that products of unit vectors are off: two operands, each rounded to 24, 16 or 8 bits, in few roundings."""


def unit_rows(n: int, d: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 1000 * n + d)
    return torch.nn.functional.normalize(torch.randn(n, d, generator=generator), dim=1).to(DEVICE)


def uneven(n: int) -> Tensor:
    """An upstream gradient of either sign that skips every third row."""
    upstream = torch.linspace(-0.5, 1.5, n, device=DEVICE)
    upstream[::3] = 0.0
    return upstream


def dense_push(z: Tensor, temperature: float) -> Tensor:
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    return (z @ z.mT / temperature).masked_fill(itself, float("-inf")).logsumexp(dim=1)


def dense_pull_and_floor(z: Tensor, values: Tensor, bandwidth: float, temperature: float) -> tuple[Tensor, Tensor]:
    gaps = (values.unsqueeze(0) - values.unsqueeze(1)).square() / (2.0 * bandwidth**2)
    q = (-gaps).fill_diagonal_(float("-inf")).softmax(dim=1)
    return (q * (z @ z.mT)).sum(dim=1) / temperature, -(q * q.clamp(min=1e-300).log()).sum(dim=1)


def value_and_gradient(z: Tensor, temperature: float, precision: Precision = "float32") -> tuple[Tensor, Tensor]:
    leaf = z.detach().requires_grad_()
    (push,) = triton_push([leaf], temperatures=[temperature], precisions=[precision])
    (gradient,) = torch.autograd.grad(push, leaf, uneven(len(z)))
    return push.detach(), gradient


def exact(z: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    leaf = z.double().requires_grad_()
    push = dense_push(leaf, temperature)
    (gradient,) = torch.autograd.grad(push, leaf, uneven(len(z)).double())
    return push.detach(), gradient


def off(ours: Tensor, expected: Tensor) -> float:
    return float((ours - expected).norm())


@pytest.mark.parametrize("temperature", [0.005, 0.02, 0.025, 0.1, 1.0])
@pytest.mark.parametrize("d", [3, 8, 16, 40, 128])
def test_push_and_gradient_equal_the_dense_formula(d: int, temperature: float) -> None:
    heads = [unit_rows(n, d).requires_grad_() for n in LENGTHS]
    pushes = triton_push(heads, temperatures=[temperature] * len(heads))
    gradients = torch.autograd.grad(pushes, heads, [uneven(n) for n in LENGTHS])
    for head, push, gradient in zip(heads, pushes, gradients, strict=True):
        expected, expected_gradient = exact(head.detach(), temperature)
        torch.testing.assert_close(push.detach().double(), expected, rtol=1e-6, atol=1e-6 / temperature)
        assert off(gradient, expected_gradient) <= 1e-5 * max(float(expected_gradient.norm()), 1.0 / temperature)


@pytest.mark.parametrize("kind", ["duplicates", "opposites", "clustered"])
@pytest.mark.parametrize("temperature", [0.005, 0.025, 1.0])
@pytest.mark.parametrize("n", [2, 130])
def test_extreme_batches_equal_the_dense_formula(kind: str, temperature: float, n: int) -> None:
    z = unit_rows(n, 16)
    if kind == "duplicates":
        z = z[:1].expand(n, -1)
    if kind == "opposites":
        z = torch.cat([z[: n // 2], -z[: n // 2]])
    if kind == "clustered":
        z = torch.nn.functional.normalize(torch.eye(9, 16, device=DEVICE)[torch.arange(n) % 9] + 1e-3 * z, dim=1)
    push, gradient = value_and_gradient(z, temperature)
    expected, expected_gradient = exact(z, temperature)
    torch.testing.assert_close(push.double(), expected, rtol=1e-6, atol=1e-6 / temperature)
    assert off(gradient, expected_gradient) <= 1e-5 * max(float(expected_gradient.norm()), 1.0 / temperature)


def test_heads_of_any_length_width_temperature_and_precision_do_not_touch_each_other() -> None:
    shapes = [(65, 40), (1, 40), (0, 40), (130, 128), (17, 3), (66, 64)]
    temperatures, heads = [0.1, 0.1, 0.005, 0.005, 1.0, 0.02], [unit_rows(*shape).requires_grad_() for shape in shapes]
    precisions: list[Precision] = ["float32", "float32", "float32", "tf32", "float32", "bfloat16"]
    together = triton_push(heads, temperatures=temperatures, precisions=precisions)
    gradients = torch.autograd.grad(together, heads, [uneven(n) for n, _ in shapes])
    # To the bit, unless timing finds another cut the faster for the larger problem.
    tolerance = 0.0 if DEVICE.type == "cpu" else 1e-3
    for c, head in enumerate(heads):
        alone, gradient = value_and_gradient(head.detach(), temperatures[c], precision=precisions[c])
        torch.testing.assert_close(together[c].detach(), alone, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(gradients[c], gradient, rtol=tolerance, atol=tolerance)


def test_a_row_alone_in_its_head_has_no_push_and_no_gradient() -> None:
    for temperature in (0.005, 0.1):
        push, gradient = value_and_gradient(unit_rows(1, 8), temperature)
        assert push.tolist() == [float("-inf")]
        assert not gradient.any()
    assert triton_push([], temperatures=[]) == []


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_of_two_rows_each_is_the_gradient_of_the_other(temperature: float) -> None:
    z = unit_rows(2, 128).requires_grad_()
    (push,) = triton_push([z], temperatures=[temperature])
    (gradient,) = torch.autograd.grad(push[0], z)
    torch.testing.assert_close(gradient, z.detach().flip(0) / temperature, rtol=3e-6, atol=0.0)


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
@pytest.mark.parametrize("temperature", [0.01, 0.05, 1.0])
@pytest.mark.parametrize("n", [17, 200])
def test_coarser_products_stay_within_their_bound(precision: Precision, temperature: float, n: int) -> None:
    z, error = unit_rows(n, 40), ERROR[precision]
    push, gradient = value_and_gradient(z, temperature, precision=precision)
    expected, _ = exact(z, temperature)
    assert float((push - expected).abs().max()) <= error / temperature
    # The gradient, against that of the rounded z: what is left is the rounding of the weights, of which row i holds
    # Σ_j |u_i| p_ij + |u_j| p_ji.
    rounded = PackedHeads.of([z], [temperature], precision=precision).z[:n].float().sum(dim=1)[:, :40]
    p = (rounded.double() @ rounded.double().mT / temperature).fill_diagonal_(float("-inf")).softmax(dim=1)
    mass = uneven(n).abs() + p.mT @ uneven(n).abs().double()
    _, expected_gradient = exact(rounded, temperature)
    slack = error * max(1.0, 2.0 * 2.0**-7 / temperature)  # products dropped between limbs shift the scores as well
    assert ((gradient - expected_gradient).norm(dim=1) <= slack * (mass + 1e-3) / temperature).all()


def test_float32_products_are_much_finer_than_tf32_and_those_than_bfloat16() -> None:
    z = unit_rows(130, 64)
    expected, _ = exact(z, 0.1)
    precisions: list[Precision] = ["float32", "tf32", "bfloat16"]
    errors = [float((value_and_gradient(z, 0.1, precision=each)[0] - expected).abs().max()) for each in precisions]
    assert 5.0 * errors[0] < errors[1] < errors[2] / 30.0


def test_limbs_add_up_to_the_projections() -> None:
    z = unit_rows(9, 40)
    for precision, limbs in (("float32", 3), ("tf32", 2), ("bfloat16", 1)):
        packed = PackedHeads.of([z], [0.1], precision=precision)  # pyright: ignore[reportArgumentType]
        assert packed.z.shape == (128, limbs, 64)
        whole = packed.z.double().sum(dim=1)
        torch.testing.assert_close(whole[:9, :40], z.double(), rtol=2.0 ** (-8 * limbs), atol=0.0)
        assert not whole[9:].any()
        assert not whole[:, 40:].any()


@pytest.mark.parametrize("temperature", [0.01, 0.1])
@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (16, 64), (64, 16), (256, 128)])
def test_the_cut_changes_nothing(rows: int, columns: int, temperature: float) -> None:
    config = Config(rows, columns, warps=4, stages=2)
    packed = PackedHeads.of([unit_rows(70, 8), unit_rows(32, 8)], [temperature, temperature])
    upstream = packed.pack([uneven(70), uneven(32)])
    push, _ = push_forward(packed)
    cut, _ = push_forward(packed, config=config)
    torch.testing.assert_close(cut, push)
    gradient = push_backward(packed, push, upstream)
    cut_gradient = push_backward(packed, push, upstream, config=config)
    assert off(cut_gradient, gradient) <= 1e-6 * max(float(gradient.norm()), 1.0 / temperature)


@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_own_rows_of_several_processes_add_up_to_the_whole(temperature: float) -> None:
    sizes = [130, 65]
    packed = PackedHeads.of([unit_rows(n, 8) for n in sizes], [temperature, temperature])
    upstream = packed.pack([uneven(n) for n in sizes])
    push, _ = push_forward(packed)
    gradient = push_backward(packed, push, upstream)
    cuts = [(0, 1, 70, 130), (0, 65, 65, 65)]
    parts = [[slice(*cut[k : k + 2]) for cut in cuts] for k in range(3)]
    pushes = [push_forward(packed, own=own)[0] for own in parts]
    gradients = [push_backward(packed, push, upstream, own=own) for own in parts]
    for own, one, two in zip(parts, pushes, gradients, strict=True):
        outside = one == 0.0
        assert int((~outside).sum()) == sum(rows.stop - rows.start for rows in own)
        assert not two[outside].any()
    torch.testing.assert_close(torch.stack(pushes).sum(dim=0), push)
    assert off(torch.stack(gradients).sum(dim=0), gradient) <= 1e-6 * max(float(gradient.norm()), 1.0 / temperature)


def test_two_processes_equal_one(tmp_path: Path) -> None:
    answers = in_processes(_in_one_process, 2, tmp_path)
    for name, expected in _in_one_process(0).items():
        found = [answer[name] for answer in answers]
        whole = sum(found) if name == "gradient" else found[1]
        torch.testing.assert_close(whole, expected * 2 if name == "gradient" else expected, rtol=1e-5, atol=1e-5)


def _in_one_process(rank: int) -> dict[str, Tensor]:
    """Every process's total is the same here, so that two processes have twice the gradient of one."""
    z = unit_rows(65, 8).requires_grad_()
    values, ranks = torch.linspace(0.0, 1.0, 65, device=DEVICE), Ranks.here()
    (outputs,) = triton_push_pull([z], [values], [0.1], temperatures=[0.1], ranks=ranks)
    ((outputs.push - outputs.pull) * uneven(65)).sum().backward()
    assert z.grad is not None
    return {"push": outputs.push.detach(), "pull": outputs.pull.detach(), "gradient": z.grad}


@pytest.mark.parametrize("temperature", [0.005, 0.1])
@pytest.mark.parametrize("bandwidth", [0.1, 0.5])
def test_kernel_targets_equal_the_dense_formula(bandwidth: float, temperature: float) -> None:
    lengths = [2, 17, 70]
    heads = [unit_rows(n, 8).requires_grad_() for n in lengths]
    values = [torch.rand(n, generator=torch.Generator().manual_seed(n)).to(DEVICE) for n in lengths]
    bandwidths, temperatures = [bandwidth + 0.5, bandwidth, bandwidth], [temperature] * 3
    results = triton_push_pull(heads, values, bandwidths, temperatures=temperatures)
    plain = triton_push(heads, temperatures=temperatures)
    for c, (n, result) in enumerate(zip(lengths, results, strict=True)):
        z = heads[c].detach().double().requires_grad_()
        pull, floor = dense_pull_and_floor(z, values[c].double(), bandwidths[c], temperature)
        torch.testing.assert_close(result.push, plain[c], rtol=1e-6, atol=1e-6 / temperature)
        torch.testing.assert_close(result.pull.double(), pull, rtol=1e-5, atol=1e-6 / temperature)
        torch.testing.assert_close(result.floor.double(), floor, rtol=1e-4, atol=1e-5)
        # Push and pull with upstream gradients of their own.
        ups = uneven(n), uneven(n).flip(0)
        (expected,) = torch.autograd.grad([dense_push(z, temperature), pull], z, [up.double() for up in ups])
        (gradient,) = torch.autograd.grad([result.push, result.pull], heads[c], ups, retain_graph=True)
        assert off(gradient, expected) <= 1e-5 * max(float(expected.norm()), 1.0 / temperature)
        assert not result.floor.requires_grad


@pytest.mark.parametrize("far", [0.146, 50.0], ids=["denormal", "zero"])
@pytest.mark.parametrize("temperature", [0.005, 0.1])
def test_an_anchor_without_near_ones_has_no_pull(temperature: float, far: float) -> None:
    z = unit_rows(20, 8).requires_grad_()
    values = torch.linspace(0.0, 0.01, 20, device=DEVICE)
    values[7] = far  # k is 10⁻⁴⁰ or 0
    (result,) = triton_push_pull([z], [values], [0.01], temperatures=[temperature])
    assert result.pull[7].item() == result.floor[7].item() == 0.0
    assert result.floor[8].item() > 0.0
    (gradient,) = torch.autograd.grad(result.pull, z, torch.ones(20, device=DEVICE))
    assert gradient.isfinite().all()
    assert float(gradient[7].abs().max()) < 1e-30


def test_every_run_gives_the_same_bits() -> None:
    z = unit_rows(130, 40)
    (push, gradient), (again, gradient_again) = value_and_gradient(z, 0.1), value_and_gradient(z, 0.1)
    assert torch.equal(push, again)
    assert torch.equal(gradient, gradient_again)


@pytest.mark.parametrize("factor", [2.0**-100, 2.0**100])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("temperature", [0.02, 0.025])
def test_the_scale_of_the_upstream_gradient_costs_nothing(
    factor: float, precision: Precision, temperature: float
) -> None:
    packed = PackedHeads.of([unit_rows(65, 8)], [temperature], precision=precision)
    push, _ = push_forward(packed)
    upstream = packed.pack([uneven(65)])
    scaled = push_backward(packed, push, upstream * factor)
    assert torch.equal(scaled, push_backward(packed, push, upstream) * factor)
    assert not push_backward(packed, push, torch.zeros_like(upstream)).any()


@pytest.mark.parametrize("temperature", [0.02, 0.1])
def test_strides_and_half_precision_of_the_heads_change_nothing(temperature: float) -> None:
    z = unit_rows(65, 32)
    push, gradient = value_and_gradient(z[:, ::2], temperature)
    same, same_gradient = value_and_gradient(z[:, ::2].contiguous(), temperature)
    assert torch.equal(push, same)
    assert torch.equal(gradient, same_gradient)
    half = z.to(torch.bfloat16)
    push, gradient = value_and_gradient(half, temperature)
    same, same_gradient = value_and_gradient(half.float(), temperature)
    assert torch.equal(push, same)
    assert torch.equal(gradient, same_gradient.to(torch.bfloat16))


def test_second_derivative_is_refused() -> None:
    z = unit_rows(6, 4).requires_grad_()
    (push,) = triton_push([z], temperatures=[0.1])
    with pytest.raises(RuntimeError, match="take engine='dense' for second derivatives"):
        torch.autograd.grad(push.sum(), z, create_graph=True)


def test_what_the_kernels_do_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match="take engine='tiled' for float64"):
        triton_push([unit_rows(6, 4).double()], temperatures=[0.1])
    with pytest.raises(ValueError, match="take engine='tiled' for float64"):
        triton_push([unit_rows(6, 4)], temperatures=[0.1], precisions=["float64"])
    with pytest.raises(ValueError, match="up to 256 columns, not 257"):
        triton_push([unit_rows(6, 257)], temperatures=[0.1])
    assert available(DEVICE)


def test_256_columns_are_taken() -> None:
    z = unit_rows(20, 200)
    push, gradient = value_and_gradient(z, 0.1)
    expected, expected_gradient = exact(z, 0.1)
    torch.testing.assert_close(push.double(), expected, rtol=0, atol=1e-5)
    assert off(gradient, expected_gradient) <= 1e-5 * max(float(expected_gradient.norm()), 10.0)


@pytest.mark.parametrize("width", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("limbs", [1, 2, 3])
def test_some_configuration_fits_every_width(width: int, limbs: int) -> None:
    for configs in (PUSH_CONFIGS, GRADIENT_CONFIGS):
        for kernel in (False, True):
            assert fitting(configs, width=width, limbs=limbs, kernel=kernel)
    for config in (*PUSH_CONFIGS, *GRADIENT_CONFIGS):
        assert config.columns <= 128  # a head's padding


@pytest.mark.skipif(DEVICE.type != "cuda", reason="times kernels")
def test_the_fastest_configuration_is_taken_but_the_first_where_runs_must_repeat() -> None:
    slow, fast = Config(16, 16, 4, 2), Config(32, 32, 4, 2)
    work = torch.randn(4096, 4096, device=DEVICE)

    def launch(config: Config) -> None:
        for _ in range(1 if config == fast else 20):
            work.mm(work)

    assert fastest([slow, fast], launch, ("a test",), RuntimeError) == fast
    torch.use_deterministic_algorithms(True)
    try:
        assert fastest([slow, fast], launch, ("a test",), RuntimeError) == slow
    finally:
        torch.use_deterministic_algorithms(False)


COMPILE = """
import re, subprocess, sys, tempfile
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from mscon.contrast import triton_kernels
from mscon.contrast.triton_configs import GRADIENT_CONFIGS, PUSH_CONFIGS, fitting

for name, configs in (("push_kernel", PUSH_CONFIGS), ("gradient_kernel", GRADIENT_CONFIGS)):
    kernel = getattr(triton_kernels, name)
    for limbs in (1, 3):
        arguments = fitting(configs, width=128, limbs=limbs, kernel=False)[0].arguments
        options = {key: arguments.pop(key) for key in ("num_warps", "num_stages", "maxnreg")}
        constants = {"WIDTH": 128, "LIMBS": limbs, "RUNNING": False, "KERNEL": False, **arguments}
        types = {"z": "*bf16", "bounds": "*i64", **dict.fromkeys(constants, "constexpr")}
        signature = {each: types.get(each, "*fp32") for each in kernel.arg_names}
        # The launcher finds out that tensors start at multiples of 16 bytes; here it must be said.
        aligned = {(k,): [["tt.divisibility", 16]] for k, each in enumerate(signature.values()) if each[0] == "*"}
        source = ASTSource(kernel, signature, constexprs=constants, attrs=aligned)
        options["enable_fp_fusion"] = True
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(compiled.asm["cubin"])
            file.flush()
            tool = [triton.knobs.nvidia.cuobjdump.path, "-sass", file.name]
            code = subprocess.run(tool, capture_output=True, text=True, check=True).stdout
        count = {word: len(re.findall(word, code)) for word in ("HGMMA", "WARPGROUP.DEPBAR", "LDL", "STL")}
        print(name, limbs, compiled.metadata.shared, *count.values())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Triton's compiler is for Linux")
def test_the_compiler_makes_asynchronous_matrix_products_and_no_spills(tmp_path: Path) -> None:
    """For compute capability 9.0, which takes no GPU: what decides the speed there can be read off the machine code."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines] == [
        [name, limbs] for name in ("push_kernel", "gradient_kernel") for limbs in "13"
    ]
    for _, _, shared, products, waits, loads, stores in lines:
        assert int(shared) <= HOPPER_SHARED
        assert int(products) >= 16  # in two loops
        assert 2 * int(waits) <= int(products)  # products one by one, each waited for, run at a fraction of the rate
        assert int(loads) == int(stores) == 0

"""Time and memory of one supervised contrastive loss, forward and backward, ours beside others'.

    python benchmarks/loss.py                      # the whole table: loss.csv and its picture, about an hour
    python benchmarks/loss.py --rows 8192          # these lines of it anew

Every line is a fresh process, so that its memory is its own; methods take turns, `--rounds` times over while they are
quick. Projections are random unit rows, labels random among 20 classes, temperature 0.1, float32 unless the method
says otherwise.

Methods:

tiled          ours: exact, O(N·d) memory, torch's own products
tiled bf16     ours under bfloat16 autocast
triton, triton bf16
               ours on a CUDA device: fused kernels in TF32 or bfloat16
dense          ours: the equation as written, with N×N tensors
pytorch-metric-learning
               its SupConLoss
supcontrast    the formula of the SupContrast repository, with N×N tensors
supcontrast compiled
               the same under torch.compile, compilation not counted (but about 37 MB of its memory are)

Columns:

median_s, least_s   of one forward + backward
repeats        how many were timed
extra_mb       highest memory during them above what stood before (inputs, libraries), MB; on CUDA torch's own count
mm_gflops      rate of this machine at the products alone, on the tile shapes of `tiled` (512 × 128 by 128 × 512, and
               512 × 512 by 512 × 128 both ways round; on a CUDA device 8192 in place of 512), float32 for every method,
               bfloat16 on CUDA, measured in the same process afterwards and, from 512 rows on, before
share          of that rate, counting 4N²d (6N²d for triton) per similarity
status         ok, or "out of memory": it would have passed --limit gigabytes of the machine's memory, or the device's

loss_growth.csv holds the exponents of time and memory in N, least squares on logarithms from 2,048 rows on.
"""

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from measuring import PeakMemory, exponent, figure, in_fresh_process, machine, picture_of, times_of, write_csv

WIDTH, CLASSES, TEMPERATURE, TILE = 128, 20, 0.1, 512
ROWS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
CUDA_ROWS = (*ROWS, 131072, 262144, 524288, 1048576)
OURS = ("tiled", "tiled bf16", "triton", "triton bf16", "dense")
PEERS = ("pytorch-metric-learning", "supcontrast", "supcontrast compiled")
QUICK_SECONDS = 1.0
"""What takes longer is timed in one process instead of `--rounds`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+")
    parser.add_argument("--similarities", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--methods", nargs="+", choices=OURS + PEERS)
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes per line")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls per process")
    parser.add_argument("--limit", type=float, default=16.0, help="gigabytes that a method may take")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps(measure(**given.case)))
        return
    import torch

    cuda = torch.cuda.is_available()
    methods = given.methods or [each for each in OURS + PEERS if cuda or "triton" not in each]
    lines: list[dict[str, Any]] = []
    for similarities in given.similarities:
        full: set[str] = set()
        for rows in given.rows or (CUDA_ROWS if cuda else ROWS):
            lines += [
                _line(method, similarities, rows, [{"status": "out of memory"}]) for method in methods if method in full
            ]
            answers: dict[str, list[dict[str, Any]]] = {each: [] for each in methods if each not in full}
            for _ in range(given.rounds):
                for method, each in answers.items():
                    if not each or (each[-1]["status"] == "ok" and median(each[-1]["seconds"]) < QUICK_SECONDS):
                        case = {"method": method, "similarities": similarities, "rows": rows, "repeats": given.repeats}
                        each.append(in_fresh_process(__file__, case, limit_gb=given.limit))
            for method, each in answers.items():
                lines.append(_line(method, similarities, rows, each))
                print(lines[-1], flush=True)
                if each[-1]["status"] != "ok":
                    full.add(method)
            write_csv(given.out, _merged(given.out, lines))
    lines = _merged(given.out, lines)
    write_csv(given.out.with_name(f"{given.out.stem}_growth.csv"), _growth(lines))
    draw(lines, picture_of(given.out))


def _merged(path: Path, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """These lines in the place of those that are there already, in the table's order."""
    before: list[dict[str, Any]] = []
    if path.exists():
        with path.open(newline="") as file:
            before = [each | {key: int(each[key]) for key in ("similarities", "rows")} for each in csv.DictReader(file)]
    both = {
        (each["similarities"], each["rows"], (*OURS, *PEERS).index(each["method"])): each for each in before + lines
    }
    return [both[place] for place in sorted(both)]


def measure(method: str, similarities: int, rows: int, repeats: int) -> dict[str, Any]:
    """One line's worth, in this process."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    torch.manual_seed(0)
    z = [torch.nn.functional.normalize(torch.randn(rows, WIDTH, device=device), dim=1) for _ in range(similarities)]
    labels = [torch.randint(CLASSES, (rows,), device=device) for _ in range(similarities)]
    loss = _loss(method, similarities)
    loss([torch.randn(64, WIDTH, device=device, requires_grad=True) for _ in z], [each[:64] for each in labels])

    def step() -> None:
        leaves = [each.detach().requires_grad_() for each in z]
        loss(leaves, labels).backward()

    rates = [_product_rate(device)] if rows >= TILE else []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        first = times_of(step, 1, wait)
        extra = (torch.cuda.max_memory_allocated() - before) / 1e6
    else:
        peak = PeakMemory()
        first = times_of(step, 1, wait)
        extra = peak.extra_mb()
    seconds = first + times_of(step, repeats - 1, wait)
    rates.append(_product_rate(device))
    return {"status": "ok", "seconds": seconds, "extra_mb": extra, "mm_gflops": sum(rates) / len(rates)}


def _loss(method: str, similarities: int) -> Callable[[list[Any], list[Any]], Any]:
    import torch

    if method in OURS:
        from mscon import Categorical, MSConLoss

        names = [str(number) for number in range(similarities)]
        engine, _, coarse = method.partition(" ")
        ours = MSConLoss(
            dict.fromkeys(names, Categorical()),
            temperature=TEMPERATURE,
            weighting="equal",
            engine=engine,  # pyright: ignore[reportArgumentType]
        )
        if engine == "triton" and not coarse:
            torch.set_float32_matmul_precision("high")

        def total(z: list[Any], labels: list[Any]) -> Any:
            with torch.autocast(z[0].device.type, torch.bfloat16, enabled=bool(coarse)):
                return ours(dict(zip(names, z, strict=True)), dict(zip(names, labels, strict=True))).total

        return total
    if method == "pytorch-metric-learning":
        from pytorch_metric_learning.losses import SupConLoss

        one: Callable[[Any, Any], Any] = SupConLoss(temperature=TEMPERATURE)
    else:
        one = torch.compile(_supcontrast) if method.endswith("compiled") else _supcontrast
    return lambda z, labels: sum(one(*each) for each in zip(z, labels, strict=True))


def _supcontrast(z: Any, labels: Any) -> Any:
    """losses.py of github.com/HobbitLong/SupContrast, one view per row."""
    import torch

    logits = z @ z.T / TEMPERATURE
    logits = logits - logits.max(dim=1, keepdim=True).values.detach()
    others = 1.0 - torch.eye(len(z), device=z.device)
    mask = (labels[:, None] == labels[None, :]).float() * others
    log_probability = logits - ((logits.exp() * others).sum(1, keepdim=True)).log()
    positives = mask.sum(1)
    return -((mask * log_probability).sum(1) / positives.where(positives > 0, 1.0)).mean()


def _product_rate(device: Any) -> float:
    """GFLOP/s of the four products of a tile: scores twice, and weights times projections both ways round."""
    import torch

    tile = TILE if device.type == "cpu" else 8192
    kind = {"device": device, "dtype": torch.float32 if device.type == "cpu" else torch.bfloat16}
    left, right = (torch.randn(tile, WIDTH, **kind) for _ in range(2))
    scores, gradient = torch.empty(tile, tile, **kind), torch.zeros(tile, WIDTH, **kind)

    def products() -> None:
        for _ in range(10):
            torch.mm(left, right.mT, out=scores)
            torch.mm(left, right.mT, out=scores)
            gradient.addmm_(scores, right)
            gradient.addmm_(scores.mT, left)

    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    return 10 * 8 * tile**2 * WIDTH / median(times_of(products, 15, wait)) / 1e9


def _line(method: str, similarities: int, rows: int, answers: list[dict[str, Any]]) -> dict[str, Any]:
    head = {"method": method, "similarities": similarities, "rows": rows, "width": WIDTH}
    good = [each for each in answers if each["status"] == "ok"]
    if len(good) < len(answers):
        empty = dict.fromkeys(("median_s", "least_s", "repeats", "extra_mb", "mm_gflops", "share"), "")
        return head | {"status": "out of memory"} | empty | machine()
    seconds = [each for answer in good for each in answer["seconds"]]
    rate = median([each["mm_gflops"] for each in good])
    work = (6 if method.startswith("triton") else 4) * rows**2 * WIDTH * similarities
    ours = method in OURS
    return (
        head
        | {"status": "ok", "median_s": f"{median(seconds):.5f}", "least_s": f"{min(seconds):.5f}"}
        | {"repeats": len(seconds), "extra_mb": f"{median([each['extra_mb'] for each in good]):.1f}"}
        | {"mm_gflops": f"{rate:.0f}", "share": f"{work / median(seconds) / rate / 1e9:.2f}" if ours else ""}
        | machine()
    )


def _growth(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for method, similarities in dict.fromkeys((each["method"], each["similarities"]) for each in lines):
        points = [
            each
            for each in lines
            if (each["method"], each["similarities"]) == (method, similarities)
            and each["status"] == "ok"
            and each["rows"] >= 2048
        ]
        if len(points) >= 2:
            sizes = [each["rows"] for each in points]
            slopes = {
                f"{name}_exponent": f"{exponent(sizes, [max(float(each[key]), 1e-9) for each in points]):.2f}"
                for name, key in (("time", "median_s"), ("memory", "extra_mb"))
            }
            rows = {"from_rows": points[0]["rows"], "to_rows": points[-1]["rows"]}
            found.append({"method": method, "similarities": similarities} | rows | slopes)
    return found


def draw(lines: list[dict[str, Any]], path: Path) -> None:
    """Time and memory against rows, one similarity, both axes logarithmic."""
    page = figure(10, 4.2)
    panels = page.subplots(1, 2)
    colours = {method: f"C{number}" for number, method in enumerate((*OURS, *PEERS))}
    for panel, key, name in zip(panels, ("median_s", "extra_mb"), ("seconds", "extra memory, MB"), strict=True):
        for method, colour in colours.items():
            points = [
                (each["rows"], float(each[key]))
                for each in lines
                if each["method"] == method and each["similarities"] == 1 and each["status"] == "ok"
            ]
            if points:
                bold = method in OURS and method != "dense"
                panel.plot(*zip(*points, strict=True), "o-", color=colour, label=method, linewidth=2.5 if bold else 1.2)
        panel.set(xscale="log", yscale="log", xlabel="rows of the batch", title=name)
        panel.set_xscale("log", base=2)
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    page.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()

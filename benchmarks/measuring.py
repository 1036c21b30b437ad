"""What the benchmarks share: times, fresh processes, peak memory, tables, pictures, catalogs, the machine's name."""

import csv
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any


def times_of(work: Callable[[], object], repeats: int, finished: Callable[[], object] = lambda: None) -> list[float]:
    """Seconds of each repeat, after one that does not count; `finished` waits for a device."""
    work()
    finished()
    seconds: list[float] = []
    for _ in range(repeats):
        start = perf_counter()
        work()
        finished()
        seconds.append(perf_counter() - start)
    return seconds


def in_fresh_process(
    script: str, case: Any, *, limit_gb: float | None = None, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What `script --case JSON` prints as JSON on its last line. With a limit, allocations beyond it are refused, so
    that the machine never swaps, and what dies of that answers {"status": "out of memory"}.
    """

    def limit() -> None:
        if limit_gb:
            resource.setrlimit(resource.RLIMIT_DATA, (int(limit_gb * 2**30),) * 2)

    command = [sys.executable, script, "--case", json.dumps(case)]
    own = os.environ | dict(environment or {})
    done = subprocess.run(command, env=own, preexec_fn=limit, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout.strip().splitlines()[-1])
    signs = ("can't allocate memory", "MemoryError", "bad_alloc", "out of memory")
    if limit_gb and any(sign in done.stderr for sign in signs):
        return {"status": "out of memory"}
    raise SystemExit(f"{case} failed:\n{done.stderr}")


class PeakMemory:
    """Resident memory of this process above where it stood at the start, at its highest; in MB (10⁶ bytes). Linux."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        self.start = self._kilobytes("VmRSS")

    def extra_mb(self) -> float:
        return (self._kilobytes("VmHWM") - self.start) * 1024 / 1e6

    def _kilobytes(self, name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(name)).split()[1])


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the power law nearest to these points, by least squares on logarithms."""
    import numpy as np

    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def write_csv(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """A table of these lines; its columns are in the order of the first."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0] if lines else ()), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def real_catalog(name: str) -> Path:
    """The file of `footwear` or `clothing`, in the folder that MSCON_DATA names; without it the benchmark ends."""
    path = Path(os.environ.get("MSCON_DATA", "")) / name / f"{name}.parquet"
    if not path.exists():
        raise SystemExit(f"{path} is not here: set MSCON_DATA to the folder that holds {name}")
    return path


def figure(width: float, height: float) -> Any:
    """An empty figure that is saved as the same SVG every time."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "mscon", "font.size": 10})
    return Figure(figsize=(width, height), layout="constrained")


def picture_of(table: Path) -> Path:
    """Where a table is drawn: the one that is kept, among the pictures of docs/; any other beside itself."""
    here = Path(__file__).resolve().parent
    folder = here.parent / "docs" / "pictures" if table.resolve().parent == here else table.parent
    return folder / f"{table.stem}.svg"


def machine() -> dict[str, str | int]:
    """Processor, threads and torch, for a column of every CSV."""
    import torch

    name = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor()
    )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else name
    return {"device": device, "threads": torch.get_num_threads(), "torch": torch.__version__}


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []

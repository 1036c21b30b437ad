"""How long one waits before anything happens: imports beside torch's, help beside that of the smallest program.

    python benchmarks/startup.py                       # startup.csv, some three minutes

Every case is a process of its own, and the cases take turns, so that all meet the same machine. The first turn, which
reads files from the disk, does not count.

Cases:

import torch              what everything else is measured by: Python, torch, nothing more
import mscon              the package, which looks up its names when they are asked for
the loss                  from mscon import MSConLoss, Categorical
a run                     import mscon; mscon.load, which also takes images, tables and models
a cyclopts program        --help of a program with one command, by the same library
mscon --help, --version, train --help
                          the commands as they are typed

Columns:

median_s                  seconds from the start of the process to its end
times                     of `import torch` for imports, of the cyclopts program for commands: the median of the ratios
                          within a turn
"""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from measuring import machine, write_csv

SMALLEST = """
from cyclopts import App

app = App(name="small")


@app.command
def greet(name: str, *, loud: bool = False) -> None:
    "Greet somebody."
    print(name)


app()
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--turns", type=int, default=15)
    options.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    wanted = options.parse_args()
    with TemporaryDirectory() as folder:
        small = Path(folder) / "small.py"
        small.write_text(SMALLEST, encoding="utf-8")
        python, mscon = sys.executable, str(Path(sys.executable).with_name("mscon"))
        imports = {
            "import torch": [python, "-c", "import torch"],
            "import mscon": [python, "-c", "import mscon"],
            "the loss": [python, "-c", "from mscon import MSConLoss, Categorical"],
            "a run": [python, "-c", "import mscon; mscon.load"],
        }
        commands = {
            "a cyclopts program": [python, str(small), "--help"],
            "mscon --version": [mscon, "--version"],
            "mscon --help": [mscon, "--help"],
            "mscon train --help": [mscon, "train", "--help"],
        }
        turns = [{name: seconds(each) for name, each in (imports | commands).items()} for _ in range(wanted.turns + 1)]
    rows: list[dict[str, Any]] = []
    for cases in (imports, commands):
        first = next(iter(cases))
        for name in cases:
            took = median([turn[name] for turn in turns[1:]])
            times = median([turn[name] / turn[first] for turn in turns[1:]])
            case = {"case": name, "median_s": round(took, 3), "times": round(times, 2)}
            rows.append({**case, "turns": wanted.turns, **machine()})
            print(rows[-1], flush=True)
    write_csv(wanted.out, rows)


def seconds(command: list[str]) -> float:
    start = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - start


if __name__ == "__main__":
    main()

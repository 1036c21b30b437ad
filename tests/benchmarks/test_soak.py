"""The soak itself, in short: commands killed at random moments come to the undisturbed outcome."""

import csv
import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT


def test_a_few_kills_lose_nothing(tmp_path: Path) -> None:
    out = tmp_path / "soak.csv"
    words = ["--work", "train", "--kills", "2", "--folder", str(tmp_path), "--out", str(out)]
    environment = os.environ | {"MSCON_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "soak.py"), *words], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with out.open(encoding="utf-8") as file:
        kills = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert [each["work"] for each in kills] == ["train"] * 2
    assert {(each["half_written"], each["unusable"], each["same_bits"]) for each in kills} == {("0", "False", "True")}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("soak-")] == [], "all is cleared away"

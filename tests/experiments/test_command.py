"""`mscon reproduce` as a person calls it: on a study of their own, stopped, gone on with, listed, shown."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest

from mscon.cli import main


def words(study_file: Path, letters: Path, tmp_path: Path, *more: str) -> list[str]:
    places = ["--root", str(letters.parent), "--results", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    return ["reproduce", str(study_file), *places, *more]


def test_a_study_of_ones_own_is_reproduced_and_figures_are_drawn(
    study_file: Path, letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--quick", "--method", "mscon-equal", "--method", "supcon-weight", "--seeds", "1"]
    main(words(study_file, letters, tmp_path, "--list", *given))
    listed = capsys.readouterr()
    assert len(listed.out.splitlines()) == 2
    assert "2 more once these have chosen the learning rates" in listed.err
    main([*listed.out.splitlines()[1].split()[1:]])
    assert "letters-quick/supcon-weight/search/0.003: character" in capsys.readouterr().out
    main(words(study_file, letters, tmp_path, *given))
    said = capsys.readouterr().out
    assert "MSCon, equal weights" in said
    assert said.count("search/0.003") == 1, "the other was there"
    table = (tmp_path / "results" / "letters-quick" / "table.md").read_text()
    assert "SupCon: weight" in table
    assert "nothing: classical features" in table
    for name, suffix in (("retrieval", "md"), ("transfer", "svg")):
        main(words(study_file, letters, tmp_path, "--figure", name))
        assert (tmp_path / "results" / "letters" / "figures" / f"{name}.{suffix}").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "mscon-nothing"], "there is no method 'mscon-nothing'"),
        (["--figure", "nois"], "there is no figure 'nois'. Did you mean 'noise'"),
        (["--run", "mscon-equal/9"], "there is no such training"),
        (["--seeds", "0"], "--seeds 0: at least one"),
        (["--figure", "noise", "--method", "csn"], "has methods of its own"),
        (["--figure", "transfer", "--quick"], "leave out --quick"),
    ],
)
def test_a_wish_that_cannot_be_met_is_explained(
    more: list[str],
    message: str,
    study_file: Path,
    letters: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words(study_file, letters, tmp_path, *more))
    assert end.value.code == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_ctrl_c_says_that_the_same_command_goes_on(study_file: Path, letters: Path, tmp_path: Path) -> None:
    more = ["--method", "mscon-equal", "--seeds", "1"]
    command = [sys.executable, "-m", "mscon", *words(study_file, letters, tmp_path, *more)]
    study_file.write_text(study_file.read_text().replace("epochs = 2", "epochs = 200"))
    metrics = tmp_path / "runs" / "letters" / "mscon-equal" / "search" / "0.003" / "metrics.jsonl"
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        for _ in range(600):
            if metrics.exists() and metrics.stat().st_size:
                break
            sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "with a checkpoint: the same command goes on" in errors
    assert not (tmp_path / "results" / "letters" / "mscon-equal" / "search").exists()


def test_every_line_that_is_listed_is_a_training(
    study_file: Path, letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever was asked for: many seeds of a figure, once its search is done."""
    given = ["--figure", "heads", "--seeds", "4"]
    main(words(study_file, letters, tmp_path, "--list", *given))
    for line in capsys.readouterr().out.splitlines():
        main(shlex.split(line)[1:])
    capsys.readouterr()
    main(words(study_file, letters, tmp_path, "--list", *given))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * 3 * 4
    main(shlex.split(lines[-1])[1:])
    assert "letters-quick/heads-masked/mscon-excess/3: character" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[missing]", "[mising]", "mising: .*Did you mean 'missing'"),
        ('typeface = ["STIX"]', 'typeface = "STIX"', "missing.typeface: "),
        ('typeface = ["STIX"]', 'typo = ["STIX"]', "no column 'typo'"),
        ('of = "ink"', 'of = "slant"', "'slant' holds String, and not the numbers"),
        ("learning_rates = [0.003]", "learning_rates = []", "quick.learning_rates: "),
        ("learning_rates = [0.001, 0.003]", "learning_rates = [0.003, 0.003]", "every rate once"),
        ('"slant", "typeface"]', '"slant", "slant"]', "'slant' is named twice"),
        ('"slant", "typeface"]', '"joint"]', "would be taken for a method's"),
        ("[full]", '[full]\nbase = "smal"', "there is no base 'smal'. Did you mean 'small'"),
    ],
)
def test_a_mistake_in_a_study_of_ones_own_is_explained(
    old: str,
    new: str,
    message: str,
    study_file: Path,
    letters: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert old in study_file.read_text()
    study_file.write_text(study_file.read_text().replace(old, new, 1))
    with pytest.raises(SystemExit) as end:
        main(words(study_file, letters, tmp_path, "--quick", "--method", "mscon-equal", "--seeds", "1"))
    assert end.value.code == 2
    assert re.search(message, capsys.readouterr().err.replace("\n", " "))

"""`mscon reproduce` as a person calls it: on a study of their own, stopped, gone on with, listed, shown."""

import os
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
    main(words(study_file, letters, tmp_path, "--quick", "--figure", "retrieval"))
    assert (tmp_path / "results" / "letters-quick" / "figures" / "retrieval.md").exists()
    main(words(study_file, letters, tmp_path, "--quick", "--figure", "transfer"))
    assert (tmp_path / "results" / "letters-quick" / "figures" / "transfer.svg").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "mscon-nothing"], "there is no method 'mscon-nothing'"),
        (["--figure", "nois"], "there is no figure 'nois'. Did you mean 'noise'"),
        (["--run", "mscon-equal/9"], "there is no such training"),
        (["--seeds", "0"], "--seeds 0: at least one"),
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

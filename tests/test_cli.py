"""The command line as a person uses it: help, the whole job, mistakes, and exit codes."""

import json
from pathlib import Path

import polars as pl
import pytest

from mscon.cli import app
from mscon.run import Run

TINY = [
    *("--set", "image.size=32", "--set", "views.flip=0.0", "--set", "model.backbone=test_resnet"),
    *("--set", "model.stages=[]"),
    *("--set", "training.batch_size=32", "--set", "training.epochs=2", "--set", "training.precision=32-true"),
]


@pytest.mark.parametrize("command", [name for name in app if not name.startswith("-")])
def test_every_help_teaches_with_an_example(mscon, command: str) -> None:
    code, out, _ = mscon(command, "--help")
    assert code == 0
    assert f"mscon {command}" in out.split("Parameters")[0].split("\n", 1)[1]


def test_top_help_and_version(mscon) -> None:
    code, out, _ = mscon("--help")
    assert code == 0
    assert all(f"mscon {word}" in out for word in ("demo", "inspect", "train", "evaluate"))
    assert mscon("--version")[1].startswith("mscon 0.1.0")


def test_the_whole_job(mscon, letters: Path) -> None:
    labels = ["--similarity", "character", "--similarity", "weight:categorical", "--ood", "typeface", "--ood", "ink"]
    code, out, _ = mscon("inspect", letters, *labels, *TINY)
    assert code == 0
    assert "character" in out
    assert "chance" in out

    code, out, _ = mscon("train", letters, *labels, *TINY)
    assert code == 0
    assert "mscon evaluate runs/letters" in out
    run = Run.open(Path("runs/letters"))
    assert run.recipe.training.epochs == 2
    assert Path(run.recipe.catalog.source).is_absolute()

    code, out, _ = mscon("evaluate", "runs/letters")
    assert code == 0
    assert "typeface" in out
    assert Path("runs/letters/report.html").exists()
    evaluation = json.loads(Path("runs/letters/evaluation.json").read_text())
    assert {name: each["role"] for name, each in evaluation["labels"].items()} == {
        "character": "in-domain",
        "weight": "in-domain",
        "typeface": "ood",
        "ink": "ood",
    }
    for each in evaluation["labels"].values():
        assert each["low"] <= each["value"] <= each["high"]
        assert each["floors"].keys() == {"untrained", "pixels", "classical"}
        for floor in each["floors"].values():
            assert floor["difference"]["value"] == pytest.approx(each["value"] - floor["value"])
    assert evaluation["labels"]["ink"]["metric"] == "r2"
    assert sum(evaluation["rows"].values()) == len(pl.read_parquet(letters))
    assert [head["name"] for head in evaluation["diagnostics"]["heads"]] == ["character", "weight"]
    assert all(f"warning: {each}" in out for each in evaluation["diagnostics"]["warnings"])

    code, out, _ = mscon("audit", "runs/letters")
    assert code == 0
    assert "character" in out
    assert "weight" in out
    audited = pl.read_parquet("runs/letters/audit.parquet")
    assert audited.columns == ["id", "similarity", "label", "suggested", "score"]
    assert audited["similarity"].unique(maintain_order=True).to_list() == ["character", "weight"]
    assert audited["score"].is_between(0, 1).all()
    assert all(each["score"].is_sorted(descending=True) for _, each in audited.group_by("similarity"))
    page = Path("runs/letters/audit.html").read_text()
    differing = audited.filter(pl.col("label") != pl.col("suggested"))
    for name in ("character", "weight"):
        assert page.count(f">{name}<") >= 2
    assert page.count('class="given"') == sum(min(48, len(each)) for _, each in differing.group_by("similarity"))
    assert "http://" not in page.replace("http://www.w3.org", "")

    code, out, _ = mscon("embed", "runs/letters", letters, "-o", "vectors/out.parquet")
    assert code == 0
    table = pl.read_parquet("vectors/out.parquet")
    assert table.columns == ["id", "embedding", "z_character", "z_weight"]
    assert len(table) == len(pl.read_parquet(letters))

    code, _, _ = mscon("train", "runs/letters/recipe.toml", "--set", "training.epochs=1")
    assert code == 0
    assert Run.open(Path("runs/letters-2")).recipe.training.epochs == 1


def test_hours_of_any_day_are_trained_on_and_judged_as_hours(mscon, letters: Path) -> None:
    table, rows = pl.read_parquet(letters), pl.int_range(pl.len())
    tenths = (pl.col("character").rank("dense").cast(pl.Int64) * 48 - 50 + rows % 7) % 240  # some just before midnight
    asked = ["--similarity", "hour:continuous", "--similarity", "weight", "--set", "similarities.hour.period=24"]
    asked += ["--set", "training.epochs=1"]
    found, audits = [], []
    for name, days in (("one_day", 0), ("any_day", 10 + rows % 300)):
        hour = (tenths + 240 * days) / 10
        table.with_columns(hour=hour).write_parquet(f"{name}.parquet")
        assert mscon("train", f"{name}.parquet", *TINY, *asked, "-o", name)[0] == 0
        code, out, err = mscon("evaluate", name)
        assert code == 0, err
        assert "angles" in out
        assert "Fisher and Lee" in Path(name, "report.html").read_text()
        assert mscon("audit", name)[0] == 0
        found.append(json.loads(Path(name, "evaluation.json").read_text())["labels"]["hour"])
        audits.append(pl.read_parquet(f"{name}/audit.parquet").filter(similarity="hour"))
    assert found[0] == found[1]
    assert audits[0].equals(audits[1])
    assert found[0]["own_head"]["metric"] == "circular"
    assert found[0]["floors"]["classical"]["value"] > 0.8
    assert found[0]["mae"] < 6.0  # what chance has
    label, suggested = (audits[0][each].cast(pl.Float64) for each in ("label", "suggested"))
    assert suggested.is_between(0.0, 24.0).all()
    seam = (label - suggested).abs() > 22.0
    assert seam.sum() > 0
    assert audits[0].filter(seam)["score"].max() < 0.75


def test_ablate_trains_without_each_and_shows_what_each_adds(mscon, letters: Path) -> None:
    labels = ["--similarity", "character", "--similarity", "weight", "--set", "training.epochs=1"]
    assert mscon("train", letters, *TINY, *labels, "-o", "run")[0] == 0
    code, out, err = mscon("ablate", "run")
    assert code == 0, err
    assert "run-without-character" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["label", "score", "character", "weight"] in rows
    effects = json.loads(Path("run/ablation.json").read_text())["effects"]
    (weights,) = [row for row in rows if row[:1] == ["weight"] and len(row) > 4]
    shown = [f"{100 * each['value']:+.1f}" for each in effects if each["label"] == "weight"]
    assert [word for word in weights if word in shown] == shown


def test_set_reaches_a_similarity_named_on_the_command_line(mscon, letters: Path) -> None:
    words = [
        "--similarity",
        "character",
        "--set",
        "similarities.character.temperature=0.5",
        "--set",
        "training.epochs=1",
    ]
    code, _, err = mscon("train", letters.parent / "*.parquet", *TINY, *words)
    assert code == 0, err
    assert Run.open(Path("runs") / letters.parent.name).recipe.similarities["character"].temperature == 0.5


def test_a_similarity_that_is_named_twice_is_refused(mscon, letters: Path) -> None:
    code, _, err = mscon("inspect", letters, "--similarity", "ink", "--similarity", "ink:rank_n_contrast")
    assert code == 2
    assert "--similarity ink is given twice" in err
    assert "--set similarities.other.column=ink" in err


def test_brackets_in_ids_and_paths_are_printed_as_they_are(mscon, letters: Path) -> None:
    table = pl.read_parquet(letters).head(150).with_columns(id=pl.lit("[/sku] [red]"))
    images = [b"", *table["image"][1:]]
    table.with_columns(image=pl.Series(images)).write_parquet("odd.parquet")
    assert mscon("train", letters, "--similarity", "character", *TINY, "-o", "x[/b]")[0] == 0
    code, out, err = mscon("embed", "x[/b]", "odd.parquet", "-o", "v.parquet", "--id", "id")
    assert code == 0, err
    assert "left out: row 0 ([/sku] [red]): " in out


def test_resume_keeps_the_recipe(mscon, letters: Path) -> None:
    words = ["train", letters, "--similarity", "character", *TINY, "--out", "run"]
    assert mscon(*words)[0] == 0
    assert mscon("train", "run", "--resume")[0] == 0
    assert mscon(*words, "--resume")[0] == 0
    code, _, err = mscon(*words, "--set", "training.lr=0.5", "--resume")
    assert code == 2
    assert "training.lr was 0.002, is 0.5" in err
    code, _, err = mscon("train", "run", "--resume", "--set", "training.lr=0.5")
    assert code == 2
    assert "a resumed run keeps its recipe" in err


@pytest.mark.parametrize("words", [("inspect",), ("train",), ("train", "--similarity", "a"), ("embed", "{run}")])
def test_a_run_where_a_catalog_is_asked_for_is_told_with_what_to_type(mscon, two_runs, words: tuple[str, ...]) -> None:
    command, *options = (word.format(run=two_runs[0]) for word in words)
    code, out, err = mscon(command, *options, two_runs[0], *(["-o", "x.parquet"] if command == "embed" else []))
    assert (code, out) == (2, "")
    assert f"{two_runs[0]} is a run's folder, no catalog" in err.replace("\n", " ")
    assert f"mscon train {two_runs[0]} --resume" in err
    assert f"{two_runs[0]}/recipe.toml" in err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "absent.parquet", "--similarity", "a"], "absent.parquet"),
        (["train", "glyphs"], "to learn from: --similarity NAME. Columns here: id, character, "),
        (["inspect", "absent.parquet"], "absent.parquet does not exist"),
        (["train", "glyphs", "--similarity", "character", "[b]"], "no place for '[b]'"),
        (["train", "glyphs", "--similarity", "charcter"], "Did you mean 'character'"),
        (["train", "glyphs", "--similarity", "character:tag"], "there is no kind 'tag'. Did you mean 'tags'?"),
        (["train", "glyphs", "--similarity", "a:b"], "has a colon, say its kind, too: --similarity a:b:categorical"),
        (["train", "glyphs", "--similarity", "a:b:categorical"], "glyphs has no column 'a:b'"),
        (["inspect", "glyphs", "--similarity", "weight:tags", "-s", "similarities.weight.period=2"], "no such option"),
        (["train", "glyphs", "--similarity", "character", "--set", "training.epoch=3"], "Did you mean 'epochs'"),
        (["train", "glyphs", "--similarity", "character", "--set", "training.epochs"], "give it a value"),
        (["train", "absent.toml"], "no such recipe file"),
        (["train", "nowhere", "--resume"], "nowhere is not a run"),
        (["evaluate", "nowhere"], "nowhere is not a run"),
        (["ablate", "nowhere"], "nowhere is not a run"),
        (["embed", "nowhere", "glyphs", "-o", "x.parquet"], "nowhere is not a run"),
        (["train", "glyphs", "--similarty", "character"], "--similarty"),
        (["trian"], "trian"),
        (["trian[/b]"], "trian[/b]"),
        (["embed", "nowhere"], "requires an argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_end_with_2_and_no_traceback(mscon, words: list[str], message: str) -> None:
    code, out, err = mscon(*words)
    assert code == 2
    assert message in err
    assert "Traceback" not in out + err
    assert not Path("runs").exists()

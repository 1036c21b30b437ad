"""Tables and figures from results alone: means, intervals and paired differences are what they say."""

import math
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from scipy.stats import t

from mscon.data.information import shared_information
from mscon.experiments.command import show
from mscon.experiments.comparison import cells, compare, markdown
from mscon.experiments.figures import FIGURES, figure
from mscon.experiments.figures.axes import related, shuffled, thinned
from mscon.experiments.figures.draw import chart, draw
from mscon.experiments.figures.draw import markdown as chart_markdown
from mscon.experiments.figures.figure import Line, read_lines
from mscon.experiments.figures.measures import retrieval, transfer
from mscon.experiments.jobs import Job, tables_of
from mscon.experiments.methods import methods
from mscon.experiments.results import Result
from mscon.experiments.statistics import T_975, Spread, mean, paired, pooled
from mscon.experiments.studies import Study, study


def result(method: str, seed: int, accuracies: dict[str, float], **values: Any) -> Result:
    scores = {name: {"accuracy": each / 100, "validation": 0.5, "n": 8} for name, each in accuracies.items()}
    rest: dict[str, Any] = {
        "study": "",
        "searched": {"0.01": 80.0} if seed == 0 else {},
        "variant": "",
        "learning_rate": 0.01,
        "recipe": {},
        "recipe_hash": "",
        "rows": {},
        "items": "",
        "correct": {},
        "measures": {},
        "weights": {},
        "seconds": {"training": 60.0 * (seed + 1)},
        "versions": {},
    }
    return Result(method=method, seed=seed, scores=scores, **(rest | values))


def test_intervals_are_students() -> None:
    for freedom, value in enumerate(T_975, start=1):
        assert value == pytest.approx(float(t.ppf(0.975, freedom)), abs=6e-4)
    values = [1.0, 2.0, 4.0]
    found = mean(values)
    assert found.value == pytest.approx(7 / 3)
    assert found.half == pytest.approx(t.ppf(0.975, 2) * np.std(values, ddof=1) / math.sqrt(3), rel=1e-3)
    assert mean([81.26]).text() == "81.3"
    assert mean([-1.0, -2.0]).text(signed=True) == "−1.5 ± 6.4"
    with pytest.raises(ValueError, match="nothing to take the mean of"):
        mean([])


def test_a_pooled_spread_is_that_of_all_groups_around_their_own_means() -> None:
    found = pooled([[1.0, 3.0], [10.0, 12.0, 17.0], [5.0]])
    assert found is not None
    assert found.freedom == 3
    assert found.deviation == pytest.approx(math.sqrt((2 + 26) / 3))
    assert mean([5.0], found).half == pytest.approx(t.ppf(0.975, 3) * found.deviation, rel=1e-3)
    assert pooled([[1.0], [2.0], []]) is None
    rng = np.random.default_rng(0)
    groups = [rng.normal(place, 2.0, size=2).tolist() for place in range(2000)]
    found = pooled(groups)
    assert found is not None
    assert found == Spread(found.deviation, 2000)
    assert found.deviation == pytest.approx(2.0, abs=0.1)


def test_of_points_with_two_seeds_intervals_cover_by_the_pooled_spread_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered, halves = [], []
    for _ in range(2000):
        line = rng.normal(size=(5, 2)).tolist()
        found = mean(line[0], pooled(line))
        covered.append(abs(found.value) <= found.half)
        halves.append(found.half)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)
    assert np.mean(halves) < 0.25 * np.mean([mean(rng.normal(size=2).tolist()).half for _ in range(2000)])


def test_differences_are_taken_seed_by_seed() -> None:
    found = paired({0: 5.0, 1: 9.0, 2: 1.0}, {1: 7.0, 0: 4.0})
    assert found == mean([1.0, 2.0])
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_the_tables_numbers(small: Study) -> None:
    base = [{"character": 80.0, "weight": 90.0, "slant": 60.0, "typeface": 20.0}] * 2
    ours = [{"character": 82.0, "weight": 90.0, "slant": 61.0, "typeface": 25.0}, base[0] | {"slant": 66.0}]
    found = compare(
        small,
        methods(small),
        {
            "mscon-equal": [result("mscon-equal", seed, each) for seed, each in enumerate(base)],
            "mscon-paper": [result("mscon-paper", seed, each) for seed, each in enumerate(ours)],
            "cross-entropy-equal": [result("cross-entropy-equal", 0, base[0], searched={})],
            "csn": [result("csn", 1, base[0])],
            "simclr": [],
        },
    )
    assert [row.method for row in found.rows] == ["cross-entropy-equal", "csn", "mscon-equal", "mscon-paper"]
    row = found.rows[-1]
    assert row.in_domain == mean([86.0, 85.0])
    assert row.ood == mean([43.0, 43.0])
    assert row.beside_in_domain == mean([1.0, 0.0])
    assert row.beside_ood == mean([3.0, 3.0])
    assert row.minutes == 1.5
    assert found.rows[2].beside_ood is None
    heads, body = cells(found)
    assert [row.seeds for row in found.rows] == [0, 1, 2, 2], "a search has no seeds yet, a later seed may be first"
    assert body[0][-1] == "search"
    assert heads[:4] == ["method", "character", "weight", "mean"]
    assert all(len(each) == len(heads) for each in body)
    assert body[-1][heads.index("mean OOD") + 1] == "+3.0 ± 0.0"
    measured = {"paper_probe": dict.fromkeys(small.labels, 0.5)}
    by_sgd = {"mscon-paper": [result("mscon-paper", 0, base[0], measures=measured)]}
    _, body = cells(compare(small, methods(small), by_sgd, probe="paper"))
    assert [line[:2] for line in body] == [["MSCon as published", "50.0"], ["MSCon as published: in print", "99.50"]]
    assert next(iter(markdown(found))).startswith("| method | character |")


def test_the_name_of_a_label_is_no_markup(small: Study) -> None:
    asked = small.model_copy(update={"ood": ("[red]x",)})
    found = compare(asked, methods(asked), {"simclr": [result("simclr", 0, dict.fromkeys(asked.labels, 50.0))]})
    console = Console(file=StringIO(), width=200)
    show(found, console)
    assert "[red]x (OOD)" in console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def test_noise_is_among_the_known_items_alone(letters: Path) -> None:
    table = pl.read_parquet(letters)
    for share in (0.0, 0.4, 1.0):
        noisy = shuffled(table, 3, label="character", share=share)
        changed = (noisy["noisy_character"] != noisy["character"]).to_numpy()
        assert not changed[(table["split"] == "test").to_numpy()].any()
        assert noisy["noisy_character"].value_counts().sort("noisy_character")["count"].to_list() == (
            table["character"].value_counts().sort("character")["count"].to_list()
        )
        known = (table["split"] != "test").to_numpy()
        gaps = table.with_columns(pl.when(pl.int_range(pl.len()) % 3 > 0).then(pl.col("character")).alias("character"))
        thin = shuffled(gaps, 3, label="character", share=share)["noisy_character"]
        assert thin.null_count() == gaps["character"].null_count(), "gaps move with the labels"
        assert changed[known].mean() == pytest.approx(0.8 * share, abs=0.06), "of five classes one in five stays"


def test_gaps_are_among_the_training_items_and_others_of_each_label(letters: Path) -> None:
    table = pl.read_parquet(letters)
    thin = thinned(table, 3, labels=["character", "weight"], share=0.8)
    train = (table["split"] == "train").to_numpy()
    missing = {name: thin[f"partial_{name}"].is_null().to_numpy() for name in ("character", "weight")}
    for name, lacking in missing.items():
        assert lacking[train].mean() == pytest.approx(0.8, abs=0.01)
        assert not lacking[~train].any()
        there = thin.filter(~pl.Series(lacking))
        assert there[f"partial_{name}"].equals(there[name], null_equal=True, check_names=False)
    both = (missing["character"] & missing["weight"])[train].mean()
    assert both == pytest.approx(0.64, abs=0.05)
    assert not thin.equals(thinned(table, 4, labels=["character", "weight"], share=0.8))


def test_shared_parts_tell_the_more_of_one_another_the_more_they_share() -> None:
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"colour": rng.choice([f"c{each}" for each in range(24)], 6000)})
    told = []
    for share in (0.0, 0.5, 1.0):
        columns = related(table, 0, label="colour", share=share)
        codes = [columns[name].rank("dense").cast(pl.Int64).to_numpy() for name in ("first", "second")]
        told.append(shared_information(*codes))
    assert told[0] < 0.6 < told[2] + 1e-9
    assert told == sorted(told)
    assert told[2] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("name", FIGURES)
def test_every_training_of_a_figure_is_a_recipe(name: str) -> None:
    footwear = study("footwear")
    jobs = figure(name).jobs(footwear, quick=True, seeds=2)
    keys = [job.key for job in jobs]
    assert len(set(keys)) == len(keys)
    for job in jobs:
        recipe = job.recipe("x.parquet", 0.01)
        assert recipe.training.seed == job.seed
        if job.variant.name.startswith("without-"):
            assert job.variant.name.removeprefix("without-") not in recipe.similarities
            assert len(recipe.similarities) == 4
        if job.variant.name.startswith("steps-"):
            assert recipe.training.steps == 100


def test_a_figure_is_drawn_and_written(tmp_path: Path) -> None:
    footwear, noise = study("footwear"), figure("noise")
    accuracies = dict.fromkeys(footwear.labels, 50.0)
    there = {
        "0": {0: result("mscon-equal", 0, accuracies, weights={"colour": 0.3}), 1: result("x", 1, accuracies)},
        "100": {0: result("mscon-equal", 0, accuracies | {"colour": 40.0}, weights={"colour": 0.1})},
    }
    method = next(each for each in methods(footwear) if each.name == "mscon-equal")
    drawn = chart(noise, footwear, [Line(method, there)], quick=True)
    assert drawn.panels["colour"][method.title] == {"0": [50.0, 50.0], "100": [40.0]}
    assert drawn.panels["weight of colour, % of all"][method.title]["0"] == [30.0]
    lines = list(chart_markdown(drawn))
    assert lines[2] == "| 0 | MSCon, equal weights | 50.0 ± 0.0 | 50.0 ± 0.0 | 50.0 ± 0.0 | 30.0 | 2 |"
    assert lines[3] == "| 100 | MSCon, equal weights | 50.0 ± 0.0 | 40.0 ± 0.0 | 50.0 ± 0.0 | 10.0 | 1 |"
    for path in (tmp_path / "one.svg", tmp_path / "two.svg"):
        draw(drawn, path)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert "MSCon, equal weights" in (tmp_path / "one.svg").read_text()


def test_a_figure_has_every_seed_that_is_there_however_many_were_asked_for(small: Study, tmp_path: Path) -> None:
    method = next(each for each in methods(small) if each.name == "mscon-equal")
    asked = [Job(small, True, method, 0, 0.003), *(Job(small, True, method, seed) for seed in (0, 1, 25))]
    for job in asked:
        made = {"study": small.digest, "recipe": tables_of(job.recipe("", 0.003))}
        result(method.name, job.seed, dict.fromkeys(small.labels, 50.0), **made).write(job.result(tmp_path))
    (line,) = read_lines(figure("temperature"), small, tmp_path, quick=True)
    assert {place: list(seeds) for place, seeds in line.results.items()} == {"0.1": [0, 1, 25]}


def test_transfer_and_retrieval_are_read_from_the_tables_results(small: Study) -> None:
    measures = {
        "transfer": {"1": {"character": 0.25}},
        "retrieval": {"shared": {"character": {"map_at_r": 0.5, "precision_1": 0.75, "precision_10": 0.6}}},
    }
    found = {"simclr": [result("simclr", 0, {"character": 80.0}, measures=measures)]}
    drawn = transfer(small, methods(small), found)
    assert drawn.panels["character"]["SimCLR"]["1"] == [25.0]
    assert drawn.panels["character"]["SimCLR"]["100"] == [80.0]
    assert not drawn.panels["weight"]
    assert list(retrieval(small, methods(small), found))[2] == "| SimCLR | shared | 50.0 / 75.0 / 60.0 |  |  |  | 1 |"

"""Jobs done for real: a result is written once, counts while its recipe is the same, and survives being stopped."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from filelock import FileLock

from mscon.data.originals.bird_attributes import SINGLE
from mscon.embed import embed_pixels
from mscon.errors import UserError
from mscon.evaluate import probe_categorical
from mscon.experiments.comparison import cells, compare
from mscon.experiments.figures import FIGURES, figure
from mscon.experiments.floors import read_floors, take_floors
from mscon.experiments.jobs import Job, tables_of
from mscon.experiments.methods import chosen, methods
from mscon.experiments.reproduce import Left, Plan, commands, comparisons, find_job, run_jobs
from mscon.experiments.results import chosen_rate, packed, read_result, result_of, unpacked
from mscon.experiments.scoring import SHARES, STRENGTHS, study_labels
from mscon.experiments.studies import Preset, Study, study
from mscon.experiments.variants import Variant
from mscon.experiments.work import Places, TakenError, do
from mscon.interrupt import InterruptedRun
from mscon.run import Run
from original_trees import medic_tree, zappos_tree


def job(small: Study, method: str = "mscon-equal", seed: int = 0, rate: float | None = 0.003) -> Job:
    return Job(small, False, chosen(methods(small), [method])[0], seed, rate)


def test_bits_come_back_as_they_were() -> None:
    bits = np.random.default_rng(0).random(37) < 0.3
    np.testing.assert_array_equal(unpacked(packed(bits), 37), bits)


def test_a_job_leaves_one_result_and_a_run(small: Study, places: Places) -> None:
    one = job(small)
    result = do(one, places)
    assert read_result(one.result(places.results)) == result == result_of(one, places.results)
    assert one.result(places.results) == places.results / "letters" / "mscon-equal" / "search" / "0.003.json"
    run = Run.open(places.run(one))
    assert not run.checkpoints.exists()
    assert set(result.scores) == {"character", "weight", "slant", "typeface"}
    data = run.prepare()
    embedding = embed_pixels(run.model(), data.pixels.array)
    probes = probe_categorical(embedding, study_labels(small, data), data.split, strengths=STRENGTHS)
    for name, probe in probes.items():
        assert result.accuracy(name) == pytest.approx(100 * probe.accuracy, abs=1e-3)
        np.testing.assert_array_equal(result.was_correct(name), probe.correct)
    assert result.measures == {}, "what only searches is not measured further"
    assert result.weights == {"character": 0.5, "weight": 0.5}
    assert "source" not in result.recipe["catalog"]


def test_the_search_trains_the_first_seed_which_is_measured_further(small: Study, places: Places) -> None:
    searching = {rate: do(job(small, rate=rate), places) for rate in small.full.learning_rates}
    first = job(small, rate=None)
    result = do(first, places)
    found = searching[result.learning_rate]
    assert (result.scores, result.seconds["training"]) == (found.scores, found.seconds["training"])
    assert not places.run(first).exists()
    assert set(result.measures["transfer"]) == set(map(str, SHARES))
    assert set(result.measures["retrieval"]) == {"shared", "head character", "head weight", "heads"}
    assert set(result.measures["paper_probe"]) == set(small.labels)
    assert result.measures["paper_probe"]["character"] > 0.3
    first.result(places.results).unlink()
    shutil.rmtree(places.runs)
    again = do(first, places)
    assert (again.scores, again.measures) == (result.scores, result.measures)
    assert again.searched == result.searched
    assert places.run(first).exists(), "trained anew, its training being gone"


def test_floors_are_taken_once_and_stand_first_in_the_table(small: Study, places: Places) -> None:
    first = job(small)
    assert read_floors(first, places) == {}
    take_floors(first, places)
    path = places.results / "letters" / "floors.json"
    written = path.stat().st_mtime_ns
    take_floors(first, places)
    assert path.stat().st_mtime_ns == written
    floors = read_floors(first, places)
    assert read_floors(first, places, "0123456789ab") == {}, "those of other test items"
    assert read_floors(first, places, json.loads(path.read_text())["items"]) == floors
    classical = floors["nothing: classical features"]
    assert set(classical) == set(small.labels)
    assert floors["nothing: plain pixels"]["character"] <= classical["character"] <= 100
    table = compare(small, methods(small), {}, floors=floors)
    assert [row.title for row in table.rows] == ["nothing: plain pixels", "nothing: classical features"]
    heads, body = cells(table)
    assert body[1][heads.index("mean")] == f"{(classical['character'] + classical['weight']) / 2:.1f}"
    assert body[1][-3:] == ["", "", ""]
    recipe = {**small.full.recipe, "image": {"size": 24}}
    smaller = small.model_copy(update={"full": Preset(recipe=recipe, learning_rates=small.full.learning_rates)})
    assert read_floors(job(smaller), places) == {}, "those of another size of image"


def test_what_is_done_is_not_done_again_unless_its_recipe_is_another(small: Study, places: Places) -> None:
    one = job(small)
    do(one, places)
    path = one.result(places.results)
    before = path.stat().st_mtime_ns
    assert do(one, places).seed == 0
    assert path.stat().st_mtime_ns == before
    table = json.loads(path.read_text())
    del table["recipe"]["model"]["heads"]  # as one written before there was such a key
    path.write_text(json.dumps(table))
    assert result_of(one, places.results) is not None
    table["recipe"]["training"]["epochs"] = 7
    path.write_text(json.dumps(table))
    assert result_of(one, places.results) is None
    do(one, places)
    assert json.loads(path.read_text())["recipe"]["training"]["epochs"] == 2


def test_a_file_that_is_no_result_is_named(small: Study, places: Places) -> None:
    path = job(small).result(places.results)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(UserError, match=r"0.003.json: not a result that can be read"):
        result_of(job(small), places.results)


class Stop:
    """A display that presses Ctrl-C at the first record."""

    pressed = False

    def decoding(self, done: int, total: int) -> None: ...

    def started(self, run: object, data: object, position: object, steps: int) -> None: ...

    def logged(self, record: dict) -> None:
        if not self.pressed:
            self.pressed = True
            os.kill(os.getpid(), signal.SIGINT)


def test_a_job_that_was_stopped_goes_on_to_the_same_result(small: Study, places: Places, tmp_path: Path) -> None:
    whole = do(job(small), replace(places, results=tmp_path / "whole", runs=tmp_path / "elsewhere"))
    with pytest.raises(InterruptedRun):
        do(job(small), places, display=Stop())
    assert result_of(job(small), places.results) is None
    resumed = do(job(small), places)
    assert resumed.scores == whole.scores
    assert resumed.correct == whole.correct


def test_a_job_in_another_process_hands_is_left_to_it(small: Study, places: Places) -> None:
    one = job(small)
    folder = places.run(one)
    folder.parent.mkdir(parents=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        with pytest.raises(TakenError):
            do(one, places)
        assert run_jobs([one], places) == Left((one,), {})
    assert not one.result(places.results).exists()


def test_rates_are_chosen_by_what_is_held_out_and_learned_alone(small: Study, places: Places) -> None:
    numbered = job(small, rate=None)
    with pytest.raises(UserError, match="not chosen yet"):
        do(numbered, places)
    made = do(job(small), places)
    better = {"accuracy": 1.0, "validation": 1.0}
    worse = {"accuracy": 0.0, "validation": 0.0}

    def write(rate: float, own: dict, ood: dict) -> None:
        scores = {name: {**each, **(own if name in small.similarities else ood)} for name, each in made.scores.items()}
        recipe = {**made.recipe, "training": {**made.recipe["training"], "lr": rate}}
        path = job(small, rate=rate).result(places.results)
        replace(made, scores=scores, learning_rate=rate, recipe=recipe).write(path)

    half = {"accuracy": 1.0, "validation": 0.4}
    write(0.001, {"accuracy": 0.0, "validation": 0.5}, worse)
    assert chosen_rate(numbered, places.results) in (0.001, 0.003)
    write(0.003, half, better)
    assert chosen_rate(numbered, places.results) == 0.001, "test items and labels out of the domain have no say"
    result = do(numbered, places)
    assert (result.learning_rate, result.searched) == (0.001, {"0.001": 50.0, "0.003": 40.0})
    assert numbered.result(places.results).name == "0.json"


def test_a_study_goes_from_nothing_to_its_table(small: Study, places: Places) -> None:
    plan = Plan.of(small, quick=True, wanted=["mscon-equal", "simclr"], seeds=2)
    keys = [f"{each}/search/0.003" for each in ("mscon-equal", "simclr")]
    assert list(commands(plan.jobs, places, study="l.toml")) == [
        f"mscon reproduce l.toml --run {key} --quick" for key in keys
    ]
    told: list[str] = []
    assert run_jobs(plan.jobs, places, done=lambda job, _: told.append(job.key)) == Left((), {})
    assert told == [
        *("mscon-equal/search/0.003", "simclr/search/0.003", "mscon-equal/0", "simclr/0", "mscon-equal/1", "simclr/1")
    ]
    assert list(commands(plan.jobs, places, study="l.toml")) == []
    assert run_jobs(plan.jobs, places, done=lambda job, _: told.append("again")) == Left((), {})
    assert "again" not in told
    found = {row.method: row for row in comparisons(plan, places)[0].rows}
    assert [found[name].seeds for name in ("simclr", "mscon-equal")] == [2, 2]
    with pytest.raises(UserError, match="there is no such training"):
        find_job(plan.jobs, "mscon-equal/7")


def test_what_is_left_of_another_training_is_not_gone_on_with(small: Study, places: Places, tmp_path: Path) -> None:
    """A removal that was cut short has taken the recipe, and left the checkpoints."""
    whole = do(job(small), replace(places, results=tmp_path / "whole", runs=tmp_path / "elsewhere"))
    recipe = {**small.full.recipe, "training": {**small.full.recipe["training"], "epochs": 4}}
    longer = small.model_copy(update={"full": Preset(recipe=recipe, learning_rates=small.full.learning_rates)})
    with pytest.raises(InterruptedRun):
        do(job(longer), places, display=Stop())
    (places.run(job(small)) / "recipe.toml").unlink()
    assert do(job(small), places).scores == whole.scores


def test_a_run_whose_device_or_place_changed_is_gone_on_with(small: Study, places: Places, tmp_path: Path) -> None:
    with pytest.raises(InterruptedRun):
        do(job(small), places, display=Stop())
    moved = places.runs.rename(tmp_path / "moved")
    result = do(job(small), replace(places, runs=moved))
    assert result.scores == do(job(small), replace(places, runs=tmp_path / "r", results=tmp_path / "other")).scores


def test_a_changed_study_is_asked_again(small: Study, places: Places) -> None:
    do(job(small), places)
    fewer = small.model_copy(update={"ood": ("slant",)})
    assert result_of(job(fewer), places.results) is None
    assert set(do(job(fewer), places).scores) == {"character", "weight", "slant"}
    known = small.model_copy(update={"missing": {}})
    with_stix = do(job(known), places)
    assert with_stix.scores["typeface"]["n"] > do(job(small), places).scores["typeface"]["n"]


def test_a_rate_that_diverges_is_not_chosen_and_stops_nothing(small: Study, places: Places) -> None:
    recipe = {**small.full.recipe, "training": {**small.full.recipe["training"], "optimizer": "sgd", "warmup": 0.0}}
    wild = small.model_copy(update={"full": Preset(recipe=recipe, learning_rates=(0.003, 1e30))})
    plan = Plan.of(wild, quick=False, wanted=["mscon-equal"], seeds=1)
    assert run_jobs(plan.jobs, places) == Left((), {})
    assert chosen_rate(plan.jobs[-1], places.results) == 0.003
    failed = [found.failed for one in plan.jobs if (found := read_result(one.result(places.results)))]
    assert sum("not finite any more" in each for each in failed) == 1
    assert [row.seeds for row in comparisons(plan, places)[0].rows] == [1]


def test_a_training_that_cannot_be_done_does_not_keep_the_others(small: Study, places: Places) -> None:
    large = replace(job(small), variant=Variant("large", {"training.batch_size": 100_000}), learning_rate=0.003)
    left = run_jobs([large, job(small)], places)
    assert "training.batch_size: a batch of 100,000" in left.failed["large/mscon-equal/search/0.003"]
    assert result_of(job(small), places.results)


def test_once_the_search_is_done_every_point_of_a_figure_can_be_trained(small: Study, places: Places) -> None:
    result = do(Job(small, True, job(small).method, 0, 0.003), places)
    for method in methods(small):
        one = Job(small, True, method, 0, 0.003)
        replace(result, method=method.name, recipe=tables_of(one.recipe("", 0.003))).write(one.result(places.results))
    for name in FIGURES:
        for one in figure(name).jobs(small, quick=True, seeds=2):
            assert one.learning_rate is not None or chosen_rate(one, places.results) == 0.003, one.key
    noisy = next(one for one in figure("noise").jobs(small, quick=True, seeds=1) if one.variant.name == "noise-100")
    found = do(noisy, places)
    assert found.variant == "noise-100"
    assert noisy.result(places.results).parent.parent.name == "noise-100"
    assert found.scores["weight"]["n"] == result.scores["weight"]["n"], "scored on labels as they are"


@pytest.mark.parametrize(
    ("name", "tree"), [("zappos50k", zappos_tree), ("zappos50k-groups", zappos_tree), ("medic", medic_tree)]
)
def test_a_study_reads_its_original_files(name: str, tree: object, tmp_path: Path) -> None:
    tree(tmp_path)  # type: ignore[operator]
    found = study(name)
    table = found.table(tmp_path)
    assert set(found.labels) <= set(table.columns)
    assert Path(table["image"][0]).exists()
    if name == "zappos50k-groups":
        assert (table["split"] == table["split_by_group"]).all()
        assert found.published == {}
        assert table.group_by("group_id").agg(pl.col("split").n_unique())["split"].max() == 1


def test_the_birds_attributes_are_ones_of_which_a_bird_has_one() -> None:
    assert set(study("cub200").labels) <= {"species", *SINGLE}

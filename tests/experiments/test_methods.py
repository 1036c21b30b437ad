"""Methods and studies: every recipe is valid, and methods differ in what they are about alone."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mscon.errors import UserError
from mscon.experiments.jobs import Job, recipe_hash, search, seeds, tables_of
from mscon.experiments.methods import chosen, methods
from mscon.experiments.studies import Study, find_root, study
from mscon.experiments.tables import laid_over, names
from mscon.recipe import Recipe
from original_trees import medic_tree

STUDIES = ("clothing", "cub200", "footwear", "medic", "zappos50k", "zappos50k-groups")


def test_these_are_the_studies() -> None:
    assert tuple(names("studies")) == STUDIES


@pytest.mark.parametrize("quick", [False, True], ids=["full", "quick"])
@pytest.mark.parametrize("name", STUDIES)
def test_every_method_is_a_recipe_and_differs_in_what_it_is_about_alone(name: str, quick: bool) -> None:
    found = study(name)
    recipes = [Job(found, quick, each, 0).recipe("x.parquet", 0.01).model_dump() for each in methods(found)]
    for recipe in recipes:
        for section in ("catalog", "image", "views", "training"):
            assert recipe[section] == recipes[0][section]
        own = {"heads", "head_layers"}
        assert {key: value for key, value in recipe["model"].items() if key not in own} == {
            key: value for key, value in recipes[0]["model"].items() if key not in own
        }
        assert recipe["objective"]["temperature"] == recipes[0]["objective"]["temperature"]


def test_what_trains_under_each_label_is_a_method_for_each() -> None:
    found = methods(study("footwear"))
    assert len(found) == len({each.name for each in found}) == 21
    by_name = {each.name: each for each in found}
    assert list(by_name["supcon-colour"].similarities) == ["colour"]
    assert by_name["supcon-joint"].similarities == {"joint": {"joint": ["category", "gender", "colour"]}}
    assert list(by_name["mscon-excess-instance"].similarities) == ["category", "gender", "colour", "instance"]
    assert list(by_name["mscon-appearance"].similarities) == ["category", "gender", "colour", "appearance"]
    assert list(by_name["mscon-instance-appearance"].similarities) == [
        *("category", "gender", "colour"),
        *("instance", "appearance"),
    ]
    assert list(by_name["simclr"].similarities) == ["instance"]


def test_a_family_stands_for_its_methods() -> None:
    found = methods(study("footwear"))
    assert [each.name for each in chosen(found, ["supcon"])] == ["supcon-category", "supcon-gender", "supcon-colour"]
    assert [each.name for each in chosen(found, ["csn", "supcon-joint"])] == ["supcon-joint", "csn"]
    with pytest.raises(UserError, match=r"no method 'mscon-exces'.*mscon-excess"):
        chosen(found, ["mscon-exces"])


def test_the_papers_settings_are_a_recipe() -> None:
    recipe = Job(study("zappos50k"), False, methods(study("zappos50k"))[0], 0).recipe("x.parquet", 0.05)
    model, training = recipe.model, recipe.training
    assert (model.backbone, model.embedding_dim, model.embedding_norm) == ("resnet18.tv_in1k", 128, False)
    assert (model.head_layers, model.head_width, model.head_dim, model.head_norm) == (2, 128, 32, False)
    assert (training.optimizer, training.nesterov, training.decay, training.epochs) == ("sgd", False, 0.985, 200)
    assert (training.batch_size, training.weight_decay, recipe.objective.temperature) == (64, 1e-4, 0.07)
    assert recipe.image.size == 112


def test_jobs_come_so_that_every_table_is_whole_before_it_gets_more(small: Study) -> None:
    all_methods = methods(small)
    found = list(search(small, all_methods, quick=False))
    count = len(all_methods)
    assert [job.learning_rate for job in found] == [0.003] * count + [0.001] * count
    assert [job.method.name for job in found[:count]] == [each.name for each in all_methods]
    numbered = list(seeds(small, all_methods[:2], quick=False, count=2))
    assert [job.key for job in numbered] == [f"{each.name}/{seed}" for seed in (0, 1) for each in all_methods[:2]]


def test_a_hash_is_of_what_is_asked_and_not_of_the_machine(small: Study) -> None:
    job = Job(small, False, methods(small)[0], 0)
    here, there = job.recipe("/a/x.parquet", 0.01), job.recipe("/b/y.parquet", 0.01)
    assert recipe_hash(here) == recipe_hash(there)
    assert recipe_hash(here) != recipe_hash(job.recipe("/a/x.parquet", 0.02))
    assert recipe_hash(here) != recipe_hash(Job(small, False, methods(small)[0], 1).recipe("/a/x.parquet", 0.01))
    kept = laid_over(tables_of(here), {"catalog": {"source": "elsewhere"}})
    assert recipe_hash(Recipe.of(kept)) == recipe_hash(here)
    assert "source" not in tables_of(here)["catalog"]


def test_missing_values_and_classes_of_numbers_are_made_in_the_catalog(small: Study, letters: Path) -> None:
    table = small.table(letters.parent)
    assert "STIX" not in table["typeface"].drop_nulls().unique()
    assert table["typeface"].null_count() == (pl.read_parquet(letters)["typeface"] == "STIX").sum() > 0
    training = table.filter(split="train")
    counts = training["darkness"].value_counts()["count"].to_numpy()
    assert len(counts) == 3
    assert counts.max() - counts.min() <= 2
    means = [training.filter(darkness=each)["ink"].mean() for each in "012"]
    assert means == sorted(means, key=lambda each: float(np.asarray(each)))


def test_a_study_that_cannot_be_read_says_why(small: Study, study_file: Path, letters: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no study 'footware'. Did you mean 'footwear'"):
        study("footware")
    study_file.write_text(study_file.read_text().replace("about", "abuot"))
    with pytest.raises(UserError, match=r"about: Field required\. See docs/reproduce.md"):
        study(str(study_file))
    study_file.write_text("about = ")
    with pytest.raises(UserError, match="not a study that can be read"):
        study(str(study_file))
    with pytest.raises(UserError, match=r"letters.parquet is not there: name the folder .* with --root"):
        small.table(tmp_path)
    table = pl.read_parquet(letters)
    table.drop("weight").write_parquet(tmp_path / "letters.parquet")
    with pytest.raises(UserError, match="has no column 'weight'"):
        small.table(tmp_path)
    unknown = pl.when(pl.col("split") != "train").then("ink").otherwise(float("nan"))
    table.with_columns(ink=unknown).write_parquet(tmp_path / "letters.parquet")
    with pytest.raises(UserError, match="no train row has a number in 'ink'"):
        small.table(tmp_path)


def test_a_study_may_be_like_one_that_is_like_another(study_file: Path) -> None:
    study_file.write_text('like = "zappos50k-groups"\nabout = "Fewer of its labels"\nood = []\n')
    found, groups = study(str(study_file)), study("zappos50k-groups")
    assert (found.data, found.split, found.ood) == ("zappos50k", "split_by_group", ())
    assert (found.similarities, found.full) == (groups.similarities, groups.full)
    study_file.write_text('like = "zappos"\n')
    with pytest.raises(UserError, match=r"like: there is no study 'zappos'\. Did you mean 'zappos50k"):
        study(str(study_file))


def test_original_files_that_lack_a_label_are_named_by_their_folder(tmp_path: Path) -> None:
    medic_tree(tmp_path)
    asked = study("medic").model_copy(update={"ood": ("colour",)})
    with pytest.raises(UserError, match=rf"{tmp_path.name} has no column 'colour'"):
        asked.table(tmp_path)


def test_data_is_where_it_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MSCON_DATA", raising=False)
    with pytest.raises(UserError, match="where is the data of footwear"):
        find_root("footwear", None)
    monkeypatch.setenv("MSCON_DATA", str(tmp_path))
    with pytest.raises(UserError, match="there is no such folder"):
        find_root("footwear", None)
    (tmp_path / "footwear").mkdir()
    assert find_root("footwear", None) == tmp_path / "footwear"

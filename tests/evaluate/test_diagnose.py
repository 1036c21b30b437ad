"""Diagnosing a run: its figures are those of the equations on held-out items, its bounds those of the weightings."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from mscon.data.information import shared_information
from mscon.data.views import apply_views, draw_views
from mscon.embed import embed_pixels
from mscon.evaluate import diagnose as diagnosis
from mscon.evaluate.diagnose import at_bound, diagnose
from mscon.evaluate.geometry import effective_rank, linear_cka
from mscon.objective import MSConLoss
from mscon.prepare import Prepared, prepare
from mscon.recipe import Recipe
from mscon.run import Run
from mscon.similarity import Categorical, Instance
from mscon.terms import BatchTerms
from mscon.train import train
from mscon.weighting import AnyWeighting, Excess, Fixed, Uncertainty


@pytest.fixture(scope="module")
def trained(letters: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Prepared, Tensor]:
    """A run on letters whose character is given twice, and their instance; its labels are not all there."""
    folder = tmp_path_factory.mktemp("diagnose")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSCON_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        table = pl.read_parquet(letters).with_columns(
            again=pl.when(pl.int_range(pl.len()) % 4 > 0).then(pl.col("character"))
        )
        table.write_parquet(folder / "letters.parquet")
        recipe = Recipe.of(
            {
                "catalog": {"source": str(folder / "letters.parquet")},
                "similarities": {"character": {}, "again": {}, "instance": {}},
                "image": {"size": 32},
                "views": {"flip": 0.0},
                "model": {"backbone": "test_resnet", "stages": [], "head_dim": 16, "head_width": 64},
                "training": {"epochs": 6, "batch_size": 32, "precision": "32-true", "device": "cpu"},
            }
        )
        run = train(recipe, folder / "run")
        data = prepare(recipe, labels=run.labels)
        return run, data, embed_pixels(run.model(), data.pixels.array)


def test_figures_of_a_run_are_those_of_the_equations(trained: tuple[Run, Prepared, Tensor]) -> None:
    run, data, embeddings = trained
    facts = diagnose(run, data, embeddings)
    val = np.sort(data.split.val)
    model = run.model()
    z = {name: model.project_embedding(embeddings[val], name) for name in model.similarities}
    assert facts.items == len(val)
    assert facts.effective_rank == pytest.approx(effective_rank(embeddings[val]), rel=1e-4)
    assert [head.name for head in facts.heads] == ["character", "again", "instance"]
    assert [(pair.first, pair.second) for pair in facts.pairs] == [
        ("character", "again"),
        ("character", "instance"),
        ("again", "instance"),
    ]
    for pair in facts.pairs:
        assert pair.cka == pytest.approx(linear_cka(z[pair.first], z[pair.second]), rel=1e-4)
    first = facts.pairs[0]
    assert first.shared_information == pytest.approx(shared_information(data.values["character"], data.values["again"]))
    assert facts.pairs[1].shared_information is None
    assert first.gradient_cosine is not None
    assert first.gradient_cosine > 0.2
    assert all(head.relative_excess is not None and 0 < head.relative_excess < 1.2 for head in facts.heads)
    assert sum(head.weight or 0 for head in facts.heads) == pytest.approx(3, rel=1e-4)
    assert [head.repeats for head in facts.heads] == [None] * 3, "a copy has all that is copied"
    assert facts.weighting == "excess"
    assert facts.heads[2].alone == 0.0  # an item always finds its own other view


def test_gradient_cosines_are_those_of_the_losses_written_out(
    trained: tuple[Run, Prepared, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "SAMPLE", 32)  # a single batch
    run, data, embeddings = trained
    model = run.model()
    rows = np.random.default_rng(0).permutation(data.split.val)[:32]
    item = torch.from_numpy(rows).repeat(2)
    drawn = draw_views(64, run.recipe.run_views, generator=torch.Generator().manual_seed(0))
    images = torch.from_numpy(data.pixels.array[item.numpy()]).permute(0, 3, 1, 2)
    h = model.embed(apply_views(images, drawn)).clone().requires_grad_()
    gradients = []
    for head, kind, values in zip(
        model.heads,
        (Categorical(), Categorical(), Instance()),
        (torch.from_numpy(data.values["character"])[item], torch.from_numpy(data.values["again"])[item], item),
        strict=True,
    ):
        out = MSConLoss({"one": kind}, temperature=0.1)({"one": head(h)}, {"one": values})
        gradients.append(torch.autograd.grad(out.total, h)[0].flatten())
    found = [pair.gradient_cosine for pair in diagnose(run, data, embeddings).pairs]
    expected = [float(torch.cosine_similarity(gradients[i], gradients[j], dim=0)) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_run_without_checkpoints_has_no_weights_but_all_else(
    trained: tuple[Run, Prepared, Tensor], tmp_path: Path
) -> None:
    run, data, embeddings = trained
    bare = replace(run, folder=tmp_path)
    run.model().save(bare.model_path)
    facts, whole = diagnose(bare, data, embeddings), diagnose(run, data, embeddings)
    assert {(head.weight, head.bound) for head in facts.heads} == {(None, None)}
    assert facts.pairs == whole.pairs


def test_a_checkpoint_that_cannot_be_read_gives_way_to_the_one_before(
    trained: tuple[Run, Prepared, Tensor], tmp_path: Path
) -> None:
    run, data, embeddings = trained
    hurt = replace(run, folder=tmp_path / "hurt")
    shutil.copytree(run.folder, hurt.folder)
    (hurt.checkpoints / "step-99999999.safetensors").write_bytes(bytes(20))
    assert diagnose(hurt, data, embeddings) == diagnose(run, data, embeddings)


def test_a_copy_is_told_where_it_learns_in_silence(trained: tuple[Run, Prepared, Tensor]) -> None:
    run, data, embeddings = trained
    whole = replace(data, values=data.values | {"again": data.values["character"]})
    assert [head.repeats for head in diagnose(run, whole, embeddings).heads] == [None, "character", None]


def weighed_by(weighting: AnyWeighting) -> MSConLoss:
    names = "abcd"[: weighting.similarities]
    return MSConLoss(dict.fromkeys(names, Categorical()), weighting=weighting)


def observed(excess: list[float]) -> Excess:
    weighting = Excess(len(excess))
    one = torch.ones(len(excess))
    terms = BatchTerms(torch.tensor(excess), 0 * one, one, one.long(), one)
    weighting(terms)
    return weighting


def test_excess_is_at_its_least_where_all_labels_look_like_chance() -> None:
    assert at_bound(weighed_by(observed([0.01, 0.5, 1.3]))) == [None, None, "least"]
    assert at_bound(weighed_by(Excess(3))) == [None] * 3  # nothing seen yet
    assert at_bound(weighed_by(observed([1.3]))) == [None], "the only one has all the weight"


def test_uncertainty_is_at_a_bound_where_its_variance_is_clamped() -> None:
    for paper in (False, True):
        weighting = Uncertainty(4, paper=paper)
        weighting.log_variance.data = torch.tensor([-4.5, -3.9, 0.0, 4.0])
        assert at_bound(weighed_by(weighting)) == ["most", None, None, "least"]


def test_fixed_weights_are_at_no_bound() -> None:
    assert at_bound(weighed_by(Fixed([1.0, 0.0]))) == [None, None]


@pytest.mark.parametrize(
    "arguments", [{"weighting": "uncertainty-exact"}, {"weighting": "equal", "learn_temperature": True}]
)
def test_a_temperature_that_stays_at_a_bound_is_told(arguments: dict) -> None:
    loss_fn = MSConLoss(dict.fromkeys("abc", Categorical()), **arguments)
    z = {name: torch.eye(6) for name in "abc"}
    codes = {name: torch.arange(6) // 2 for name in "abc"}
    with torch.no_grad():
        loss_fn.temperatures.log_temperature.add_(torch.tensor([9.0, -9.0, 0.0]))
    loss_fn(z, codes)  # which holds it there
    assert at_bound(loss_fn) == ["hottest", "coldest", None]

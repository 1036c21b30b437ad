"""What a recipe asks for, built: rates that rise and fall, and every parameter in one group."""

from math import cos, pi
from pathlib import Path

import polars as pl
import pytest
import torch

from mscon.build import new_model, new_objective, new_optimizer, rate_factor, set_rates
from mscon.errors import UserError
from mscon.prepare import prepare
from mscon.recipe import Recipe
from mscon.weighting import Classes, Excess


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (7, 0.05), (100, 0.0), (100, 0.3), (1000, 0.05)])
def test_rates_rise_to_their_highest_and_fall_as_a_cosine(steps: int, warmup: float) -> None:
    factors = [rate_factor(step, steps, warmup=warmup) for step in range(steps)]
    rising = [step for step in range(steps) if step < warmup * steps]
    after = factors[len(rising) :]
    assert min(factors) > 0.0
    assert max(factors) == after[0] <= 1.0
    assert factors[: len(rising)] == sorted(factors[: len(rising)])
    assert after == sorted(after, reverse=True)
    length = steps - warmup * steps
    for step, factor in enumerate(after, start=len(rising)):
        assert factor == pytest.approx(0.5 + 0.5 * cos(pi * (step - warmup * steps) / length))


def test_a_rate_that_decays_does_so_once_an_epoch() -> None:
    factors = [rate_factor(step, 50, warmup=0.1, decay=0.9, epoch=step // 5) for step in range(50)]
    assert factors[5:] == pytest.approx([0.9 ** (step // 5) for step in range(5, 50)])
    assert factors[:5] == sorted(factors[:5])


def test_every_group_keeps_its_share_of_the_rate(tiny: dict) -> None:
    recipe = Recipe.of(tiny, {"objective.weighting": "uncertainty", "objective.weighting_lr": 0.5})
    optimizer = new_optimizer(recipe, new_model(recipe, pretrained=False), new_objective(recipe, prepare(recipe)))
    for step in (3, 90, 12):  # in any order: a rate depends on the step alone
        set_rates(optimizer, step, 100, recipe.training, epoch=step // 10)
        factor = rate_factor(step, 100, warmup=0.05)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([3e-3 * factor] * 2 + [0.5 * factor])


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("weighting", ["equal", "uncertainty", "paper"])
def test_every_parameter_is_in_one_group_and_only_matrices_decay(tiny: dict, optimizer: str, weighting: str) -> None:
    change = {"training.optimizer": optimizer, "objective.paper": weighting == "paper"}
    recipe = Recipe.of(tiny, change | {"objective.weighting": weighting.replace("paper", "uncertainty")})
    model, loss_fn = new_model(recipe, pretrained=False), new_objective(recipe, prepare(recipe))
    groups = new_optimizer(recipe, model, loss_fn).param_groups
    learned = [*model.parameters(), *loss_fn.parameters()]
    assert sorted(map(id, learned)) == sorted(id(p) for group in groups for p in group["params"])
    decayed = {id(p) for group in groups if group["weight_decay"] > 0 for p in group["params"]}
    matrices = {id(p) for p in model.parameters() if p.ndim > 1}
    assert decayed == matrices | ({id(p) for p in loss_fn.parameters()} if weighting == "paper" else set())


def test_labels_that_say_the_same_share_their_weight(tiny: dict) -> None:
    # The temperature of its own makes it another similarity of the same label: both lead the encoder.
    again = {"similarities.again": {"column": "character", "temperature": 0.2}, "similarities.instance": {}}
    recipe = Recipe.of(tiny, again)
    weighting = new_objective(recipe, prepare(recipe)).weighting
    assert isinstance(weighting, Excess)
    count = dict(zip(recipe.similarities, weighting.multiplicity.tolist(), strict=True))
    assert [count["character"], count["again"]] == pytest.approx([2.0, 2.0], abs=0.05)
    assert count["weight"] == pytest.approx(1.0, abs=0.05), "every character stands there in every weight"
    assert count["instance"] == 1.0


def test_a_label_that_few_items_have_takes_little_from_one_that_all_have(tiny: dict, tmp_path: Path) -> None:
    some = pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.col("character"))
    pl.read_parquet(tiny["catalog"]["source"]).with_columns(again=some).write_parquet(tmp_path / "letters.parquet")
    recipe = Recipe.of(tiny, {"catalog.source": str(tmp_path / "letters.parquet"), "similarities.again": {}})
    weighting = new_objective(recipe, prepare(recipe)).weighting
    assert isinstance(weighting, Excess)
    count = dict(zip(recipe.similarities, weighting.multiplicity.tolist(), strict=True))
    assert [count["character"], count["again"]] == pytest.approx([1.25, 1.25], abs=0.06)


def test_the_weighting_knows_the_classes_of_the_training_items(tiny: dict) -> None:
    recipe = Recipe.of(tiny, {"similarities.instance": {}})
    data = prepare(recipe)
    weighting = new_objective(recipe, data).weighting
    assert isinstance(weighting, Excess)
    known = Classes(weighting.class_share, weighting.class_mass)
    for place, name in enumerate(("character", "weight")):
        counts = torch.bincount(torch.from_numpy(data.values[name][data.split.train])).double()
        entropy = -torch.xlogy(counts / counts.sum(), counts / counts.sum()).sum()
        torch.testing.assert_close(known.entropy[place], entropy)
        assert float(known.count[place]) == pytest.approx(len(counts))
    assert not known.mass[2].any()


def test_an_audit_that_would_come_too_late_is_refused(tiny: dict) -> None:
    with pytest.raises(UserError, match="the first audit after 3 of 3 epochs would come when the training is over"):
        Recipe.of(tiny, {"training.audit_epochs": 3})

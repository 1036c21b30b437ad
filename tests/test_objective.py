"""MSConLoss as its users call it, and what the relative excess says of clean and of noisy similarities."""

import math
from typing import Any, Literal
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from mscon import Categorical, Instance, MSConLoss, contrastive_loss, supcon_loss
from mscon.contrast import Engine, LabelTargets
from mscon.held_out import TEMPERS
from mscon.similarity import Appearance, Continuous, Hierarchy, Pairs, RankNContrast, Similarity, Tags, balanced_weights
from mscon.weighting import Excess, Uncertainty, WeightingName


def simplex(classes: int) -> Tensor:
    """Unit vectors with pairwise cosine −1/(K−1): as far apart as K points can be."""
    centred = torch.eye(classes) - 1.0 / classes
    return torch.nn.functional.normalize(centred, dim=1)


def test_total_is_the_weighted_sum_of_the_similarities_losses() -> None:
    projections = {
        "category": torch.randn(12, 8, requires_grad=True),
        "closure": torch.randn(12, 5, requires_grad=True),
    }
    labels = {"category": torch.arange(12) % 3, "closure": torch.arange(12) % 4 - 1}
    loss_fn = MSConLoss(
        {"category": Categorical(), "closure": Categorical()},
        temperature={"category": 0.1, "closure": 0.3},
        weighting={"category": 3.0, "closure": 1.0},
    )
    out = loss_fn(projections, labels)
    category = supcon_loss(projections["category"], labels["category"], temperature=0.1)
    closure = supcon_loss(projections["closure"], labels["closure"], temperature=0.3)
    torch.testing.assert_close(out.total, 1.5 * category + 0.5 * closure)
    out.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in projections.values())
    term = out.terms["closure"]
    assert term.anchors == 9
    torch.testing.assert_close(term.floor, torch.tensor(math.log(2.0)))
    torch.testing.assert_close(term.chance, torch.tensor(math.log(8.0)))
    torch.testing.assert_close(term.excess, term.loss - term.floor)
    torch.testing.assert_close(term.relative_excess, term.excess / (term.chance - term.floor))


def test_instance_pulls_the_views_of_an_item_together() -> None:
    z = torch.randn(8, 4)
    out = MSConLoss({"instance": Instance()}, weighting="equal")(
        {"instance": z}, {"instance": torch.arange(4).repeat(2)}
    )
    torch.testing.assert_close(out.total, supcon_loss(z, torch.arange(4).repeat(2)))


def test_similarity_without_labels_adds_nothing_and_says_so() -> None:
    z = {name: torch.randn(6, 4, requires_grad=True) for name in ("a", "b")}
    loss_fn = MSConLoss({"a": Categorical(), "b": Categorical()})
    out = loss_fn(z, {"a": torch.tensor([0, 0, 1, 1, 0, 1]), "b": torch.full((6,), -1)})
    out.total.backward()
    assert out.total.isfinite()
    assert out.terms["b"].anchors == 0
    assert out.terms["b"].relative_excess.isnan()
    assert z["b"].grad is not None
    assert not z["b"].grad.any()


@pytest.mark.parametrize("engine", ["auto", "dense", "tiled"])
@pytest.mark.parametrize("weighting", ["excess", "equal", "uncertainty"])
def test_a_batch_of_no_rows_adds_nothing_and_says_so(engine: Engine, weighting: WeightingName) -> None:
    numbers: dict[str, Similarity] = {"near": Continuous(), "ranked": RankNContrast()}
    codes: dict[str, Similarity] = {"a": Categorical(), "it": Instance(), "looks": Appearance(torch.eye(3))}
    codes |= {"tags": Tags([("x",)]), "paths": Hierarchy([("x",)]), "linked": Pairs(torch.tensor([[0, 1]]))}
    z = {name: torch.randn(0, 3, requires_grad=True) for name in (*numbers, *codes)}
    labels = {name: torch.empty(0, dtype=torch.float32 if name in numbers else torch.int64) for name in z}
    loss_fn = MSConLoss(numbers | codes, engine=engine, weighting=weighting, learn_temperature=True)
    out = loss_fn(z, labels)
    out.total.backward()
    assert float(out.total.detach()) == 0.0
    for name, term in out.terms.items():
        assert (int(term.anchors), float(term.loss.detach())) == (0, 0.0)
        assert z[name].grad is not None
    assert not loss_fn.held_out_sums(z, labels).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"similarities": {}}, "at least one similarity"),
        ({"similarities": {"a": Categorical()}, "weighting": {"b": 1.0}}, r"weighting names \['b'\]"),
        ({"similarities": {"a": Categorical()}, "temperature": {"b": 1.0}}, r"temperature names \['b'\]"),
        ({"similarities": {"a": Categorical()}, "weighting": {"a": 0.0}}, "not all 0"),
        ({"similarities": {"a": Categorical()}, "temperature": 0.0}, "temperature must be positive"),
        ({"similarities": {"a": Categorical()}, "weighting": Uncertainty(2)}, "is for 2 similarities, there are 1"),
    ],
)
def test_bad_settings_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MSConLoss(**arguments)


def test_the_calibration_is_told_the_temperature() -> None:
    weighting = Excess(2)
    MSConLoss({"a": Categorical(), "b": Categorical()}, temperature={"a": 0.5, "b": 0.2}, weighting=weighting)
    assert weighting.temperatures.tolist() == [0.5, 0.2]


def test_bad_batches_are_refused() -> None:
    loss_fn = MSConLoss({"a": Categorical()})
    with pytest.raises(ValueError, match=r"projections names \['b'\], the similarities are \['a'\]"):
        loss_fn({"b": torch.randn(4, 2)}, {"a": torch.zeros(4, dtype=torch.int64)})
    with pytest.raises(ValueError, match="labels"):
        loss_fn({"a": torch.randn(4, 2)}, {"a": torch.zeros(3, dtype=torch.int64)})


class Equal:
    """What a similarity of one's own may look like at the first try."""

    def targets(self, values: torch.Tensor) -> Any:
        return (values.unsqueeze(1) == values).float()


def test_a_similarity_that_returns_a_matrix_is_told_what_to_return() -> None:
    loss_fn = MSConLoss({"equal": Equal()})
    with pytest.raises(ValueError, match=r"similarities\['equal'\].targets must return targets, such as TypeTargets"):
        loss_fn({"equal": torch.randn(4, 2)}, {"equal": torch.zeros(4, dtype=torch.int64)})


class Known:
    """Another first try: targets over the rows that have a label alone, in place of all."""

    def targets(self, values: torch.Tensor) -> LabelTargets:
        return LabelTargets.of(values[values >= 0])


def test_targets_of_fewer_rows_than_the_batch_has_are_refused() -> None:
    with pytest.raises(ValueError, match="4 projections but labels for 3 rows"):
        MSConLoss({"known": Known()})({"known": torch.randn(4, 2)}, {"known": torch.tensor([0, -1, 1, 1])})


@pytest.mark.parametrize("classes", [2, 200])
@pytest.mark.parametrize("temperature", [0.05, 0.1])
def test_relative_excess_of_a_perfect_batch_is_near_zero(classes: int, temperature: float) -> None:
    codes = torch.arange(classes).repeat_interleave(1000 // classes)
    losses = contrastive_loss(simplex(classes)[codes], LabelTargets.of(codes), temperature=temperature)
    relative = (losses.mean - losses.mean_floor) / (losses.mean_chance - losses.mean_floor)
    assert -1e-4 < float(relative) < 0.02


@pytest.mark.parametrize("classes", [2, 200])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_relative_excess_of_random_projections_is_one(classes: int, temperature: float) -> None:
    codes = torch.arange(classes).repeat_interleave(1000 // classes)
    z = torch.randn(1000, 128, generator=torch.Generator().manual_seed(0))
    losses = contrastive_loss(z, LabelTargets.of(codes), temperature=temperature)
    relative = (losses.mean - losses.mean_floor) / (losses.mean_chance - losses.mean_floor)
    assert float(relative) == pytest.approx(1.0, abs=0.05)


SIMILARITIES = {"clean": Categorical(), "coarse": Categorical(), "fine": Categorical()}


def weights_beside_noise(weighting: Literal["excess", "uncertainty"]) -> dict[str, float]:
    """Heads trained on a clean similarity of 10 classes and two of shuffled labels, of 2 and of 200 classes: mean
    late weights.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 32, generator=generator)
    labels = {
        "clean": x[:, :10].argmax(dim=1),
        "coarse": torch.randint(2, (2000,), generator=generator),
        "fine": torch.randint(200, (2000,), generator=generator),
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        heads = {name: nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32)) for name in labels}
    loss_fn = MSConLoss(SIMILARITIES, temperature=0.1, weighting=weighting)
    own = [{"params": [p for head in heads.values() for p in head.parameters()], "lr": 1e-2}]
    optimiser = torch.optim.Adam(own + loss_fn.parameter_groups(lr=0.02))
    late = []
    for step in range(260):
        rows = torch.randint(2000, (192,), generator=generator)
        out = loss_fn({name: heads[name](x[rows]) for name in labels}, {name: labels[name][rows] for name in labels})
        optimiser.zero_grad()
        out.total.backward()
        optimiser.step()
        if step >= 220:
            late.append([float(out.terms[name].weight) for name in labels])
    return dict(zip(labels, torch.tensor(late).mean(dim=0).tolist(), strict=True))


def test_excess_trusts_the_clean_similarity_and_neither_noise() -> None:
    """Without held-out items: after 25 passes the fine noise is partly known by heart, and still gets little."""
    weights = weights_beside_noise("excess")
    assert sum(weights.values()) == pytest.approx(3.0)
    assert weights["clean"] >= 5.0 * max(weights["coarse"], weights["fine"])


def test_uncertainty_ranks_the_noise_by_its_number_of_classes_and_keeps_trusting_it() -> None:
    weights = weights_beside_noise("uncertainty")
    assert sum(weights.values()) == pytest.approx(3.0)
    assert weights["fine"] > 1.02 * weights["coarse"]
    assert weights["clean"] < 2.0 * weights["coarse"]


def test_joint_uncertainty_is_the_published_sum() -> None:
    weighting = Uncertainty(3, paper=True)
    loss_fn = MSConLoss(SIMILARITIES, weighting=weighting)
    z = {name: torch.randn(30, 6) for name in SIMILARITIES}
    labels = {name: torch.arange(30) % 3 for name in SIMILARITIES}
    out = loss_fn(z, labels)
    expected = sum(supcon_loss(z[name], labels[name]) / math.e + 1.0 for name in SIMILARITIES)
    torch.testing.assert_close(out.total, torch.as_tensor(expected))
    out.total.backward()
    gradient = torch.stack([1.0 - out.terms[name].loss.detach() / math.e for name in SIMILARITIES])
    torch.testing.assert_close(weighting.log_variance.grad, gradient)


def test_held_out_sums_are_those_of_the_loss_at_each_temperature_and_add_up_over_batches() -> None:
    z, labels = overconfident()
    loss_fn = MSConLoss({"a": Categorical()}, temperature=0.1).double()
    sums = loss_fn.held_out_sums({"a": z}, {"a": labels})
    for factor, (anchors, loss, floor, chance) in zip(TEMPERS, sums[..., 0], strict=True):
        losses = contrastive_loss(z, LabelTargets.of(labels), temperature=0.1 * factor)
        assert int(anchors) == int(losses.count)
        torch.testing.assert_close(loss / anchors, losses.mean)
        torch.testing.assert_close(floor / anchors, losses.mean_floor)
        torch.testing.assert_close(chance / anchors, losses.mean_chance)


def test_held_out_labels_are_made_into_targets_once_for_all_temperatures(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Mock(side_effect=LabelTargets.of)
    monkeypatch.setattr(LabelTargets, "of", made)
    z, labels = overconfident()
    MSConLoss({"a": Categorical()}).held_out_sums({"a": z}, {"a": labels})
    assert made.call_count == 1


def test_of_several_views_the_first_counts_but_for_instances() -> None:
    z, labels = overconfident()
    items = torch.arange(30).repeat(2)
    both = MSConLoss({"a": Categorical(), "it": Instance()}, weighting="excess").double()
    sums = both.held_out_sums({"a": z, "it": z}, {"a": labels, "it": items}, views=2)
    of_first = both.held_out_sums({"a": z[:30], "it": z[:30]}, {"a": labels[:30], "it": items[:30]})
    of_all = both.held_out_sums({"a": z, "it": z}, {"a": labels, "it": items})
    torch.testing.assert_close(sums[..., 0], of_first[..., 0])
    torch.testing.assert_close(sums[..., 1], of_all[..., 1])
    assert not of_first[..., 1].any()
    both.observe_held_out(sums)
    assert isinstance(both.weighting, Excess)
    assert both.weighting.trust.held_out.all(), "an instance that training has learned by heart is read anew as well"
    with pytest.raises(ValueError, match="60 rows of 'a' are not 7 views of the same items"):
        both.held_out_sums({"a": z, "it": z}, {"a": labels, "it": items}, views=7)
    with pytest.raises(ValueError, match=r"labels\['it'\] \(N,\) codes: \(60, 3\) torch.float64 against \(30,\)"):
        both.held_out_sums({"a": z, "it": z}, {"a": labels, "it": items[:30]})


def test_a_head_that_is_too_sure_of_itself_is_heard_at_the_temperature_that_suits_it() -> None:
    z, labels = overconfident()
    loss_fn = MSConLoss({"a": Categorical()}, temperature=0.1, weighting="excess").double()
    sums = loss_fn.held_out_sums({"a": z}, {"a": labels})
    each = (sums[:, 1] - sums[:, 2]) / (sums[:, 3] - sums[:, 2])
    assert float(each[0]) > 1.0 > float(each.min())
    loss_fn.observe_held_out(sums + sums)
    assert loss_fn.trust["a"]["relative_excess"] == pytest.approx(float(each.min()))


def overconfident() -> tuple[Tensor, Tensor]:
    """Projections that know their class, and labels of which a third are wrong."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(60) % 3
    z = torch.eye(3, dtype=torch.float64)[labels] + 0.1 * torch.randn(60, 3, generator=generator, dtype=torch.float64)
    return z, torch.where(torch.arange(60) < 20, (labels + 1) % 3, labels)


def test_held_out_anchors_count_alike_and_in_a_batch_too_whatever_they_weigh_in_the_loss() -> None:
    z, labels = overconfident()
    rare = torch.where(torch.arange(60) % 7 == 0, labels, 0)
    plain, balanced = (
        MSConLoss({"a": Categorical(weights)}, weighting="excess").double()
        for weights in (None, balanced_weights(torch.bincount(rare), 1.0))
    )
    torch.testing.assert_close(
        balanced.held_out_sums({"a": z}, {"a": rare}), plain.held_out_sums({"a": z}, {"a": rare})
    )
    terms = [loss_fn({"a": z}, {"a": rare}).terms["a"] for loss_fn in (plain, balanced)]
    assert float(terms[0].loss) != pytest.approx(float(terms[1].loss))
    assert balanced.trust == plain.trust


def test_a_head_that_is_sure_of_two_classes_at_a_low_temperature_is_not_taken_for_noise() -> None:
    """Where 40% of the labels are chance: without a flat softmax to hear it at, it is above chance."""
    generator = torch.Generator().manual_seed(0)
    true = torch.arange(2000) % 2
    labels = torch.where(torch.rand(2000, generator=generator) < 0.4, true[torch.randperm(2000)], true)
    z = torch.stack([1.0 - 2.0 * true, torch.zeros(2000)], dim=1)
    loss_fn = MSConLoss({"a": Categorical()}, temperature=0.05, weighting="excess")
    loss_fn.observe_held_out(loss_fn.held_out_sums({"a": z}, {"a": labels}))
    assert loss_fn.trust["a"]["relative_excess"] < 1.0
    assert loss_fn.trust["a"]["noise_share"] == pytest.approx(0.4, abs=0.06)

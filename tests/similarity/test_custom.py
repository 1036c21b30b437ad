"""A similarity of the user's own: the example of docs/similarities.md, in the objective and as the equation has it."""

import inspect
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mscon import MSConLoss
from mscon.contrast import TypeTargets
from mscon.similarity import Categorical, Similarity

PAGE = Path(__file__).parents[2] / "docs" / "similarities.md"


@dataclass(frozen=True, eq=False)
class AlikeBrands:
    """Alike means: of brands that a table calls alike. q_ij is in proportion to alike[brand_i, brand_j]."""

    alike: Tensor  # K×K, at least 0, in any scale

    def targets(self, values: Tensor) -> TypeTargets:
        """Targets from brands' numbers, a negative one being a missing label."""
        rows = (values >= 0).nonzero().squeeze(1)
        brands, types = values[rows].unique(return_inverse=True)
        alike = self.alike.to(values.device)[brands][:, brands]  # of the brands in this batch
        return TypeTargets.of_matrix(rows, types, alike, batch=len(values))


ALIKE = torch.tensor(  # not symmetric, a brand that is like no other (3), one not even like itself (4)
    [
        [1.0, 0.6, 0.0, 0.0, 0.0],
        [0.3, 1.0, 0.2, 0.0, 0.0],
        [0.0, 0.2, 1.0, 0.0, 0.5],
        [0.0, 0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
    ]
)
BRANDS = st.lists(st.integers(-1, len(ALIKE) - 1), min_size=1, max_size=12)
TEMPERATURE = 0.3


def as_written(z: Tensor, values: list[int]) -> tuple[float, float, int]:
    """Mean loss and mean floor over the anchors, and how many there are: −Σ_j q_ij log p_ij, pair by pair."""
    unit = torch.nn.functional.normalize(z, dim=1)
    losses, floors = list[float](), list[float]()
    for i, mine in enumerate(values):
        others = [j for j, theirs in enumerate(values) if j != i and theirs >= 0]
        alike = {j: float(ALIKE[mine, values[j]]) for j in others} if mine >= 0 else {}
        if sum(alike.values()) == 0:
            continue
        q = {j: each / sum(alike.values()) for j, each in alike.items() if each > 0}
        score = {j: float(unit[i] @ unit[j]) / TEMPERATURE for j in others}
        total = sum(math.exp(each) for each in score.values())
        losses.append(-sum(share * (score[j] - math.log(total)) for j, share in q.items()))
        floors.append(-sum(share * math.log(share) for share in q.values()))
    count = max(1, len(losses))
    return sum(losses) / count, sum(floors) / count, len(losses)


def points(rows: int) -> Tensor:
    return torch.randn(rows, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(rows))


def test_the_page_shows_this_class() -> None:
    assert inspect.getsource(AlikeBrands) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("engine", ["dense", "tiled"])
@given(values=BRANDS)
@settings(deadline=None, max_examples=50)
def test_in_the_objective_it_is_the_equation_as_written(engine: str, values: list[int]) -> None:
    similarity = AlikeBrands(ALIKE)
    assert isinstance(similarity, Similarity)
    loss_fn = MSConLoss({"brand": similarity}, temperature=TEMPERATURE, weighting="equal", engine=engine)  # pyright: ignore[reportArgumentType]
    z = points(len(values))
    out = loss_fn({"brand": z}, {"brand": torch.tensor(values)})
    loss, floor, anchors = as_written(z, values)
    assert out.terms["brand"].anchors == anchors
    assert float(out.total) == pytest.approx(loss, rel=1e-9, abs=1e-9)
    assert float(out.terms["brand"].floor) == pytest.approx(floor, rel=1e-9, abs=1e-9)


def test_its_gradient_is_that_of_finite_differences() -> None:
    loss_fn = MSConLoss({"brand": AlikeBrands(ALIKE)}, temperature=TEMPERATURE, weighting="equal")
    values = torch.tensor([0, 1, 2, 0, -1, 3, 4, 1])
    z = points(len(values)).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss_fn({"brand": z}, {"brand": values}).total, z)


def test_the_scale_of_the_table_does_not_matter() -> None:
    values, z = torch.tensor([0, 1, 2, 0, 1]), points(5)
    one, seven = (
        MSConLoss({"brand": AlikeBrands(scale * ALIKE)}, weighting="equal")({"brand": z}, {"brand": values}).total
        for scale in (1.0, 7.0)
    )
    torch.testing.assert_close(one, seven)


def test_the_table_that_calls_each_brand_like_itself_alone_is_a_category() -> None:
    values, z = torch.tensor([0, 1, 2, 0, 1, -1, 2]), points(7)
    own, category = (
        MSConLoss({"brand": each})({"brand": z}, {"brand": values})
        for each in (AlikeBrands(torch.eye(3)), Categorical())
    )
    torch.testing.assert_close(own.total, category.total)
    torch.testing.assert_close(own.terms["brand"].relative_excess, category.terms["brand"].relative_excess)

"""Hierarchy: nearer kin pull harder, paths may end early, levels may count differently."""

import math

import pytest
import torch

from mscon.contrast import contrastive_loss
from mscon.similarity import Categorical, Hierarchy

PATHS = [("A", "x", "1"), ("A", "x", "2"), ("A", "y", "1"), ("B", "x", "1"), ("A",)]


def test_what_agrees_further_down_pulls_harder_and_equal_names_below_others_are_others() -> None:
    q = Hierarchy(PATHS).targets(torch.tensor([0, 0, 1, 2, 3])).matrix()
    # Level 1 has 4 rows, level 2 three, level 3 two; row 4 shares names with row 0, but no beginning.
    expected = torch.tensor([1 / 3 + 1 / 2 + 1, 1 / 3 + 1 / 2, 1 / 3, 0.0], dtype=torch.float64) / 3
    torch.testing.assert_close(q[0, 1:], expected)


def test_a_path_that_ends_early_goes_as_far_as_it_goes() -> None:
    q = Hierarchy(PATHS).targets(torch.tensor([4, 0, 1])).matrix()
    assert q[0].tolist() == [0.0, 0.5, 0.5]
    torch.testing.assert_close(q[1], torch.tensor([0.5 / 2, 0.0, 0.5 / 2 + 0.5], dtype=torch.float64))


def test_level_weights_shift_the_pull_and_only_their_ratios_count() -> None:
    values = torch.tensor([0, 1, 2, 4])
    fine = Hierarchy(PATHS, weights=[1.0, 9.0, 1.0]).targets(values).matrix()
    torch.testing.assert_close(fine[0, 1], torch.tensor(0.1 / 3 + 0.9, dtype=torch.float64))
    torch.testing.assert_close(Hierarchy(PATHS, weights=[2.0, 18.0, 2.0]).targets(values).matrix(), fine)
    coarse = Hierarchy(PATHS, weights=[1.0, 1e-12, 1e-12]).targets(values).matrix()
    torch.testing.assert_close(coarse, Categorical().targets(torch.zeros(4, dtype=torch.int64)).matrix())


def test_the_floor_of_a_balanced_tree_is_its_mixtures_entropy() -> None:
    values = torch.tensor([0, 0, 1, 1, 2, 2])
    floor = contrastive_loss(torch.randn(6, 3), Hierarchy(PATHS[:3]).targets(values)).floor
    row = [1 / 5 + 1 / 3 + 1, *[1 / 5 + 1 / 3] * 2, *[1 / 5] * 2]
    assert float(floor[0]) == pytest.approx(-sum(q / 3 * math.log(q / 3) for q in row))


@pytest.mark.parametrize(
    ("paths", "weights", "message"),
    [
        (PATHS, [1.0, 1.0], "3 levels need as many weights above 0"),
        (PATHS, [1.0, 0.0, 1.0], "above 0"),
        (PATHS, [1.0, math.nan, 1.0], "above 0"),
        (PATHS, [1.0, math.inf, 1.0], "above 0"),
        ([("A", "", "x")], None, "no level without a name"),
    ],
)
def test_bad_settings_are_refused(paths: list, weights: list[float] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Hierarchy(paths, weights=weights)


def test_no_path_at_all_is_no_anchor() -> None:
    for paths in ([], [()]):
        assert contrastive_loss(torch.randn(2, 3), Hierarchy(paths).targets(torch.tensor([-1, -1]))).count == 0


def test_a_number_of_no_path_is_refused() -> None:
    with pytest.raises(ValueError, match="a value of 2, where there are 2 sets or paths"):
        Hierarchy([("A",), ("A", "A/x")]).targets(torch.tensor([0, 2]))

"""The batched solver against exact minima, and the independence of the problems it solves together."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mscon.evaluate.lbfgs import Evaluation, minimise


class Quadratics:
    """½ tr(X A Xᵀ) − tr(X Bᵀ) per problem, X being its rows; A of any condition."""

    def __init__(self, sizes: list[int], width: int, conditions: list[float], *, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.sizes, self.calls = sizes, []
        self.matrices, self.targets = [], []
        for size, condition in zip(sizes, conditions, strict=True):
            axes, _ = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))
            scales = torch.logspace(0, torch.tensor(condition).log10().item(), width, dtype=torch.float64)
            self.matrices.append(axes * scales @ axes.T)
            self.targets.append(torch.randn(size, width, generator=generator, dtype=torch.float64))

    def __call__(self, point: Float[Tensor, "p d"], problems: Int[Tensor, " b"]) -> Evaluation:
        self.calls.append(problems.tolist())
        values, gradients = [], []
        for block, problem in zip(point.split([self.sizes[each] for each in problems]), problems, strict=True):
            slope = block @ self.matrices[problem]
            values.append((block * (slope / 2 - self.targets[problem])).sum())
            gradients.append(slope - self.targets[problem])
        return Evaluation(torch.stack(values), torch.cat(gradients))

    def solution(self) -> Tensor:
        pairs = zip(self.matrices, self.targets, strict=True)
        return torch.cat([torch.linalg.solve(matrix, target.T).T for matrix, target in pairs])

    def solve(self, *, metric: float = 1.0, tolerance: float = 1e-18, max_iterations: int = 500):
        start = torch.zeros_like(self.solution())
        metrics = torch.full_like(start, metric)
        return minimise(
            self, start, sizes=self.sizes, metric=metrics, tolerance=tolerance, max_iterations=max_iterations
        )


def test_every_problem_reaches_its_exact_minimum_whatever_its_condition():
    problems = Quadratics([1, 3, 2], 12, [1.0, 1e2, 1e4])
    minimum = problems.solve()
    assert minimum.converged.all()
    torch.testing.assert_close(minimum.point, problems.solution(), rtol=0, atol=5e-6)


def test_a_problem_takes_the_same_steps_alone_as_among_others():
    together = Quadratics([2, 2, 2], 8, [3.0, 1e3, 50.0])
    among = together.solve(tolerance=1e-9)
    for problem in range(3):
        alone = Quadratics([2], 8, [1.0])
        alone.matrices, alone.targets = [together.matrices[problem]], [together.targets[problem]]
        minimum = alone.solve(tolerance=1e-9)
        assert minimum.iterations[0] == among.iterations[problem]
        torch.testing.assert_close(minimum.point, among.point[2 * problem : 2 * problem + 2], rtol=0, atol=1e-10)


def test_a_problem_that_is_done_is_not_evaluated_again():
    problems = Quadratics([1, 1], 10, [1.0, 1e4])
    minimum = problems.solve(tolerance=1e-12)
    assert minimum.iterations[0] < minimum.iterations[1]
    assert sum(0 in call for call in problems.calls) < sum(1 in call for call in problems.calls)
    assert problems.calls[-1] == [1]


def test_a_first_metric_that_is_far_too_large_only_costs_shorter_steps():
    problems = Quadratics([2, 1], 6, [10.0, 10.0])
    minimum = problems.solve(metric=1e4)
    torch.testing.assert_close(minimum.point, problems.solution(), rtol=0, atol=1e-7)


def test_what_the_iterations_stop_is_not_called_converged_and_is_lower_than_it_began():
    problems = Quadratics([1, 1], 20, [1.0, 1e6])
    minimum = problems.solve(max_iterations=3)
    assert minimum.converged.tolist() == [True, False]
    assert minimum.iterations.tolist()[1] == 3
    every = torch.arange(2)
    start = problems(torch.zeros_like(minimum.point), every).values
    assert problems(minimum.point, every).values[1] < start[1]


def test_a_problem_that_starts_at_its_minimum_stays_there_bit_for_bit():
    problems = Quadratics([1], 5, [4.0])
    problems.targets[0].zero_()
    minimum = problems.solve()
    assert minimum.iterations.tolist() == [0]
    assert not minimum.point.any()

"""The batched logistic fit against scikit-learn's, and against the objective as written."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from mscon.evaluate import logistic
from mscon.evaluate.logistic import Classifiers, fit_logistic

STRENGTHS = (1.0, 0.1, 3e-3)


@pytest.fixture
def problem(simulated) -> tuple[torch.Tensor, torch.Tensor]:
    x = simulated.features
    x = (x - x.mean(0)) / x.std(0, correction=0)
    return x, torch.from_numpy(np.stack([simulated.columns["pair"], simulated.columns["few"]]))


def fit(x: torch.Tensor, codes: torch.Tensor, *, tolerance: float = 1e-17) -> list[Classifiers]:
    variances = torch.ones(x.shape[1], dtype=x.dtype)
    return fit_logistic(x, codes, strengths=STRENGTHS, variances=variances, tolerance=tolerance, max_iterations=3000)


def objective(x: torch.Tensor, column: torch.Tensor, classifiers: Classifiers, position: int) -> torch.Tensor:
    weight, bias = classifiers.weight[position].double(), classifiers.bias[position].double()
    return F.cross_entropy(x @ weight.T + bias, column) + STRENGTHS[position] / 2 * weight.square().sum()


def test_probabilities_equal_scikit_learns_for_every_column_and_strength(problem):
    x, codes = problem
    for column, classifiers in zip(codes, fit(x, codes), strict=True):
        assert all(classifiers.converged)
        for position, strength in enumerate(STRENGTHS):
            c = (2 if column.max() == 1 else 1) / (len(x) * strength)
            oracle = LogisticRegression(C=c, tol=1e-10, max_iter=20_000).fit(x.numpy(), column.numpy())
            expected = oracle.predict_proba(x.numpy())
            found = classifiers.logits(x, position).softmax(1).numpy()
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
            np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))


def test_the_gradient_of_the_objective_as_written_is_zero_at_the_fit(problem):
    x, codes = problem
    for column, classifiers in zip(codes, fit(x, codes), strict=True):
        for position in range(len(STRENGTHS)):
            classifiers.weight.requires_grad_()
            classifiers.bias.requires_grad_()
            value = objective(x, column, classifiers, position)
            for gradient in torch.autograd.grad(value, (classifiers.weight, classifiers.bias)):
                assert gradient.abs().max() < 1e-6


def test_neither_batches_nor_chunks_change_the_fit(problem, monkeypatch):
    whole = fit(*problem)
    monkeypatch.setattr(logistic, "TOGETHER", 100)
    monkeypatch.setattr(logistic, "CACHED", 1)
    monkeypatch.setattr(logistic, "SHORTEST", 97)
    for one, other in zip(whole, fit(*problem), strict=True):
        torch.testing.assert_close(other.weight, one.weight, rtol=0, atol=1e-5)
        torch.testing.assert_close(other.bias, one.bias, rtol=0, atol=1e-5)


def test_float32_comes_as_near_to_the_minimum_as_was_asked(problem):
    x, codes = problem
    for column, one, other in zip(codes, fit(x, codes), fit(x.float(), codes, tolerance=1e-7), strict=True):
        assert other.weight.dtype == torch.float32
        for position in range(len(STRENGTHS)):
            assert objective(x, column, other, position) - objective(x, column, one, position) < 1e-5


def test_the_biases_alone_give_the_classes_their_shares_when_there_are_no_features(problem):
    _, codes = problem
    empty = torch.zeros(codes.shape[1], 0, dtype=torch.float64)
    for column, classifiers in zip(codes, fit(empty, codes), strict=True):
        shares = torch.bincount(column).double() / len(column)
        for bias in classifiers.bias:
            torch.testing.assert_close(bias.softmax(0), shares)


def test_a_column_of_one_class_gets_the_constant_classifier(problem):
    x, codes = problem
    constant, other = fit(x, torch.stack([torch.zeros_like(codes[0]), codes[0]]))
    assert constant.weight.shape == (len(STRENGTHS), 1, x.shape[1])
    assert not constant.weight.any()
    assert torch.isfinite(constant.bias).all()
    torch.testing.assert_close(other.weight, fit(x, codes[:1])[0].weight, rtol=0, atol=1e-5)

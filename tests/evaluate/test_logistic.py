"""The batched logistic fit against scikit-learn's, and against the objective as written."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from mscon.evaluate import logistic
from mscon.evaluate.logistic import Classifiers, fit_logistic

STRENGTHS = (1.0, 1e-2, 1e-4)


@pytest.fixture
def problem(simulated) -> tuple[torch.Tensor, torch.Tensor]:
    x = simulated.features
    x = (x - x.mean(0)) / x.std(0, correction=0)
    return x, torch.from_numpy(np.stack([simulated.columns["pair"], simulated.columns["few"]]))


def fit(x: torch.Tensor, codes: torch.Tensor, *, tolerance: float = 1e-14) -> list[Classifiers]:
    variances = torch.ones(x.shape[1], dtype=x.dtype)
    return fit_logistic(
        x, codes, strengths=STRENGTHS, variances=variances, tolerance=tolerance, max_iterations=3000
    )


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

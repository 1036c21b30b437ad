"""Principal axes: an exact change of coordinates on the training rows, and no surprises elsewhere."""

import numpy as np
import pytest
import torch

from mscon.evaluate import spectrum
from mscon.evaluate.spectrum import Spectra, Spectrum


def test_the_training_rows_are_centred_uncorrelated_and_of_the_given_variances(simulated):
    x, rows = simulated.features, simulated.split.train
    found = Spectrum.of(x, rows)
    projected = found.project(x, rows)
    torch.testing.assert_close(projected.mean(0), torch.zeros(20, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(projected.T @ projected / len(rows), torch.diag(found.variances), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rows", [7, 300], ids=["fewer rows than features", "more rows than features"])
def test_distances_between_training_rows_are_those_between_standardised_ones(simulated, rows):
    x, rows = simulated.features, np.arange(rows)
    standard = (x[rows] - x[rows].mean(0)) / x[rows].std(0, correction=0)
    projected = Spectrum.of(x, rows).project(x, rows)
    torch.testing.assert_close(torch.cdist(projected, projected), torch.cdist(standard, standard), atol=1e-6, rtol=0)


def test_chunks_change_nothing(simulated, monkeypatch):
    x, rows = simulated.features, simulated.split.train
    whole = Spectrum.of(x, rows)
    monkeypatch.setattr(spectrum, "CHUNK", 20 * 7)
    chunked = Spectrum.of(x, rows)
    torch.testing.assert_close(chunked.variances, whole.variances)
    torch.testing.assert_close(whole.project(x, rows) @ whole.axes.T, chunked.project(x, rows) @ chunked.axes.T)


def test_constant_and_repeated_features_add_no_axis(simulated):
    x, rows = simulated.features.float(), simulated.split.train
    noise = 0.1 * (1 + torch.finfo(torch.float32).eps * torch.randint(-1, 2, (len(x), 1)))
    padded = torch.cat([x, torch.full((len(x), 2), 0.3), x[:, :3], noise], dim=1)
    assert len(Spectrum.of(padded, rows).variances) == x.shape[1]


def test_constant_features_alone_leave_no_axis():
    features = torch.ones(10, 3)
    found = Spectrum.of(features, np.arange(8))
    assert found.project(features, np.arange(10)).shape == (10, 0)


def test_all_training_rows_are_decomposed_once_for_every_probe_and_some_by_themselves(simulated, monkeypatch):
    x, rows, decomposed = simulated.features, simulated.split.train, []
    eigh = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda matrix: decomposed.append(len(matrix)) or eigh(matrix))
    spectra = Spectra(x, rows)
    assert spectra.of(rows) is spectra.of(rows) is spectra.whole
    assert len(decomposed) == 1
    some = spectra.of(rows[1:])
    assert len(decomposed) == 2
    projected = some.project(x, rows[1:])
    covariance = (projected.T @ projected / (len(rows) - 1)).double()
    torch.testing.assert_close(covariance, some.variances.diag(), atol=1e-4, rtol=1e-4)


def test_a_row_outside_the_training_range_counts_as_at_its_edge():
    features = torch.tensor([[0.0], [1.0], [2.0], [1e6], [-1e6]])
    projected = Spectrum.of(features, np.arange(3)).project(features, np.arange(5))
    assert projected[3] == projected[2]
    assert projected[4] == projected[0]


def test_half_precision_features_are_worked_on_in_single(simulated):
    rows = simulated.split.train
    half = simulated.features.bfloat16()
    assert Spectrum.of(half, rows).project(half, rows).dtype == torch.float32

"""Spectra by Lanczos quadrature: against dense matrices, the Marchenko–Pastur law, curvlinops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from problems import small_problem
from scipy.integrate import quad
from torch import Tensor

from eosflow.measurements.spectral_density import SpectralDensity
from eosflow.spectra.density import MarchenkoPastur, Spectrum, probes, spectrum
from eosflow.spectra.eigenpairs import Operator
from eosflow.spectra.randomness import generator
from eosflow.storage.columns import types_of


def of(matrix: Tensor) -> Operator:
    return lambda block, out: torch.mm(matrix, block, out=out)


def symmetric(size: int) -> Tensor:
    draws = torch.randn(size, size, generator=generator(0, "matrix"), dtype=torch.float64)
    return (draws + draws.T) / 2


def basis(size: int) -> Tensor:
    """All unit vectors, so scaled that the mean over them is a trace."""
    return math.sqrt(size) * torch.eye(size, dtype=torch.float64)


def seen(matrix: Tensor, count: int, steps: int) -> Spectrum:
    rows = probes(len(matrix), count, matrix, generator(1, "probes"))
    return spectrum(of(matrix), rows, steps)


def test_over_a_whole_basis_traces_are_exact() -> None:
    matrix = symmetric(40)
    values = torch.linalg.eigvalsh(matrix)
    found = spectrum(of(matrix), basis(40), 40)
    assert found.trace(lambda x: x).value == pytest.approx(matrix.trace().item(), rel=1e-12)
    assert found.frobenius_norm().value == pytest.approx(matrix.norm().item(), rel=1e-12)
    heat = found.trace(lambda x: torch.exp(-x)).value
    assert heat == pytest.approx(torch.exp(-values).sum().item(), rel=1e-10)
    edge = values[-4:-2].mean().item()
    assert found.above(edge).value == pytest.approx(3, abs=1e-6)
    torch.testing.assert_close(found.weights.sum(1), torch.ones(40, dtype=torch.float64))
    # Two nodes do for the square, one for the trace itself.
    few = spectrum(of(matrix), basis(40), 2)
    assert few.frobenius_norm().value == pytest.approx(matrix.norm().item(), rel=1e-12)
    one = spectrum(of(matrix), basis(40), 1)
    assert one.trace(lambda x: x).value == pytest.approx(matrix.trace().item(), rel=1e-12)


def test_probes_scatter_as_much_as_their_errors_say() -> None:
    matrix = symmetric(60)
    rows = probes(60, 400, matrix, generator(3, "probes"))
    assert set(rows.unique().tolist()) == {-1.0, 1.0}
    found = spectrum(of(matrix), rows, 8)
    trace = found.trace(lambda x: x)
    assert abs(trace.value - matrix.trace().item()) < 4 * trace.error
    # Var vᵀAv = 2 Σ_{i≠j} A_ij² for independent signs.
    off = matrix - torch.diag(matrix.diagonal())
    assert trace.error == pytest.approx(math.sqrt(2 / 400) * off.norm().item(), rel=0.15)
    norm = found.frobenius_norm()
    plain = math.sqrt((matrix @ rows.T).square().sum(0).mean().item())  # √(mean ‖Av‖²)
    assert norm.value == pytest.approx(plain, rel=1e-12)
    assert abs(norm.value - matrix.norm().item()) < 4 * norm.error


def test_one_probe_has_no_error_and_an_invariant_space_no_nan() -> None:
    matrix = symmetric(30)
    assert math.isnan(seen(matrix, 1, 5).trace(lambda x: x).error)
    low = torch.diag(torch.tensor([5.0, 2.0, *[0.0] * 28], dtype=torch.float64))
    turn = torch.linalg.qr(matrix).Q
    for degenerate in (low, turn @ low @ turn.T, torch.zeros_like(low)):
        found = spectrum(of(degenerate), basis(30), 30)
        assert found.trace(lambda x: x / (x.clamp(min=0) + 1)).value == pytest.approx(
            (degenerate.trace() > 0).item() * (5 / 6 + 2 / 3), abs=1e-9
        )
    assert found.frobenius_norm().value == 0


@pytest.mark.parametrize("ratio", [0.5, 3.0])
def test_the_law_of_a_wishart_matrix(ratio: float) -> None:
    size, variance = 600, 1.7
    rows = round(size / ratio)
    draws = torch.randn(rows, size, generator=generator(0, "wishart"), dtype=torch.float64)
    matrix = variance * draws.T @ draws / rows
    law = MarchenkoPastur(variance, ratio)
    low, high = law.edges
    assert low == pytest.approx(variance * (1 - math.sqrt(ratio)) ** 2)
    values = torch.linalg.eigvalsh(matrix)
    assert values[-1].item() == pytest.approx(high, rel=0.03)
    assert values[values > 1e-9][0].item() == pytest.approx(low, abs=0.03 * (high - low))

    def within(a: float, b: float) -> float:
        return quad(lambda x: law.density(torch.tensor(x)).item(), a, b)[0]

    assert within(low, high) + law.at_zero == pytest.approx(1, abs=1e-4)
    mean = quad(lambda x: x * law.density(torch.tensor(x)).item(), low, high)[0]
    assert mean == pytest.approx(variance, rel=1e-4)
    found = seen(matrix, 20, 80)
    second = found.trace(torch.square).value / size
    assert second == pytest.approx(law.second_moment, rel=0.03)
    for share in (0.25, 0.5, 0.75):
        edge = low + share * (high - low)
        assert found.above(edge).value / size == pytest.approx(within(edge, high), abs=0.02)
    assert found.above(high * 1.03).value < 0.1


def test_equals_curvlinops_from_the_same_start() -> None:
    from curvlinops.papyan2020traces.spectrum import (
        fast_lanczos,
        lanczos_approximate_spectrum_from_iter,
    )

    matrix = symmetric(50)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = fast_lanczos(matrix, 20)  # type: ignore[arg-type]
        torch.manual_seed(0)
        start = torch.randn(50, dtype=torch.float64)
    found = spectrum(of(matrix), start[None], 20)
    torch.testing.assert_close(found.nodes[0], theirs[0])
    torch.testing.assert_close(found.weights[0], theirs[1][0] ** 2)
    low, high = theirs[0].min().item(), theirs[0].max().item()
    grid, density = lanczos_approximate_spectrum_from_iter(theirs, (low, high), 200, 3.0, 0.05)
    width = 2 / 19 / math.sqrt(8 * math.log(3)) * 1.1 * (high - low) / 2
    twice = spectrum(of(matrix), start.repeat(2, 1), 20)
    torch.testing.assert_close(twice.smoothed(grid, width)[0], density)


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_a_measurement_equals_the_dense_matrix(matrix: str) -> None:
    objective, theta = small_problem("cross_entropy")
    identity = torch.eye(len(theta), dtype=torch.float64)
    dense = objective.evaluate(theta).product(matrix, identity)  # type: ignore[arg-type]
    values = torch.linalg.eigvalsh(dense)
    record = SpectralDensity(matrix=matrix, probes=60, steps=40).measure(objective, theta, 0, 0)
    assert record.keys() == set(types_of(SpectralDensity().columns(4)))
    trace, norm = dense.trace().item(), dense.norm().item()
    assert abs(record["trace"] - trace) < 4 * record["trace_error"]
    assert abs(record["frobenius_norm"] - norm) < 4 * record["frobenius_norm_error"]
    # Var vᵀAv = 2 Σ_{i≠j} A_ij² for independent signs.
    off = (dense - torch.diag(dense.diagonal())).norm().item()
    assert record["trace_error"] == pytest.approx(math.sqrt(2 / 60) * off, rel=0.4)
    assert record["largest"] == pytest.approx(values[-1].item(), rel=1e-6)
    if matrix == "hessian":
        assert record["smallest"] == pytest.approx(values[0].item(), rel=1e-6)
    # 13 examples with 4 outputs each.
    ratio = len(theta) / (13 * 4)
    edge = record["trace"] / len(theta) * (1 + math.sqrt(ratio)) ** 2
    assert record["marchenko_pastur_edge"] == pytest.approx(edge)
    outliers = (values > edge).sum().item()
    assert abs(record["outliers"] - outliers) < 4 * record["outliers_error"] + 0.1


def test_a_negative_trace_leaves_the_law_without_an_edge() -> None:
    objective, theta = small_problem("squared_error")
    evaluation = objective.evaluate(theta)

    class Turned:
        examples, inputs, network = objective.examples, objective.inputs, objective.network

        def evaluate(self, theta: Tensor) -> Turned:
            self.theta = theta
            return self

        def product(self, matrix: str, block: Tensor, out: Tensor) -> Tensor:
            return evaluation.gauss_newton(block, out).neg_()

    record = SpectralDensity().measure(Turned(), theta, 0, 0)  # type: ignore[arg-type]
    assert record["trace"] < 0
    assert record["marchenko_pastur_edge"] is None
    assert record["outliers"] is None
    assert np.isfinite(record["frobenius_norm_error"])

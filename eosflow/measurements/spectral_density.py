"""The spectrum of the Hessian or a part of it by random vectors: trace, norm, outliers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from eosflow.measurements.base import MATRIX, Matrix, Measurement, Numbers
from eosflow.storage.columns import Column, Columns, curvature

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from eosflow.objectives.base import Evaluation, Objective
    from eosflow.spectra.density import Spectrum


class SpectralDensity(Measurement):
    """Trace, Frobenius norm and outliers of 𝓗 or G, with standard errors over random probes.

    Outliers are eigenvalues above the edge of the Marchenko–Pastur law σ²(1 + √(P/n))², with σ² the
    mean eigenvalue and n = N C, the rows of the Jacobian of all outputs.
    """

    name: ClassVar[str] = "spectral-density"
    rows: ClassVar[str] = "A is 𝓗 or G. Errors are standard errors over the probes."

    matrix: Literal["hessian", "gauss_newton"] = Field("hessian", description="of which matrix")
    probes: int = Field(10, description="number of random vectors (probes)", ge=2)
    steps: int = Field(60, description="nodes of the quadrature per probe", ge=2)

    def columns(self, outputs: int) -> Columns:
        """Tr A, ‖A‖_F and the number of outliers, each with its error; the edge; the extreme nodes.

        Edge and outliers are missing where Tr A ≤ 0, for there the law has no variance.
        """
        return (
            curvature("trace", "Tr A", "mean of vᵀAv over random probes"),
            curvature("trace_error", "–", "its error"),
            curvature("frobenius_norm", "‖A‖_F", "√(mean of ‖Av‖²) over the probes"),
            curvature("frobenius_norm_error", "–", "its error"),
            Column(
                "outliers", "–", "eigenvalues above the edge, by Lanczos quadrature", "eigenvalues"
            ),
            Column("outliers_error", "–", "its error", "eigenvalues"),
            curvature(
                "marchenko_pastur_edge",
                "–",
                "σ²(1 + √(P/(N C)))², σ² = Tr A / P; missing if that is not positive",
            ),
            curvature("smallest", "–", "smallest node of the quadrature"),
            curvature("largest", "–", "largest node"),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The numbers at θ (P,); `smallest` and `largest` are the extreme nodes."""
        return self.record(self.seen(objective, theta, iteration, seed), objective, theta)

    def seen(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Spectrum:
        """The spectrum at θ (P,) as the probes see it."""
        stream = self.stream(iteration, seed)
        return probed(self, objective.evaluate(theta), self.steps, stream)

    def record(self, spectrum: Spectrum, objective: Objective, theta: Tensor) -> dict[str, Any]:
        """The numbers of `columns` from the spectrum found."""
        from eosflow.networks.module import to_like
        from eosflow.spectra.density import MarchenkoPastur

        trace, norm = spectrum.trace(lambda nodes: nodes), spectrum.frobenius_norm()
        record = {
            "trace": trace.value,
            "trace_error": trace.error,
            "frobenius_norm": norm.value,
            "frobenius_norm_error": norm.error,
            "smallest": spectrum.nodes.min().item(),
            "largest": spectrum.nodes.max().item(),
        }
        outputs = objective.network.outputs(theta, to_like(objective.inputs[:1], theta)).shape[1]
        ratio = len(theta) / (objective.examples * outputs)
        law = MarchenkoPastur(trace.value / len(theta), ratio)
        # A trace below 0 leaves the law without a variance, and nothing to be an outlier of.
        edge = law.edges[1] if trace.value > 0 else None
        outliers = spectrum.above(edge) if edge is not None else None
        return record | {
            "marchenko_pastur_edge": edge,
            "outliers": outliers.value if outliers else None,
            "outliers_error": outliers.error if outliers else None,
        }


class Trace(Measurement):
    """Tr 𝓗, Tr G or Tr R with its standard error: the mean of vᵀAv over random sign vectors v.

    Source: Hutchinson 1989. `SpectralDensity` also estimates it, at `steps` times the cost.

    >>> import torch, eosflow
    >>> net = torch.nn.Linear(2, 1, bias=False)
    >>> data = torch.diag(torch.tensor([2.0, 1.0])), torch.zeros(2, 1)
    >>> problem = eosflow.Problem(net, "half_squared_error", data)
    >>> record = eosflow.Trace(probes=4).measure(problem.objective, problem.theta, 0, 0)
    >>> round(record["trace"], 6)  # of E[x xᵀ], which is diagonal
    2.5
    """

    name: ClassVar[str] = "trace"

    matrix: Matrix = MATRIX
    probes: int = Field(10, description="random vectors", ge=2)

    def columns(self, outputs: int) -> Columns:
        """The mean and its standard error over the probes."""
        return (
            curvature("trace", "Tr A", "mean of vᵀAv over random probes"),
            curvature("trace_error", "–", "its error"),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The numbers at θ (P,), at the cost of a product with each probe."""
        evaluation = objective.evaluate(theta)
        found = probed(self, evaluation, 1, self.stream(iteration, seed)).trace(lambda nodes: nodes)
        return {"trace": found.value, "trace_error": found.error}


def probed(
    measurement: SpectralDensity | Trace, evaluation: Evaluation, steps: int, stream: Generator
) -> Spectrum:
    """The spectrum of the measurement's matrix as its probes see it, by so many nodes each."""
    from eosflow.spectra.density import probes, spectrum

    theta = evaluation.theta
    return spectrum(
        lambda block, out: evaluation.product(measurement.matrix, block, out),
        probes(len(theta), measurement.probes, theta, stream),
        steps,
    )

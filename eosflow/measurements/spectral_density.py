"""The spectrum of the Hessian or its Gauss–Newton part: trace, norm, outliers, quadrature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from eosflow.measurements.base import Measurement, Numbers
from eosflow.storage.columns import Column, Columns

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective
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
            Column("trace", "Tr A", "mean of vᵀAv over random probes", "loss / parameter²"),
            Column("trace_error", "–", "its error", "loss / parameter²"),
            Column(
                "frobenius_norm", "‖A‖_F", "√(mean of ‖Av‖²) over the probes", "loss / parameter²"
            ),
            Column("frobenius_norm_error", "–", "its error", "loss / parameter²"),
            Column(
                "outliers", "–", "eigenvalues above the edge, by Lanczos quadrature", "eigenvalues"
            ),
            Column("outliers_error", "–", "its error", "eigenvalues"),
            Column(
                "marchenko_pastur_edge",
                "–",
                "σ²(1 + √(P/(N C)))², σ² = Tr A / P; missing if that is not positive",
                "loss / parameter²",
            ),
            Column("smallest", "–", "smallest node of the quadrature", "loss / parameter²"),
            Column("largest", "–", "largest node", "loss / parameter²"),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The numbers at θ (P,); `smallest` and `largest` are the extreme nodes."""
        return self.record(self.seen(objective, theta, iteration, seed), objective, theta)

    def seen(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Spectrum:
        """The spectrum at θ (P,) as the probes see it."""
        from eosflow.spectra.density import probes, spectrum

        evaluation = objective.evaluate(theta)
        stream = self.stream(iteration, seed)
        return spectrum(
            lambda block, out: evaluation.product(self.matrix, block, out),
            probes(len(theta), self.probes, theta, stream),
            self.steps,
        )

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

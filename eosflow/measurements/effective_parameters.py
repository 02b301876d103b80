"""How many parameters the data determine: the effective number of MacKay and Moody, on G."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from eosflow.measurements.base import Measurement, Numbers
from eosflow.storage.columns import Column, Columns, curvature, relative

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective
    from eosflow.spectra.density import Estimate

    Count = Callable[[float], Estimate]  # N_eff for a given α

TOLERANCE = 1e-4  # of λ₁(G)
MAX_PRODUCTS = 300


class EffectiveParameters(Measurement):
    """N_eff = Σ_i λ_i/(λ_i + α) over the eigenvalues of G, for α constant and for α = c λ₁(G).

    G alone: λ/(λ + α) has a pole at λ = −α, and 𝓗 has eigenvalues there. 0 ≤ N_eff ≤ rank G. Exact
    up to `exact_up_to` parameters, beyond that by stochastic Lanczos quadrature with the standard
    error over its probes. An MLP with more inputs than examples is measured in the span of the
    inputs, outside of which G is 0. Source: MacKay 1992 (γ), Moody 1991 (p_eff), SANE: Wang &
    Roberts 2023.
    """

    name: ClassVar[str] = "effective-parameters"
    rows: ClassVar[str] = "Errors are 0 if all eigenvalues are computed."
    version: ClassVar[int] = 2

    alpha: float = Field(0.01, description="α of the constant prior", gt=0)
    relative_alpha: float = Field(
        0.01, description="c, for α = c times the largest eigenvalue of G", gt=0
    )
    exact_up_to: int = Field(
        500, description="parameters up to which all eigenvalues are computed", ge=0
    )
    probes: int = Field(10, description="random vectors of the quadrature", ge=2)
    steps: int = Field(60, description="nodes of the quadrature per probe", ge=2)

    def columns(self, outputs: int) -> Columns:
        """N_eff of both kinds, each with its error, which is 0 if it is exact; λ₁(G)."""
        return (
            Column(
                "effective_parameters",
                "N_eff",
                "Σ λ/(λ + α) over the eigenvalues of G, α constant",
                "parameters",
            ),
            Column(
                "effective_parameters_error",
                "–",
                "its standard error over the probes",
                "parameters",
            ),
            Column(
                "effective_parameters_relative", "N_eff", "the same with α = c λ₁(G)", "parameters"
            ),
            Column(
                "effective_parameters_relative_error",
                "–",
                "its standard error over the probes",
                "parameters",
            ),
            curvature("sharpness_gauss_newton", "λ₁(G)", "largest eigenvalue of G (E2)"),
            relative("residual_gauss_newton", "‖Gv − λ₁v‖ / λ₁ of that pair"),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The numbers at θ (P,); where G = 0 both are 0."""
        from eosflow.objectives.input_span import input_span

        if span := input_span(objective):
            objective, theta = span.objective, span.project(theta)
        evaluation = objective.evaluate(theta)
        if len(theta) <= self.exact_up_to:
            largest, residual, count = _exactly(evaluation)
        else:
            largest, residual, count = self._estimated(evaluation, iteration, seed)
        constant, relative = count(self.alpha), count(self.relative_alpha * largest)
        return {
            "effective_parameters": constant.value,
            "effective_parameters_error": constant.error,
            "effective_parameters_relative": relative.value,
            "effective_parameters_relative_error": relative.error,
            "sharpness_gauss_newton": largest,
            "residual_gauss_newton": residual,
        }

    def _estimated(
        self, evaluation: Evaluation, iteration: int, seed: int
    ) -> tuple[float, float, Count]:
        from eosflow.spectra.density import probes, saturated, spectrum
        from eosflow.spectra.eigenpairs import top_eigenpairs

        stream = self.stream(iteration, seed)
        rows = probes(len(evaluation.theta), self.probes, evaluation.theta, stream)
        density = spectrum(evaluation.gauss_newton, rows, self.steps)
        # Two at once: a search for one alone can end at the second.
        top = top_eigenpairs(evaluation.gauss_newton, rows[:2].T, TOLERANCE, MAX_PRODUCTS)

        def count(alpha: float) -> Estimate:
            return density.trace(lambda nodes: saturated(nodes, alpha))

        return max(0.0, top.values[0].item()), top.relative_residual, count


def _exactly(evaluation: Evaluation) -> tuple[float, float, Count]:
    """λ₁(G), its residual, and N_eff for any α, from all eigenvalues."""
    import torch

    from eosflow.spectra.density import Estimate, saturated

    matrix = evaluation.gauss_newton(torch.eye(len(evaluation.theta)).to(evaluation.theta))
    values = torch.linalg.eigvalsh((matrix + matrix.T) / 2)

    def count(alpha: float) -> Estimate:
        return Estimate(saturated(values, alpha).sum().item(), 0.0)

    return max(0.0, values[-1].item()), 0.0, count

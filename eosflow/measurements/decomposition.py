"""The sharpness of one weight snapshot, taken apart into its factors: what can be set of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from eosflow.measurements.base import Measurement

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective


class Decomposition(Measurement):
    """λ₁ of 𝓗, G and R, E‖M‖², the overlap, the layers' norms, and the five factors of an MLP.

    The numbers are those of `eosflow.measurements.factors.decompose`; the columns are listed in
    docs/method.md.
    """

    name: ClassVar[str] = "decomposition"
    version: ClassVar[int] = 4

    def columns(self, outputs: int) -> tuple[str, ...]:
        """Those that every network has; the norms of the layers depend on how many there are."""
        return (
            "loss",
            "m_norm2",
            "criterion_norm2",
            "sharpness_hessian",
            "sharpness_gauss_newton",
            "sharpness_residual",
            "overlap",
            "converged",
        )

    def measure(
        self, objective: Objective, theta: Tensor, iteration: int, seed: int
    ) -> dict[str, Any]:
        """The numbers at θ (P,). The searches start from one fixed vector."""
        from eosflow.measurements.factors import decompose

        return decompose(objective, theta)

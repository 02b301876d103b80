"""The trace of the Hessian or one of its parts, from random vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from eosflow.measurements.base import Measurement, Numbers
from eosflow.storage.columns import Column, Columns

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective


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

    matrix: Literal["hessian", "gauss_newton", "residual"] = Field(
        "hessian", description="of which matrix"
    )
    probes: int = Field(10, description="random vectors", ge=2)

    def columns(self, outputs: int) -> Columns:
        """The mean and its standard error over the probes."""
        return (
            Column("trace", "Tr A", "mean of vᵀAv over random probes", "loss / parameter²"),
            Column("trace_error", "–", "its error", "loss / parameter²"),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The numbers at θ (P,), at the cost of a product with each probe."""
        from eosflow.spectra.density import probes, spectrum

        evaluation = objective.evaluate(theta)
        found = spectrum(
            lambda block, out: evaluation.product(self.matrix, block, out),
            probes(len(theta), self.probes, theta, self.stream(iteration, seed)),
            1,
        ).trace(lambda nodes: nodes)
        return {"trace": found.value, "trace_error": found.error}

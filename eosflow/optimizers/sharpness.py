"""Gradient descent and Adam wrapped, by new names: SAM, TRACER, a penalty on the trace.

`wrap` puts the same rules around any gradient optimizer, see `eosflow.optimizers.wraps`.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from eosflow.optimizers.gradient import GradientDescent, GradientOptimizer
from eosflow.optimizers.preconditioned import Adam
from eosflow.optimizers.wraps import SharpnessAware, TraceOfHessian, Tracer, Wrap


class _SharpnessAware(GradientOptimizer):
    rho: float = Field(description="radius ρ of the perturbation", ge=0, examples=[0.05])

    @property
    def wraps(self) -> tuple[Wrap, ...]:
        """SAM is the innermost."""
        return (SharpnessAware(rho=self.rho), *self.wrap)


class SAM(_SharpnessAware, GradientDescent):
    """Gradient descent whose gradient is that at θ + ε, ε = ρ g/(‖g‖ + 1e-12), g = ∇𝓛(θ).

    The step starts from θ, with momentum and weight decay as in gradient-descent; clipping applies
    to the gradient at θ + ε. On a quadratic it is g + ρ 𝓗g/‖g‖. Two gradients per step.
    Source: Foret et al. 2021; github.com/davda54/sam.
    """

    name: ClassVar[str] = "sam"
    version: ClassVar[int] = 1


class AdamSAM(_SharpnessAware, Adam):
    """Adam whose gradient is that at θ + ε, ε = ρ g/(‖g‖ + 1e-12), g = ∇𝓛(θ).

    Source: Foret et al. 2021.
    """

    name: ClassVar[str] = "adam-sam"


class _Tracer(GradientOptimizer):
    version: ClassVar[int] = 2

    rho: float = Field(description="weight ρ of the penalty", ge=0, examples=[0.05])
    fisher_rate: float = Field(0.1, description="β, the rate of the running mean G", gt=0, le=1)
    damping: float = Field(0.001, description="δ, added to G", gt=0)

    @property
    def wraps(self) -> tuple[Wrap, ...]:
        """TRACER is the innermost."""
        own = Tracer(rho=self.rho, fisher_rate=self.fisher_rate, damping=self.damping)
        return (own, *self.wrap)


class SGDTracer(_Tracer, GradientDescent):
    """Gradient descent on 𝓛 + ρ Tr(G⁻¹F), G the running diagonal Fisher matrix, frozen."""

    name: ClassVar[str] = "sgd-tracer"


class AdamTracer(_Tracer, Adam):
    """Adam on 𝓛 + ρ Tr(G⁻¹F), G the running diagonal Fisher matrix, frozen."""

    name: ClassVar[str] = "adam-tracer"


class TracePenalty(GradientDescent):
    """Gradient descent on 𝓛 + ρ Tr 𝓗, the trace by Hutchinson's estimate of the step's batch.

    Tr 𝓗 = E vᵀ𝓗v for v of random signs, fresh in every step; the gradient of the estimate is
    exact. 𝓗 is that of the batch. Source: Liu, Yu & Lin, Hessian regularization of deep neural
    networks: a novel approach based on stochastic estimators of Hessian trace, 2023.
    """

    name: ClassVar[str] = "trace-penalty"
    version: ClassVar[int] = 1

    rho: float = Field(description="weight ρ of the trace", ge=0, examples=[0.05])
    probes: int = Field(1, description="random vectors per step", ge=1)

    @property
    def wraps(self) -> tuple[Wrap, ...]:
        """The penalty is the innermost."""
        return (TraceOfHessian(rho=self.rho, probes=self.probes), *self.wrap)

"""Modified gradients for any gradient optimizer, each a rule around another.

A wrap sees the gradient of what it is around as a function of the point, so that it may take it at
another point, or add to it. The first of several is the innermost.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from pydantic import BeforeValidator, Field, PlainSerializer

from eosflow.optimizers.base import State
from eosflow.storage.columns import Columns, curvature
from eosflow.storage.settings import Plugin, from_record, record

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective

Gradient = Callable[["Evaluation"], "Tensor"]


class Wrap(Plugin, ABC):
    """A rule around a gradient, and a line in `WRAPS`. Pure, as an optimizer is."""

    @abstractmethod
    def words(self, name: str) -> list[str]:
        """The wrapped optimizer's name, of `name`, and what sets the wrap apart."""

    @abstractmethod
    def gradient(
        self, evaluation: Evaluation, inner: Gradient, state: State
    ) -> tuple[Tensor, State]:
        """What stands for the gradient (P,) of `inner`, and new values of the state."""

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """What the optimizer's state has for it before the first step."""
        return {}

    def columns(self) -> Columns:
        """Further facts of a step, of the state after it."""
        return ()

    def more_gradients(self) -> float:
        """Gradients of a batch that a step takes beyond those of the optimizer alone."""
        return 0.0

    def edge(self, edge: float, learning_rate: float, gradient_norm: float) -> float | None:
        """The edge of wrapped gradient descent, see `Optimizer.edge`; None if none is known."""
        return None


class Momentum(Wrap):
    """m ← μm + g, with m in place of the gradient g: Polyak's momentum before any optimizer.

    Unlike an optimizer's own momentum it comes before clipping and weight decay.
    """

    name: ClassVar[str] = "momentum"

    mu: float = Field(description="momentum μ", gt=0, lt=1, examples=[0.9])

    def words(self, name: str) -> list[str]:
        return [name, f"momentum {self.mu:g} of the gradient"]

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        return {"velocity": theta.new_zeros(theta.shape)}

    def gradient(
        self, evaluation: Evaluation, inner: Gradient, state: State
    ) -> tuple[Tensor, State]:
        velocity = cast("Tensor", state["velocity"]).mul(self.mu).add_(inner(evaluation))
        return velocity, {"velocity": velocity}


class SharpnessAware(Wrap):
    """The gradient at θ + ε, ε = ρ g/(‖g‖ + 1e-12), g the gradient at θ: SAM around any optimizer.

    The step starts from θ. Source: Foret et al. 2021; github.com/davda54/sam.
    """

    name: ClassVar[str] = "sam"

    rho: float = Field(description="radius ρ of the perturbation", ge=0, examples=[0.05])

    def words(self, name: str) -> list[str]:
        base = "SAM" if name == "gradient descent" else f"SAM with {name}"
        return [base, f"radius {self.rho:g}"]

    def more_gradients(self) -> float:
        return 1.0

    def gradient(
        self, evaluation: Evaluation, inner: Gradient, state: State
    ) -> tuple[Tensor, State]:
        gradient = inner(evaluation)
        if not self.rho:
            return gradient, {}
        scale = self.rho / (gradient.norm().item() + 1e-12)
        ahead = evaluation.objective.evaluate(evaluation.theta.add(gradient, alpha=scale))
        return inner(ahead).clone(), {}

    def edge(self, edge: float, learning_rate: float, gradient_norm: float) -> float | None:
        """2c/(1 + √(1 + 4cρ/(η‖g‖))), c the edge without SAM: where SAM starts to oscillate.

        η times the root λ of η(λ + ρλ²/‖g‖) = c, written without the difference: c at ρ = 0 or far
        from any minimum, 0 at g = 0. Source: Long & Bartlett, Sharpness-aware minimization and the
        edge of stability, 2024, for c = 2.
        """
        if not self.rho:
            return edge
        if not gradient_norm:
            return 0.0
        ratio = 4 * edge * self.rho / (learning_rate * gradient_norm)
        return 2 * edge / (1 + math.sqrt(1 + ratio))


class Tracer(Wrap):
    """Adds ρ ∇R, R = Σ_i u_i F_i with u = 1/(G + δ) frozen: the penalty ρ Tr(G⁻¹F).

    F_i = E(∂_iℓ)² is the diagonal of the empirical Fisher matrix, which stands for 𝓗; G is its
    running mean, G ← (1 − β)G + βF, and F itself in the first step. Source: the slides of Roberts
    and Williams & Roberts 2023 for the penalty and G. Our choices, not verified in the source: F
    over single examples, β, δ, the start of G, and that momentum includes the penalty.
    """

    name: ClassVar[str] = "tracer"

    rho: float = Field(description="weight ρ of the penalty", ge=0, examples=[0.05])
    fisher_rate: float = Field(0.1, description="β, the rate of the running mean G", gt=0, le=1)
    damping: float = Field(0.001, description="δ, added to G", gt=0)

    def words(self, name: str) -> list[str]:
        base = "SGD" if name == "gradient descent" else name
        words = [f"penalty {self.rho:g}", f"β {self.fisher_rate:g}", f"δ {self.damping:g}"]
        return [f"{base}-TRACER", *words]

    def more_gradients(self) -> float:
        return 2.0  # of single examples, and products with their Hessians

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        return {"fisher": theta.new_zeros(theta.shape)}

    def gradient(
        self, evaluation: Evaluation, inner: Gradient, state: State
    ) -> tuple[Tensor, State]:
        from eosflow.optimizers.penalties import diagonal_fisher, penalty_gradient

        objective, theta = evaluation.objective, evaluation.theta
        before = cast("Tensor", state["fisher"])
        fisher = diagonal_fisher(objective, theta)
        mean = before.lerp(fisher, self.fisher_rate) if state["steps"] else fisher
        if not self.rho:
            return inner(evaluation), {"fisher": mean}
        penalty = penalty_gradient(objective, theta, 1 / (mean + self.damping))
        return inner(evaluation).add(penalty, alpha=self.rho), {"fisher": mean}


class TraceOfHessian(Wrap):
    """Adds ρ ∇ Tr 𝓗, the trace by Hutchinson's estimate on the step's examples.

    Tr 𝓗 = E vᵀ𝓗v for v of random signs, fresh in every step; the gradient of the estimate is
    exact. Source: Liu, Yu & Lin, Hessian regularization of deep neural networks: a novel approach
    based on stochastic estimators of Hessian trace, 2023.
    """

    name: ClassVar[str] = "trace-penalty"

    rho: float = Field(description="weight ρ of the trace", ge=0, examples=[0.05])
    probes: int = Field(1, description="random vectors per step", ge=1)

    def words(self, name: str) -> list[str]:
        probes = f", {self.probes} probes" if self.probes > 1 else ""
        return [f"{name} with a penalty on the trace", f"ρ {self.rho:g}{probes}"]

    def more_gradients(self) -> float:
        return 3.0 * self.probes  # vᵀ𝓗v has a gradient that costs three of 𝓛: a third derivative

    def columns(self) -> Columns:
        estimate = (
            "Hutchinson's estimate on the examples of the step, whose gradient is the penalty's; "
            "0 at ρ = 0"
        )
        return (curvature("trace", "Tr 𝓗", estimate),)

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """The `seed` that the probes are drawn with, and `trace`, the last estimate.

        Raises: UserError if PyTorch's third derivatives of the network are wrong.
        """
        from eosflow.objectives.third_derivatives import check_third_derivatives
        from eosflow.optimizers.penalties import trace_and_gradient

        def slope_of(probe: Tensor) -> Tensor:
            return trace_and_gradient(objective, theta, probe[None])[1]

        if self.rho:
            check_third_derivatives(objective, theta, seed, self.name, slope_of)
        return {"seed": seed, "trace": theta.new_zeros(())}

    def gradient(
        self, evaluation: Evaluation, inner: Gradient, state: State
    ) -> tuple[Tensor, State]:
        if not self.rho:
            return inner(evaluation), {}
        from eosflow.optimizers.penalties import trace_and_gradient
        from eosflow.spectra.density import probes
        from eosflow.spectra.randomness import generator

        stream = generator(cast(int, state["seed"]), f"trace probes {state['steps']}")
        signs = probes(len(evaluation.theta), self.probes, evaluation.theta, stream)
        trace, gradient = trace_and_gradient(evaluation.objective, evaluation.theta, signs)
        return inner(evaluation).add(gradient, alpha=self.rho), {"trace": trace}


WRAPS: dict[str, type[Wrap]] = {
    kind.name: kind for kind in (Momentum, SharpnessAware, Tracer, TraceOfHessian)
}


def _read(given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    if given.get("name") not in WRAPS:
        raise ValueError(f"it must have a name of {', '.join(WRAPS)}, and its settings")
    return from_record(WRAPS, given)


# A wrap among settings: an object with a name and settings.
AnyWrap = Annotated[Wrap, BeforeValidator(_read), PlainSerializer(record)]

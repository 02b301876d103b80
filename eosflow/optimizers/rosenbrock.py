"""The gradient flow at a known error: an exponential Rosenbrock method with adaptive steps."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from pydantic import Field

from eosflow.optimizers.base import Optimizer, State, Step
from eosflow.storage.columns import Columns, count, curvature, relative

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective
    from eosflow.spectra.krylov import Krylov, Space

# Krylov vectors that are held at once, those of the gradient and those of the correction; a step
# that needs more is made shorter.
CAPACITY = 96
FLOW_CAPACITY = 64
# What a step leaves out by stopping its Lanczos iterations, relative to its length, as a share of
# the tolerance.
KRYLOV_SHARE = 0.3
# The step's error grows as the 3/2 power of its estimate; measured factors are 0.2 to 1.2.
ERROR_FACTOR = 2.0
SAFETY = 0.9
# By how much a step may differ from the one before, and from the try before.
GROWTH, SHRINKAGE = 3.0, 0.2
# A try whose estimate is known to be so many times too large is given up there and then, and the
# next one is made this much shorter: there, errors grow faster than the square of the step.
HOPELESS, RETREAT = 4.0, 0.3
FIRST_VECTORS = 8
MAX_TRIES = 20
# Down to this tolerance a basis in float32 loses nothing; docs/performance.md has the numbers.
FLOAT32_TOLERANCE = 1e-4


@dataclass(frozen=True)
class _Try:
    """One step size tried: where it leads, θ + move + correction, and at what estimated error."""

    size: float
    theta: Tensor
    error: float
    residual: float
    largest: float
    products: int


class ExponentialRosenbrock(Optimizer):
    """exprb32: third order, with a second-order estimate that sets the step size.

    Implements: E18–E21. No eigenpair is tracked: the φ-functions of the whole 𝓗 come from short
    Lanczos iterations. A step is accepted if its estimate is at most (tolerance/2)^{2/3} of its
    length: on four problems of the paper the error of a run was 0.2 to 1.2 times the 3/2 power of
    that bound. Source: Hochbruck & Ostermann, Acta Numerica 2010, section 2.4.
    """

    name: ClassVar[str] = "exponential-rosenbrock"
    version: ClassVar[int] = 2
    follows_flow: ClassVar[bool] = True
    lands_on_target: ClassVar[bool] = True
    transient: ClassVar[int] = 0

    tolerance: float = Field(
        0.01,
        description="distance of a run's weights from the flow, relative to the distance "
        "travelled; measured, not proven: docs/performance.md",
        gt=0,
        le=0.1,
    )

    def describe(self) -> str:
        return f"exponential Rosenbrock of order 3, tolerance {self.tolerance:g}"

    @property
    def rotation_equivariant(self) -> bool:
        return True  # it takes products with 𝓗 and gradients alone

    def columns(self, parameters: int, outputs: int) -> Columns:
        return (
            curvature(
                "largest_ritz_value",
                "–",
                "largest Ritz value of the step's Krylov space, a lower bound of λ₁(𝓗), poor "
                "where a step takes few products (E1)",
            ),
            count("power_iterations", "products of 𝓗 with one vector", "products"),
            count("gradients", "gradients taken", "gradients"),
            relative("error_estimate", "‖c‖ / ‖ηp‖, the correction over the step (E21)"),
            relative(
                "residual",
                "Saad's estimate of what the Lanczos iteration left out, over the length of the "
                "step",
            ),
            count("rejected_steps", "how often the step was taken again", "tries"),
        )

    def expected_steps(self, flow_time: float) -> float:
        return 400.0  # 14 to 180 were seen

    def products_per_step(self, outputs: int) -> float:
        return 20.0  # between 5 and 40

    def vectors_held(self, outputs: int) -> float:
        """The room for Krylov vectors, mostly float32, and what is between the stages."""
        return CAPACITY * (1.0 if self._precise else 0.5) + 8

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """No step size yet, 0: the first step finds one."""
        return {"step_size": 0.0}

    @property
    def _precise(self) -> bool:
        """Whether Krylov vectors must be float64."""
        return self.tolerance < FLOAT32_TOLERANCE

    @property
    def bound(self) -> float:
        """The largest estimate of an accepted step, relative to its length. Implements: E21."""
        return math.pow(self.tolerance / ERROR_FACTOR, 2 / 3)

    def step(
        self, evaluation: Evaluation, state: State, max_flow_time: float = math.inf
    ) -> Step | None:
        """The longest step whose estimated error is within the bound; tries grow shorter.

        Implements: E19–E20.
        """
        flow = self._flow(evaluation)
        wanted = cast(float, state["step_size"]) or _first_size(flow)
        products = gradients = rejected = 0
        while rejected <= MAX_TRIES and flow.finite:
            tried = self._try(evaluation, flow, min(wanted, max_flow_time))
            products += tried.products
            gradients += 1
            if tried.error <= self.bound:
                following = evaluation.objective.evaluate(tried.theta)
                gradients += 1
                if following.loss <= evaluation.loss:
                    facts = {
                        "largest_ritz_value": tried.largest,
                        "power_iterations": flow.size + products,
                        "gradients": gradients,
                        "error_estimate": tried.error,
                        "residual": tried.residual,
                        "rejected_steps": rejected,
                    }
                    after: State = {"step_size": self._next_size(tried, wanted, rejected)}
                    return Step(tried.theta, after, tried.size, facts, following)
            wanted = tried.size * self._shrinkage(tried.error)
            rejected += 1
        return None

    def _try(self, evaluation: Evaluation, flow: Krylov, size: float) -> _Try:
        """Both stages of a step of at most this size."""
        from eosflow.spectra.krylov import Krylov

        size, space = self._resolve(flow, size)
        if not flow.finite:
            return _Try(size, evaluation.theta, math.inf, math.inf, math.nan, 0)
        coefficients = space.coefficients(1, -size).mul_(-size)
        length = float(coefficients.norm())
        residual = size * space.residual(1, -size) / length if length else 0.0
        move = flow.combine(coefficients, evaluation.theta)
        between = evaluation.objective.evaluate(evaluation.theta + move)
        # D: what 𝓗 does not say of how the gradient changes along the move.
        gradient_defect = flow.combine(space.image(coefficients), evaluation.theta)
        gradient_defect.sub_(between.gradient).add_(evaluation.gradient)
        memory = self._memory(evaluation)[flow.size + 1 :]
        defect_krylov = Krylov(evaluation.hessian, gradient_defect, memory)
        allowed = KRYLOV_SHARE * self.tolerance * length
        limit = HOPELESS * self.bound * length

        def enough(part: Space) -> bool:
            # ‖φ₃(−ηT)e₁‖² is a Gauss quadrature, which for such a function is a lower bound.
            least = 2 * size * float(part.coefficients(3, -size).norm())
            return least > limit or 2 * size * part.residual(3, -size) <= allowed

        last = None
        if math.isfinite(defect_krylov.norm) and math.isfinite(between.loss):
            last = defect_krylov.smallest(enough)
        theta, error = move.add_(evaluation.theta), math.inf
        if last is not None:
            correction = last.coefficients(3, -size).mul_(2 * size)
            error = correction.norm().item() / length if length else 0.0
            if error <= self.bound:
                theta += defect_krylov.combine(correction, theta)
        return _Try(size, theta, error, residual, space.largest, defect_krylov.size)

    def _resolve(self, flow: Krylov, size: float) -> tuple[float, Space]:
        """The step, shortened where memory does not do, and the space that resolves it."""

        def enough(space: Space) -> bool:
            length = float(space.coefficients(1, -size).norm())
            return space.residual(1, -size) <= KRYLOV_SHARE * self.tolerance * length

        while (space := flow.smallest(enough)) is None:
            size *= 0.8
        return size, space

    def _shrinkage(self, error: float) -> float:
        """By what factor a step is made shorter that erred by so much, or that raised the loss."""
        if error <= self.bound:
            return 0.5
        if error > HOPELESS * self.bound:
            return RETREAT
        return max(self._factor(error), SHRINKAGE)

    def _factor(self, error: float) -> float:
        """What would bring the estimate to its bound: it grows as the square of the step."""
        return SAFETY * math.sqrt(self.bound / error) if error > 0 else GROWTH

    def _next_size(self, tried: _Try, wanted: float, rejected: int) -> float:
        """The step to try next; no growth after a rejection."""
        if tried.size < wanted and not rejected:
            return wanted  # cut short by the room or by the memory; that says nothing of the error
        return tried.size * min(self._factor(tried.error), 1.0 if rejected else GROWTH)

    def _flow(self, evaluation: Evaluation) -> Krylov:
        """The Krylov space of the gradient, kept while steps are tried from the same evaluation."""
        from eosflow.spectra.krylov import Krylov

        kept: dict[str, object] = evaluation.objective.scratch(f"flow {self.tolerance}", dict)
        seen = kept.get("evaluation")
        if not isinstance(seen, weakref.ref) or seen() is not evaluation:
            memory = self._memory(evaluation)[:FLOW_CAPACITY]
            kept["flow"] = Krylov(evaluation.hessian, evaluation.gradient, memory)
            kept["evaluation"] = weakref.ref(evaluation)
        return cast("Krylov", kept["flow"])

    def _memory(self, evaluation: Evaluation) -> Tensor:
        import torch

        objective, theta = evaluation.objective, evaluation.theta
        dtype = theta.dtype if self._precise else torch.float32
        name = f"krylov {dtype}"
        return objective.scratch(name, lambda: theta.new_empty(CAPACITY, len(theta), dtype=dtype))


def _first_size(flow: Krylov) -> float:
    space = flow.smallest(lambda part: part.size >= FIRST_VECTORS)
    assert space is not None  # memory holds more vectors
    return 1 / space.largest if space.largest > 0 else 1.0

"""Optimizers that follow the gradient flow θ' = −∇𝓛, each with its own step control.

The formulas of single steps are in `eosflow.optimizers.integrators`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from eosflow.optimizers.base import Optimizer, State, Step
from eosflow.storage.columns import Columns, count, counted, curvature, flag, relative

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective
    from eosflow.spectra.eigenpairs import EigenPairs, Workspace

# The first block of eigenpairs starts from noise; the bound on products is this much wider there.
FIRST_STEP_FACTOR = 10
# A step that raises the loss is halved this often before the run counts as diverged.
MAX_HALVINGS = 40
# What rounding leaves of a relative residual is a few times 1e-6 in float32.
FLOAT32_TOLERANCE = 1e-5


def downhill(
    evaluation: Evaluation, propose: Callable[[float], Tensor], step_size: float
) -> tuple[Evaluation, float, int] | None:
    """The first of η, η/2, η/4 … whose θ = propose(η) does not raise the loss.

    A step that raises the loss is an error of the discretisation: the flow never does.

    Returns: (the point there, η, rejected tries); None after 40 halvings.
    """
    for rejected in range(MAX_HALVINGS + 1):
        theta = propose(step_size)
        if math.isfinite(theta.sum().item()):  # in one pass; any inf or nan shows in the sum
            following = evaluation.objective.evaluate(theta)
            if following.loss <= evaluation.loss:
                return following, step_size, rejected
        step_size /= 2
    return None


def gradient_of(objective: Objective) -> Callable[[Tensor], Tensor]:
    """θ ↦ ∇𝓛(θ)."""
    return lambda theta: objective.evaluate(theta).gradient


class ExponentialEuler(Optimizer):
    """Exact along the K sharpest directions of 𝓗, K = C, and an Euler step along the others.

    Implements: E15–E17. Each step computes the top K+1 eigenpairs, starting from those of the last
    step. A step that raises the loss is repeated at half its size. Source: LK24 section 7.2.
    """

    name: ClassVar[str] = "exponential-euler"
    follows_flow: ClassVar[bool] = True

    max_step_size: float = Field(0.01, description="largest step, in gradient-flow time", gt=0)
    eigen_tolerance: float = Field(
        0.003, description="largest residual of an eigenpair, relative to the sharpness", gt=0, lt=1
    )
    eigen_dtype: Literal["float32", "float64"] = Field(
        "float32", description="precision of the search for eigenpairs; everything else is float64"
    )
    max_block_products: int = Field(
        12, description="largest number of Hessian products per step", ge=1
    )

    def describe(self) -> str:
        scheme = self.name.replace("-euler", " Euler").replace("-heun", " Heun")
        return (
            f"{scheme} with steps of at most {self.max_step_size:g}, eigenpairs in "
            f"{self.eigen_dtype}"
        )

    @model_validator(mode="after")
    def _dtype_meets_tolerance(self) -> Self:
        if self.eigen_dtype == "float32" and self.eigen_tolerance < FLOAT32_TOLERANCE:
            raise ValueError(
                f"eigen_tolerance: {self.eigen_tolerance} was given; it must be at least "
                f"{FLOAT32_TOLERANCE} with eigen_dtype float32. Set eigen_dtype: float64."
            )
        return self

    def columns(self, parameters: int, outputs: int) -> Columns:
        pairs = counted(min(outputs + 1, parameters))
        return (
            curvature(
                "eigenvalue_m",
                "λ_m",
                "tracked eigenvalues of 𝓗 from the largest down, m = 1…K+1 (E15)",
                each=pairs,
            ),
            relative("residual", "largest ‖𝓗v − λv‖ / λ₁ of a tracked pair"),
            count(
                "power_iterations", "products of 𝓗 with the block of all K+1 vectors", "products"
            ),
            flag("converged", "whether that residual met the tolerance"),
            count(
                "rejected_steps",
                "how often the step was halved because it raised the loss",
                "tries",
            ),
            flag("negative_dominant", "whether the search met an eigenvalue with −λ > λ₁"),
        )

    def expected_steps(self, flow_time: float) -> float:
        return 10 + flow_time / self.max_step_size

    def products_per_step(self, outputs: int) -> float:
        return 2.0 * (outputs + 1)  # little more than one block product of K+1 vectors

    def vectors_held(self, outputs: int) -> float:
        """Eight blocks of the workspace, three of states; all in float64 to be on the safe side."""
        return 11.0 * (outputs + 1)

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """A random block to start the eigenpairs from.

        Its K+1 vectors are rows, `start` (K+1, P); `steps` counts.
        """
        import torch

        from eosflow.spectra.eigenpairs import random_start

        outputs = objective.network.outputs(theta, objective.inputs[:1]).shape[1]
        pairs = min(outputs + 1, len(theta))
        like = theta.new_empty(0, dtype=getattr(torch, self.eigen_dtype))
        return {"start": random_start(len(theta), pairs, like, seed).T, "steps": 0}

    def step(
        self, evaluation: Evaluation, state: State, max_flow_time: float = math.inf
    ) -> Step | None:
        """One step of at most min(η_max, 1/|λ_{K+1}|), halved until the loss does not rise."""
        from eosflow.optimizers.integrators import stable_step_size
        from eosflow.spectra.eigenpairs import top_eigenpairs

        start = cast("Tensor", state["start"])
        workspace = self.workspace(evaluation.objective, start)
        bound = self.max_block_products * (FIRST_STEP_FACTOR if state["steps"] == 0 else 1)
        tolerance = self.eigen_tolerance
        pairs = top_eigenpairs(evaluation.hessian, start.T, tolerance, bound, workspace)
        limit = cast(float, state.get("step_limit", math.inf))
        longest = min(stable_step_size(pairs, self.max_step_size), limit)
        accepted = downhill(
            evaluation,
            lambda size: self._advance(evaluation, pairs, size),
            min(longest, max_flow_time),
        )
        if accepted is None:
            return None
        following, step_size, rejected = accepted
        eigenvalues = pairs.values.tolist()
        facts = {
            **{f"eigenvalue_{m}": value for m, value in enumerate(eigenvalues, 1)},
            "residual": pairs.relative_residual,
            "power_iterations": pairs.applications,
            "converged": pairs.converged,
            "rejected_steps": rejected,
            "negative_dominant": -pairs.smallest > eigenvalues[0],
        }
        before = cast("Tensor | None", state.get("previous"))
        following_state: dict[str, Tensor | float | int | bool] = {
            "start": pairs.warm_start(None if before is None else before.T).T,
            "previous": workspace.take_vectors().T,
            "steps": cast(int, state["steps"]) + 1,
        }
        if rejected or step_size == limit:
            following_state["step_limit"] = 2 * step_size
        return Step(following.theta, following_state, step_size, facts, following)

    def workspace(self, objective: Objective, start: Tensor) -> Workspace:
        """Reused memory of the search for eigenpairs from `start` (k, P)."""
        from eosflow.spectra.eigenpairs import Workspace

        name = f"eigenpairs {len(start)} {start.dtype}"
        return objective.scratch(name, lambda: Workspace(start.shape[1], len(start), start))

    def _advance(self, evaluation: Evaluation, pairs: EigenPairs, step_size: float) -> Tensor:
        from eosflow.optimizers.integrators import exponential_euler

        return exponential_euler(evaluation.theta, evaluation.gradient, pairs, step_size)


class ExponentialHeun(ExponentialEuler):
    """Exponential Heun: second order, with one more gradient per step than exponential Euler.

    Source: ETD2RK of Cox & Matthews 2002.
    """

    name: ClassVar[str] = "exponential-heun"

    def _advance(self, evaluation: Evaluation, pairs: EigenPairs, step_size: float) -> Tensor:
        from eosflow.optimizers.integrators import exponential_heun

        gradient = gradient_of(evaluation.objective)
        return exponential_heun(evaluation.theta, evaluation.gradient, pairs, step_size, gradient)


class ExplicitEuler(Optimizer):
    """Plain Euler steps along the flow, of a fraction of 1/λ₁: stable up to 2/λ₁.

    λ₁ is computed at each of the first ten steps and at every tenth after that.
    """

    name: ClassVar[str] = "explicit-euler"
    follows_flow: ClassVar[bool] = True

    fraction: float = Field(1.0, description="step size as a fraction of 1/λ₁", gt=0)
    max_step_size: float = Field(1.0, description="largest step, in gradient-flow time", gt=0)

    def describe(self) -> str:
        scheme = {"explicit-euler": "explicit Euler", "runge-kutta-4": "Runge–Kutta of order 4"}
        return f"{scheme[self.name]} with steps of {self.fraction:g}/λ₁, at most " + (
            f"{self.max_step_size:g}"
        )

    def columns(self, parameters: int, outputs: int) -> Columns:
        return (
            curvature("eigenvalue_1", "λ₁(𝓗)", "sharpness that set the step (E1)"),
            count("power_iterations", "products of 𝓗 with one vector taken for it", "products"),
        )

    def expected_steps(self, flow_time: float) -> float:
        return 10 + flow_time / self.max_step_size

    def products_per_step(self, outputs: int) -> float:
        return 0.5  # a few products at every tenth step

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """A random vector `start` (1, P) to find λ₁ from."""
        from eosflow.spectra.eigenpairs import random_start

        return {"start": random_start(len(theta), 1, theta, seed).T, "steps": 0, "sharpness": 0.0}

    def step(
        self, evaluation: Evaluation, state: State, max_flow_time: float = math.inf
    ) -> Step | None:
        """One step of min(fraction/λ₁, η_max); a loss that rises is no reason to take it again."""
        from eosflow.spectra.eigenpairs import top_eigenpairs

        steps, products = cast(int, state["steps"]), 0
        start, sharpness = cast("Tensor", state["start"]), cast(float, state["sharpness"])
        if steps < 10 or steps % 10 == 0:
            pairs = top_eigenpairs(evaluation.hessian, start.T, 0.01, 50)
            start, sharpness = pairs.vectors.T.clone(), pairs.values[0].item()
            products = pairs.products
        bound = self.fraction / sharpness if sharpness > 0 else math.inf
        step_size = min(bound, self.max_step_size, max_flow_time)
        theta = self._advance(evaluation, step_size)
        if not math.isfinite(theta.sum().item()):
            return None
        facts = {"eigenvalue_1": sharpness, "power_iterations": products}
        following: State = {"start": start, "steps": steps + 1, "sharpness": sharpness}
        return Step(theta, following, step_size, facts)

    def _advance(self, evaluation: Evaluation, step_size: float) -> Tensor:
        return evaluation.theta - step_size * evaluation.gradient


class RungeKutta4(ExplicitEuler):
    """The classical Runge–Kutta method along the flow, stable up to steps of 2.78/λ₁."""

    name: ClassVar[str] = "runge-kutta-4"

    def _advance(self, evaluation: Evaluation, step_size: float) -> Tensor:
        from eosflow.optimizers.integrators import runge_kutta_4

        gradient = gradient_of(evaluation.objective)
        return runge_kutta_4(evaluation.theta, evaluation.gradient, step_size, gradient)

"""The interface of optimizers: a first state, and a step from one state to the next."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from eosflow.storage.columns import Columns
from eosflow.storage.settings import Plugin

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective
    from eosflow.optimizers.batches import Batches

# Everything that the next step depends on, besides θ; a checkpoint holds exactly this. Tensors of
# any shape, or numbers that JSON can hold.
State = Mapping[str, "Tensor | float | int | bool"]


@dataclass(frozen=True)
class Step:
    """One accepted step.

    `theta` (P,) is where it leads and `state` what the next step needs; `step_size` is by how much
    the flow time goes on; `facts` are the further columns of the trajectory, as `columns` names
    them. `evaluation` is that at `theta`, if the step took one, so that the loop need not.
    """

    theta: Tensor
    state: State
    step_size: float
    facts: Mapping[str, float] = field(default_factory=dict)
    evaluation: Evaluation | None = None


class Optimizer(Plugin, ABC):
    """Settings and step rule, and a line in `OPTIMIZERS`.

    Pure: `step` changes neither its arguments nor itself, and equal arguments give equal results to
    the last bit. Planning reads the settings, so a module with an optimizer imports torch, and what
    needs torch, inside its methods alone. `follows_flow` says that the path is that of θ' = −∇𝓛,
    which asks for the whole objective at every step; others may be given batches. Long steps go
    beyond the target loss; with `lands_on_target` the last one is made as short as it takes. If it
    is `rotation_equivariant` the path is the same in any orthonormal coordinates of θ, and a run
    may be trained in fewer of them, see `eosflow.objectives.input_span`.
    `transient` is how many iterations at the start are no part of any analysis, for their steps are
    too long for what they follow: 10 as in the paper, 0 if the error is controlled. `version` is
    raised when the numbers move; only the runs of this optimizer are then made again.
    """

    version: ClassVar[int] = 1
    follows_flow: ClassVar[bool] = False
    lands_on_target: ClassVar[bool] = False
    transient: ClassVar[int] = 10
    rows: ClassVar[str] = ""

    @property
    def rotation_equivariant(self) -> bool:
        """Whether the path is the same in any orthonormal coordinates of θ that hold ∇𝓛."""
        return False

    @abstractmethod
    def describe(self) -> str:
        """The optimizer in words, for the report."""

    def why_not(self, batches: Batches) -> str:
        """Why it cannot be given such batches, and what to do; empty if it can."""
        if not self.follows_flow or batches.whole:
            return ""
        return (
            f"{self.name} follows the flow of the whole loss and cannot be given batches; set "
            "batch: full, or take an optimizer such as gradient-descent."
        )

    def rate(self, steps: int) -> float | None:
        """The learning rate η_t after t steps; None for a flow."""
        return None

    @abstractmethod
    def columns(self, parameters: int, outputs: int) -> Columns:
        """The facts of a step, for P parameters and C outputs."""

    def gradients_per_step(self) -> float:
        """Gradients of a batch that a step needs; a product with a Hessian counts as two.

        Searches for eigenpairs, which the trajectory counts, are left out.
        """
        return 1.0

    def edge(self, gradient_norm: float = math.inf) -> float | None:
        """η times the largest stable λ₁(P⁻¹𝓗) on a quadratic, P = diag(p) of `preconditioner`.

        None if none is known. ‖∇𝓛‖ counts for some.
        """
        return None

    def expected_steps(self, flow_time: float) -> float | None:
        """Steps that so much flow time takes, roughly; None if nothing is known of it."""
        return None

    @abstractmethod
    def products_per_step(self, outputs: int) -> float:
        """Single-vector products with 𝓗 that a step takes, roughly; 0 for gradients alone."""

    def vectors_held(self, outputs: int) -> float:
        """Float64 vectors (P,) that a step holds at once, if more than a measurement does."""
        return 0.0

    @abstractmethod
    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """The state before the first step from θ (P,)."""

    @abstractmethod
    def step(
        self, evaluation: Evaluation, state: State, max_flow_time: float = math.inf
    ) -> Step | None:
        """One step from an evaluation of the loss that it sees; None if there is none (diverged).

        No step of a flow is longer than `max_flow_time`, where the path must stop exactly.
        """

"""Optimizers that need the gradient alone, as `torch.optim` defines them, but pure.

A step is taken wherever it leads, also where the loss rises: at the edge of stability it must.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Self, cast

from pydantic import Field, model_validator

from eosflow.optimizers.base import Optimizer, State, Step
from eosflow.storage.columns import Column, Columns

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective

Buffers = Mapping[str, "Tensor"]


class GradientOptimizer(Optimizer):
    """θ ← θ − η_t d, with d from ∇𝓛(θ) and buffers (P,), which start at 0.

    In this order, as a loop around `torch.optim` has it: ∇𝓛 is clipped, then λθ is added, then
    comes the rule of the optimizer. η_t is `rate(t)`.
    """

    learning_rate: float = Field(description="learning rate η", gt=0, examples=[0.1])
    weight_decay: float = Field(0.0, description="λ: λθ is added to the gradient", ge=0)
    warmup_steps: int = Field(
        0, description="steps over which the learning rate grows linearly to its full value", ge=0
    )
    drop_at: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (),
        description="steps after which the learning rate is multiplied by drop_factor",
    )
    drop_factor: float = Field(
        0.1, description="factor on the learning rate at each of drop_at", gt=0
    )
    cosine_steps: int = Field(
        0, description="steps over which the learning rate falls to 0 as a cosine; 0: never", ge=0
    )
    clip_norm: float = Field(
        0.0, description="norm to which a longer gradient is shortened; 0: never", ge=0
    )

    def rate(self, steps: int) -> float:
        """η_t = η · min(1, (t+1)/W) · f^#{s ∈ drop_at: s ≤ t} · (1 + cos πt/T)/2, t steps done.

        W = warmup_steps, f = drop_factor, T = cosine_steps, after which η_t = 0; all three count
        from the first step. As ChainedScheduler over LinearLR(start_factor=1/W, total_iters=W−1),
        MultiStepLR and CosineAnnealingLR, but for the end of the cosine: there η rises again.
        """
        rate = self.learning_rate
        if steps < self.warmup_steps:
            rate *= (steps + 1) / self.warmup_steps
        rate *= self.drop_factor ** sum(step <= steps for step in self.drop_at)
        if self.cosine_steps:
            done = min(1.0, steps / self.cosine_steps)
            rate *= math.cos(math.pi / 2 * done) ** 2 if done < 1 else 0.0
        return rate

    def describe(self) -> str:
        """Such as `gradient descent, learning rate 0.01, momentum 0.9`."""
        name, *words = self._words()
        rate = f"learning rate {self.learning_rate:g}"
        return ", ".join([name, rate, *words, *self._shared_words()])

    def columns(self, parameters: int, outputs: int) -> Columns:
        """η_t and ‖∇𝓛‖ before clipping and without λθ."""
        return (
            Column("learning_rate", "η", "learning rate of this step", "flow time"),
            Column(
                "gradient_norm",
                "‖∇𝓛‖",
                "length of the gradient before clipping and without weight decay",
                "loss / parameter",
            ),
        )

    def products_per_step(self, outputs: int) -> float:
        """0: gradients alone."""
        return 0

    def vectors_held(self, outputs: int) -> float:
        """Two buffers of the state at most, before and after the step, and what is in between."""
        return 6.0

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """`steps` = 0 and the optimizer's buffers (P,), which are 0."""
        return {"steps": 0, **{name: theta.new_zeros(theta.shape) for name in self._buffers()}}

    def step(
        self,
        objective: Objective,
        evaluation: Evaluation,
        state: State,
        max_flow_time: float = math.inf,
    ) -> Step | None:
        """θ − η_t d; None where that is not finite. η_t is also the step size."""
        steps = cast(int, state["steps"])
        rate, norm = self.rate(steps), evaluation.gradient.norm().item()
        gradient, more = self._gradient(objective, evaluation, state)
        seen, buffers = self._seen(gradient, evaluation.theta), cast("Buffers", state)
        theta, buffers = self._update(evaluation.theta, seen, rate, steps + 1, buffers)
        if not theta.isfinite().all():
            return None
        facts = {"learning_rate": rate, "gradient_norm": norm}
        return Step(theta, {"steps": steps + 1, **buffers, **more}, rate, facts)

    def _gradient(
        self, objective: Objective, evaluation: Evaluation, state: State
    ) -> tuple[Tensor, Buffers]:
        """What stands for ∇𝓛 in the step, and new values of the buffers that it takes."""
        return evaluation.gradient, {}

    def preconditioner(self, objective: Objective, evaluation: Evaluation, state: State) -> Tensor:
        """p (P,), P = diag(p): the step from here divides by it, entry by entry; 1 if it does not.

        Of Adam √v̂ + ε and of RMSprop √v + ε, v with the gradient at `point` in it.
        """
        count = cast(int, state["steps"]) + 1
        seen = self._seen(self._gradient(objective, evaluation, state)[0], evaluation.theta)
        return self._divisor(seen, count, cast("Buffers", state))[0]

    @abstractmethod
    def _words(self) -> list[str]:
        """The optimizer's name in words, then what sets it apart."""

    def _buffers(self) -> tuple[str, ...]:
        """Names of the buffers in the state."""
        return ()

    @abstractmethod
    def _update(
        self, theta: Tensor, gradient: Tensor, rate: float, count: int, buffers: Buffers
    ) -> tuple[Tensor, Buffers]:
        """The new θ (P,) and buffers, as fresh tensors, in the step number `count` = 1, 2, …

        `gradient` is as clipped and with λθ.
        """

    def _divisor(
        self, gradient: Tensor, count: int, buffers: Buffers
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """p (P,) of `preconditioner`, and the new buffers that it comes from."""
        return gradient.new_ones(gradient.shape), {}

    def _seen(self, gradient: Tensor, theta: Tensor) -> Tensor:
        """The gradient that the rule sees: clipped, then with λθ."""
        if self.clip_norm:
            # The 1e-6 is that of torch.nn.utils.clip_grad_norm_.
            gradient = gradient * min(1.0, self.clip_norm / (gradient.norm().item() + 1e-6))
        return self._decayed(gradient, theta)

    def _decayed(self, gradient: Tensor, theta: Tensor) -> Tensor:
        """∇𝓛 + λθ."""
        return gradient.add(theta, alpha=self.weight_decay) if self.weight_decay else gradient

    def _shared_words(self) -> list[str]:
        drops = ", ".join(str(step) for step in sorted(self.drop_at))
        words = {
            f"weight decay {self.weight_decay:g}": self.weight_decay,
            f"warm-up over {self.warmup_steps} steps": self.warmup_steps,
            f"multiplied by {self.drop_factor:g} after steps {drops}": self.drop_at,
            f"falling to 0 as a cosine over {self.cosine_steps} steps": self.cosine_steps,
            f"gradient norm clipped at {self.clip_norm:g}": self.clip_norm,
        }
        return [text for text, said in words.items() if said]


class GradientDescent(GradientOptimizer):
    """m ← μm + g, θ ← θ − η m, or θ ← θ − η(g + μm) with Nesterov; m = g in the first step.

    On a quadratic it converges iff ηλ₁ < 2 + 2μ, with Nesterov iff ηλ₁ < (2 + 2μ)/(1 + 2μ).
    Source: torch.optim.SGD without dampening; Polyak 1964. Raises: UserError for Nesterov without
    momentum, which would be plain gradient descent.
    """

    name: ClassVar[str] = "gradient-descent"
    version: ClassVar[int] = 2

    momentum: float = Field(0.0, description="momentum μ; 0: plain gradient descent", ge=0, lt=1)
    nesterov: bool = Field(False, description="Nesterov's momentum instead of Polyak's")

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError(
                "nesterov is true, but momentum is 0: "
                "give a momentum above 0, or leave out nesterov."
            )
        return self

    @property
    def rotation_equivariant(self) -> bool:
        """Yes, without weight decay, which moves also what no gradient does; not of a subclass."""
        return type(self) is GradientDescent and not self.weight_decay

    def edge(self, gradient_norm: float = math.inf) -> float:
        """η times the largest λ₁(𝓗) that is stable on a quadratic: 2 + 2μ, of Nesterov's momentum
        (2 + 2μ)/(1 + 2μ). With weight decay λ, that of 𝓗 + λI. ‖∇𝓛‖ counts for SAM alone.
        """
        return (2 + 2 * self.momentum) / ((1 + 2 * self.momentum) if self.nesterov else 1)

    def _words(self) -> list[str]:
        kind = "Nesterov momentum" if self.nesterov else "momentum"
        return ["gradient descent", *([f"{kind} {self.momentum:g}"] if self.momentum else [])]

    def _buffers(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def _update(
        self, theta: Tensor, gradient: Tensor, rate: float, count: int, buffers: Buffers
    ) -> tuple[Tensor, Buffers]:
        if not self.momentum:
            return theta.add(gradient, alpha=-rate), {}
        momentum = buffers["momentum"].mul(self.momentum).add_(gradient)
        way = gradient.add(momentum, alpha=self.momentum) if self.nesterov else momentum
        return theta.add(way, alpha=-rate), {"momentum": momentum}

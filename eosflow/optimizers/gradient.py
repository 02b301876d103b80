"""Optimizers that need only the gradient, as in `torch.optim`, but as pure functions.

A step is taken wherever it leads, also where the loss rises: at the edge of stability it must.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

from pydantic import Field, model_validator

from eosflow.optimizers.base import Optimizer, State, Step
from eosflow.optimizers.wraps import AnyWrap, Gradient, Wrap
from eosflow.storage.columns import Column, Columns

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Evaluation, Objective

Buffers = Mapping[str, "Tensor"]


class GradientOptimizer(Optimizer):
    """θ ← θ − η_t d, with d from ∇𝓛(θ) and buffers (P,), which start at 0.

    A chain: what `wrap` makes of ∇𝓛 is clipped, then λθ is added, as a loop around `torch.optim`
    has it, then comes the rule of the optimizer. With decoupled weight decay λθ is not in the
    gradient: θ ← (1 − η_tλ)θ comes before the rule. η_t is `rate(t)`.
    """

    learning_rate: float = Field(description="learning rate η", gt=0, examples=[0.1])
    weight_decay: float = Field(0.0, description="λ: λθ is added to the gradient", ge=0)
    decoupled_weight_decay: bool = Field(
        False,
        description="decoupled weight decay: shrink the weights and leave the gradient "
        "unchanged, as AdamW",
    )
    wrap: tuple[AnyWrap, ...] = Field(
        (),
        description="rules around the gradient, the innermost first, such as "
        "{name: sam, rho: 0.05}",
    )
    warmup_steps: int = Field(
        0, description="steps over which the learning rate grows linearly to its full value", ge=0
    )
    drop_at: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="steps after which the learning rate is multiplied by drop_factor"
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

    @model_validator(mode="after")
    def _each_wrap_is_there_once(self) -> Self:
        names = [wrap.name for wrap in self.wraps]
        if len(set(names)) < len(names):
            raise ValueError(f"wrap: no rule may occur twice, and there are {', '.join(names)}")
        return self

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
        name, *words = self._words()
        for wrap in self.wraps:
            name, *more = wrap.words(name)
            words = [*more, *words]
        rate = f"learning rate {self.learning_rate:g}"
        return ", ".join([name, rate, *words, *self._shared_words()])

    def columns(self, parameters: int, outputs: int) -> Columns:
        return (
            Column("learning_rate", "η", "learning rate of this step", "flow time"),
            Column(
                "gradient_norm",
                "‖∇𝓛‖",
                "length of the gradient before clipping and without weight decay",
                "loss / parameter",
            ),
            *(column for wrap in self.wraps for column in wrap.columns()),
        )

    def products_per_step(self, outputs: int) -> float:
        """Gradients after the first cost half a product each."""
        return (self.gradients_per_step() - 1) / 2

    def gradients_per_step(self) -> float:
        return 1.0 + sum(wrap.more_gradients() for wrap in self.wraps)

    @property
    def wraps(self) -> tuple[Wrap, ...]:
        """The rules around the gradient, the innermost first."""
        return self.wrap

    def init(self, objective: Objective, theta: Tensor, seed: int) -> State:
        """`steps` = 0, the rule's buffers (P,), which are 0, and what the wraps have."""
        state: dict[str, Any] = {"steps": 0}
        state |= {name: theta.new_zeros(theta.shape) for name in self._buffers()}
        for wrap in self.wraps:
            state |= wrap.init(objective, theta, seed)
        return state

    def step(
        self, evaluation: Evaluation, state: State, max_flow_time: float = math.inf
    ) -> Step | None:
        """θ − η_t d; None if that is not finite. η_t is also the step size."""
        steps = cast(int, state["steps"])
        rate, norm = self.rate(steps), evaluation.gradient.norm().item()
        gradient, wrapped = self._gradient(evaluation, state)
        seen, theta = self._seen(gradient, evaluation.theta), evaluation.theta
        if self.decoupled_weight_decay:
            theta = theta.mul(1 - rate * self.weight_decay)
        theta, buffers = self._update(theta, seen, rate, steps + 1, cast("Buffers", state))
        if not theta.isfinite().all():
            return None
        after: State = {**state, **wrapped, **buffers, "steps": steps + 1}
        named = (column.name for wrap in self.wraps for column in wrap.columns())
        facts = {"learning_rate": rate, "gradient_norm": norm}
        facts |= {name: float(cast("Tensor", after[name])) for name in named}
        return Step(theta, after, rate, facts)

    def _gradient(self, evaluation: Evaluation, state: State) -> tuple[Tensor, State]:
        """What stands for ∇𝓛 in the step, and new values of the state that it takes."""
        after: dict[str, Any] = {}

        def around(inner: Gradient, wrap: Wrap) -> Gradient:
            def wrapped(at: Evaluation) -> Tensor:
                gradient, new = wrap.gradient(at, inner, state)
                after.update(new)
                return gradient

            return wrapped

        gradient: Gradient = functools.partial(self._gradient_at, state=state)
        for wrap in self.wraps:
            gradient = around(gradient, wrap)
        return gradient(evaluation), after

    def _gradient_at(self, evaluation: Evaluation, state: State) -> Tensor:
        """The gradient (P,) within all wraps."""
        return evaluation.gradient

    def preconditioner(self, evaluation: Evaluation, state: State) -> Tensor:
        """p (P,), P = diag(p): the step from here divides by it, entry by entry; 1 if it does not.

        Of Adam √v̂ + ε and of RMSprop √v + ε, v with the gradient of `evaluation` in it.
        """
        count = cast(int, state["steps"]) + 1
        seen = self._seen(self._gradient(evaluation, state)[0], evaluation.theta)
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
        if self.decoupled_weight_decay or not self.weight_decay:
            return gradient
        return gradient.add(theta, alpha=self.weight_decay)

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
        """False with weight decay, which moves also what no gradient moves, and with wraps."""
        return type(self) is GradientDescent and not (self.weight_decay or self.wraps)

    def edge(self, gradient_norm: float = math.inf) -> float | None:
        """Without wraps 2 + 2μ, of Nesterov (2 + 2μ)/(1 + 2μ); with weight decay that of 𝓗 + λI."""
        edge: float | None = (2 + 2 * self.momentum) / (1 + 2 * self.momentum * self.nesterov)
        for wrap in self.wraps:
            edge = None if edge is None else wrap.edge(edge, self.learning_rate, gradient_norm)
        return edge

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

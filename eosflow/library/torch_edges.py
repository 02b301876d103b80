"""The limits of stability of torch.optim's optimizers, from their state and parameter groups.

On a quadratic loss a step with its preconditioner P fixed is a linear recurrence: coordinate i
answers the gradient 𝓗θ by θ_i = −G_i(z) (𝓗θ)_i, z the shift by one step, with G_i = g(z)/p_i of its
parameter group. On |z| = 1 the sign of Im G_i is the same for every rule here, so no 𝓗 has a
root of det(I + G(z)𝓗) there but at z = ±1. Hence for 𝓗 ≻ 0 the steps are stable iff
λ₁(D^(−½)𝓗D^(−½)) < 1 with D = diag(−1/G_i(−1)), also where groups differ. What is called the edge
is −1/g(−1): 2/η of plain gradient descent. Source of P for Adam: Cohen et al., Adaptive gradient
methods at the edge of stability, arXiv:2207.14484.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RMSprop

from eosflow.spectra.eigenpairs import Operator
from eosflow.storage.errors import UserError

Group = Mapping[str, Any]
State = Mapping[str, Any]
# flatten(tensors): a vector like θ of one tensor per parameter.
Flatten = Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Part:
    """One parameter's share: 1/edge, p (its shape; None: 1), and the λ that is added to 𝓗."""

    rate: float
    divisor: Tensor | None
    decay: float


def _sgd(group: Group, _: State) -> Part:
    """m ← μm + (1 − τ)g, θ ← θ − ηm: edge (2 + 2μ)/(η(1 − τ)); Nesterov (2 + 2μ)/(η(1 + 2μ))."""
    rate, momentum = float(group["lr"]), float(group["momentum"])
    if group["nesterov"]:
        factor = 1 + 2 * momentum
    else:  # torch leaves dampening out where there is no momentum
        factor = 1 - float(group["dampening"]) if momentum else 1.0
    return Part(rate * factor / (2 + 2 * momentum), None, float(group["weight_decay"]))


def _adam(group: Group, state: State) -> Part | None:
    """P = √v̂ + ε: edge (2 − ηλ)(1 + β₁)(1 − β₁ᵗ)/(η(1 − β₁)), λ the decoupled weight decay.

    Of AMSGrad v̂ is the largest so far.
    """
    if not state:
        return None
    (first, second), count = map(float, group["betas"]), float(state["step"])
    square = state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"]
    divisor = (square / (1 - second**count)).sqrt() + group["eps"]
    turn, decay = _decayed(group, bool(group.get("decoupled_weight_decay")))
    gain = float(group["lr"]) * (1 - first) / ((1 + first) * (1 - first**count))
    return Part(gain / turn, divisor, decay)


def _nadam(group: Group, state: State) -> Part | None:
    """θ ← θ − η(a g + b m)/p, a and b of the last step: edge (2 − ηλ)/(η(a + b(1−β₁)/(1+β₁)))."""
    if not state:
        return None
    (first, second), count = map(float, group["betas"]), float(state["step"])
    now, following = (
        first * (1 - 0.5 * 0.96 ** (step * float(group["momentum_decay"])))
        for step in (count, count + 1)
    )
    product = float(state["mu_product"])
    ahead = (1 - now) / (1 - product)
    behind = following / (1 - product * following)
    divisor = (state["exp_avg_sq"] / (1 - second**count)).sqrt() + group["eps"]
    turn, decay = _decayed(group, bool(group["decoupled_weight_decay"]))
    gain = float(group["lr"]) * (ahead + behind * (1 - first) / (1 + first))
    return Part(gain / turn, divisor, decay)


def _rmsprop(group: Group, state: State) -> Part | None:
    """P = √v + ε, centred √(v − ḡ²) + ε; m ← μm + g/p, θ ← θ − ηm: edge (2 + 2μ)/η."""
    if not state:
        return None
    square = state["square_avg"]
    if group["centered"]:
        square = (square - state["grad_avg"].square()).clamp(min=0)
    rate = float(group["lr"]) / (2 + 2 * float(group["momentum"]))
    return Part(rate, square.sqrt() + group["eps"], float(group["weight_decay"]))


def _adagrad(group: Group, state: State) -> Part | None:
    """P = √Σg² + ε: edge 2/η_t, η_t = η/(1 + (t − 1) lr_decay)."""
    count = float(state["step"]) if state else 0.0
    if not count:
        return None
    rate = float(group["lr"]) / (1 + (count - 1) * float(group["lr_decay"]))
    return Part(rate / 2, state["sum"].sqrt() + group["eps"], float(group["weight_decay"]))


RULES: dict[type[Optimizer], Callable[[Group, State], Part | None]] = {
    SGD: _sgd,
    Adam: _adam,
    AdamW: _adam,
    NAdam: _nadam,
    RMSprop: _rmsprop,
    Adagrad: _adagrad,
}


@dataclass(frozen=True)
class Edge:
    """A = S^½(𝓗 + Λ)S^½ and the edge that λ₁(A) is stable below, S = P⁻¹ where one rate serves all.

    Where groups differ, λ₁(A) and `edge` are in units of the group that is unstable first: the rows
    of P of another are longer by the ratio of the edges. `scale` s (P,) and `decay` Λ (P,) are
    numbers where they are the same in every coordinate.
    """

    scale: Tensor | float
    decay: Tensor | float
    edge: float

    @property
    def uniform(self) -> bool:
        """Whether λ₁(A) is s(λ₁(𝓗) + Λ) for two numbers."""
        return not isinstance(self.scale, Tensor) and not isinstance(self.decay, Tensor)

    def operator(self, hessian: Operator) -> Operator:
        """A from 𝓗, on vectors like θ."""

        def column(part: Tensor | float) -> Tensor | float:
            return part[:, None] if isinstance(part, Tensor) else part

        root, decay = column(self.scale) ** 0.5, column(self.decay)

        def apply(block: Tensor, out: Tensor) -> Tensor:
            inner = (root * block).T.contiguous().T
            hessian(inner, out)
            return out.add_(decay * inner).mul_(root)

        return apply


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


class Stability:
    """A torch optimizer as a source of edges; `why_not` says why there are none, if so.

    `parameters` are those of θ, in its order. What the optimizer does not move has no share in A.

    Raises: UserError for an optimizer that holds none of the parameters.
    """

    def __init__(self, optimizer: Any, parameters: Sequence[Tensor]) -> None:
        self._parameters = list(parameters)
        # Lightning and Accelerate wrap the optimizer.
        while type(optimizer) not in RULES and hasattr(optimizer, "optimizer"):
            optimizer = optimizer.optimizer
        if not isinstance(optimizer, Optimizer):
            raise UserError(
                f"optimizer: {type(optimizer).__name__} was given; it must be the torch.optim "
                "optimizer of the loop, or be left out."
            )
        self._optimizer = optimizer
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not any(id(parameter) in held for parameter in self._parameters):
            raise UserError(
                "optimizer: none of its parameters is one of the module's. Make the optimizer "
                "from the parameters of the monitored module."
            )
        self.why_not = ""
        name = type(optimizer).__name__
        if type(optimizer) not in RULES:
            known = ", ".join(kind.__name__ for kind in RULES)
            self.why_not = f"the edge of {name} is not known (known: {known})"
        elif any(group.get("maximize") for group in optimizer.param_groups):
            self.why_not = f"{name} maximizes"
        elif any(parameter.is_complex() for parameter in self._parameters):
            self.why_not = f"the edge of {name} is not known for complex parameters"

    def rate(self, steps: int) -> float:
        """η of the first group, as it is now."""
        return float(self._optimizer.param_groups[0]["lr"])

    def now(self, flat: Flatten = _joined) -> Edge | None:
        """The edge as the last step left the state, at the rates that the groups have now.

        `flat` makes a vector like θ of a tensor per parameter. None if there is no edge: of an
        optimizer that is not known, or that has taken no step yet.
        """
        if self.why_not:
            return None
        parts = self._parts()
        fastest = max((part.rate for part in parts if part), default=0.0)
        if not any(parts):
            return None
        scales: list[Tensor | float] = []
        decays: list[Tensor | float] = []
        for part in parts:
            share = (part.rate / fastest if fastest else 1.0) if part else 0.0
            divisor = part.divisor if part else None
            scales.append(share if divisor is None else share / divisor)
            decays.append(part.decay if part else 0.0)
        edge = 1 / fastest if fastest else float("inf")
        return Edge(self._whole(scales, flat), self._whole(decays, flat), edge)

    def stepped(self, values: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
        """Where the optimizer would step from these parameters at these gradients, in θ's order.

        By a copy of the optimizer with copies of its state, on copies of the parameters.
        """
        twin, own = copy.copy(self._optimizer), {}
        for parameter, value, gradient in zip(self._parameters, values, gradients, strict=True):
            own[id(parameter)] = value.detach().clone().requires_grad_()
            own[id(parameter)].grad = gradient.detach().clone()
        twin.param_groups = [
            {**group, "params": [own[id(p)] for p in group["params"] if id(p) in own]}
            for group in self._optimizer.param_groups
        ]
        held = self._optimizer.state.items()
        states = {own[id(p)]: copy.deepcopy(state) for p, state in held if id(p) in own}
        twin.state = defaultdict(dict, states)
        twin.step()
        return [own[id(parameter)].detach() for parameter in self._parameters]

    def _parts(self) -> list[Part | None]:
        rule = RULES[type(self._optimizer)]
        found = {
            id(parameter): rule(group, self._optimizer.state.get(parameter, {}))
            for group in self._optimizer.param_groups
            for parameter in group["params"]
        }
        return [found.get(id(parameter)) for parameter in self._parameters]

    def _whole(self, values: Sequence[Tensor | float], flat: Flatten) -> Tensor | float:
        """One number, if it is the same everywhere; else (P,)."""
        first = values[0]
        if not isinstance(first, Tensor) and all(
            not isinstance(value, Tensor) and value == first for value in values
        ):
            return first
        whole = [
            value if isinstance(value, Tensor) else torch.full_like(parameter, value)
            for value, parameter in zip(values, self._parameters, strict=True)
        ]
        return flat(whole).detach()


def _decayed(group: Group, decoupled: bool) -> tuple[float, float]:
    """2 − ηλ for weights that are shrunk by 1 − ηλ, else 2; and the λ that is added to 𝓗."""
    decay = float(group["weight_decay"])
    return (2 - float(group["lr"]) * decay, 0.0) if decoupled else (2.0, decay)

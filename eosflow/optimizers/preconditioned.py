"""Adam and RMSprop: each coordinate of a step is divided by a mean of its squared gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from eosflow.optimizers.gradient import Buffers, GradientOptimizer

if TYPE_CHECKING:
    from torch import Tensor


class Adam(GradientOptimizer):
    """θ ← θ − η m̂/(√v̂ + ε), m and v running means of g and g², m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ).

    With decoupled weight decay, λθ is not in g: θ ← (1 − ηλ)θ comes first. Source:
    torch.optim.Adam and AdamW; Kingma & Ba 2015, Loshchilov & Hutter 2019.
    """

    name: ClassVar[str] = "adam"

    beta1: float = Field(0.9, description="β₁, for the mean of the gradients", ge=0, lt=1)
    beta2: float = Field(0.999, description="β₂, for the mean of their squares", ge=0, lt=1)
    epsilon: float = Field(1e-8, description="ε, added to the denominator", ge=0)

    def edge(self, gradient_norm: float = math.inf) -> float | None:
        """η times the largest λ₁(P⁻¹𝓗) that is stable on a quadratic: (2 + 2β₁)/(1 − β₁).

        That is 38 at β₁ = 0.9. P is frozen; decoupled weight decay is left out of account.
        Source: Jeremy Cohen et al., Adaptive gradient methods at the edge of stability, 2022.
        """
        return None if self.wraps else (2 + 2 * self.beta1) / (1 - self.beta1)

    def _words(self) -> list[str]:
        name = "AdamW" if self.decoupled_weight_decay else "Adam"
        return [name, f"β₁ {self.beta1:g}", f"β₂ {self.beta2:g}", f"ε {self.epsilon:g}"]

    def _buffers(self) -> tuple[str, ...]:
        return ("mean", "square_mean")

    def _update(
        self, theta: Tensor, gradient: Tensor, rate: float, count: int, buffers: Buffers
    ) -> tuple[Tensor, Buffers]:
        mean = buffers["mean"].lerp(gradient, 1 - self.beta1)
        scale, new = self._divisor(gradient, count, buffers)
        way = -rate / (1 - self.beta1**count)
        return theta.addcdiv(mean, scale, value=way), {"mean": mean, **new}

    def _divisor(
        self, gradient: Tensor, count: int, buffers: Buffers
    ) -> tuple[Tensor, dict[str, Tensor]]:
        squares = _running_square(buffers["square_mean"], gradient, self.beta2)
        scale = squares.sqrt().div_(math.sqrt(1 - self.beta2**count)).add_(self.epsilon)
        return scale, {"square_mean": squares}


class RMSprop(GradientOptimizer):
    """θ ← θ − η u, u = g/(√v + ε), v the running mean of g²; with momentum m ← μm + u, θ ← θ − η m.

    Centered, v is the running variance: the mean of g² less the square of the mean of g. Source:
    torch.optim.RMSprop, where v = 0 is the start and is not corrected for; Graves 2013.
    """

    name: ClassVar[str] = "rmsprop"

    alpha: float = Field(0.99, description="α, for the mean of the squares", ge=0, lt=1)
    epsilon: float = Field(1e-8, description="ε, added to the denominator", ge=0)
    momentum: float = Field(0.0, description="momentum μ", ge=0, lt=1)
    centered: bool = Field(
        False,
        description="divide by the standard deviation instead of the root mean square of the "
        "gradient",
    )

    def edge(self, gradient_norm: float = math.inf) -> float | None:
        """η times the largest λ₁(P⁻¹𝓗) that is stable on a quadratic with P frozen: 2 + 2μ."""
        return None if self.wraps else 2 + 2 * self.momentum

    def _words(self) -> list[str]:
        words = ["RMSprop", f"α {self.alpha:g}", f"ε {self.epsilon:g}"]
        words += [f"momentum {self.momentum:g}"] if self.momentum else []
        return words + (["centered"] if self.centered else [])

    def _buffers(self) -> tuple[str, ...]:
        given = {"square_mean": True, "mean": self.centered, "momentum": self.momentum > 0}
        return tuple(name for name, there in given.items() if there)

    def _update(
        self, theta: Tensor, gradient: Tensor, rate: float, count: int, buffers: Buffers
    ) -> tuple[Tensor, Buffers]:
        scale, new = self._divisor(gradient, count, buffers)
        if not self.momentum:
            return theta.addcdiv(gradient, scale, value=-rate), new
        new["momentum"] = momentum = (
            buffers["momentum"].mul(self.momentum).addcdiv_(gradient, scale)
        )
        return theta.add(momentum, alpha=-rate), new

    def _divisor(
        self, gradient: Tensor, count: int, buffers: Buffers
    ) -> tuple[Tensor, dict[str, Tensor]]:
        squares = _running_square(buffers["square_mean"], gradient, self.alpha)
        new, variance = {"square_mean": squares}, squares
        if self.centered:
            new["mean"] = mean = buffers["mean"].lerp(gradient, 1 - self.alpha)
            # Rounding can make a variance of 0 negative; torch then goes on with NaN.
            variance = squares.addcmul(mean, mean, value=-1).clamp_(min=0)
        return variance.sqrt().add_(self.epsilon), new


def _running_square(mean: Tensor, gradient: Tensor, keep: float) -> Tensor:
    """βv + (1 − β)g²."""
    return mean.mul(keep).addcmul_(gradient, gradient, value=1 - keep)

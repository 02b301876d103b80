"""The functions between the layers, with the two derivatives that curvature needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

INVERSE_ROOT_2PI = 1 / math.sqrt(2 * math.pi)


@dataclass(frozen=True)
class Activation:
    """φ with φ' and φ'', each a function of z of any shape.

    `value(z)` is φ(z), which autograd can differentiate three times; `value_` overwrites z with it
    and is not differentiated. `slope(z, out)` writes φ'. `second_order(z, out)` writes φ''/φ' where
    `ratio` is true, and φ'' otherwise: block products hold φ'·ż and need φ''·ż, so that the ratio
    saves them one buffer. It asks for φ' > 0, or for φ'' = 0 wherever φ' = 0. `together(z, slope,
    second_order)` does the work of `all_` to the same bits, where there is a cheaper way.
    """

    value: Callable[[Tensor], Tensor]
    value_: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]
    second_order: Callable[[Tensor, Tensor], Tensor]
    ratio: bool = True
    together: Callable[[Tensor, Tensor, Tensor], None] | None = None

    def all_(self, z: Tensor, slope: Tensor, second_order: Tensor) -> None:
        """Write φ' and what `second_order` writes, and overwrite z with φ."""
        if self.together is not None:
            self.together(z, slope, second_order)
            return
        self.slope(z, slope)
        self.second_order(z, second_order)
        self.value_(z)


def _tanh_slope(z: Tensor, out: Tensor) -> Tensor:
    torch.tanh(z, out=out)
    return out.square_().neg_().add_(1)


def _tanh_together(z: Tensor, slope: Tensor, second_order: Tensor) -> None:
    z.tanh_()
    torch.sub(1, torch.mul(z, z, out=slope), out=slope)
    torch.mul(z, -2, out=second_order)


def _softplus_slope(z: Tensor, out: Tensor) -> Tensor:
    return torch.sigmoid(z, out=out)


def _sigmoid_slope(z: Tensor, out: Tensor) -> Tensor:
    return torch.mul(torch.sigmoid(z), torch.sigmoid(-z), out=out)


def _normal_density(z: Tensor) -> Tensor:
    return torch.exp(-z.square() / 2) * INVERSE_ROOT_2PI


def _normal_distribution(z: Tensor) -> Tensor:
    return torch.erfc(-z / math.sqrt(2)) / 2


def _silu_slope(z: Tensor, out: Tensor) -> Tensor:
    sigmoid = torch.sigmoid(z)
    return out.copy_(sigmoid * (1 + z * torch.sigmoid(-z)))


def _silu_second_order(z: Tensor, out: Tensor) -> Tensor:
    slope = torch.sigmoid(z) * torch.sigmoid(-z)
    return out.copy_(slope * (2 - z * torch.tanh(z / 2)))


ACTIVATIONS: dict[str, Activation] = {
    # φ = z for z > 0, e^z − 1 for z ≤ 0 (Clevert et al. 2016, α = 1); φ''/φ' = [z ≤ 0]
    "elu": Activation(
        value=functional.elu,
        value_=lambda z: functional.elu(z, inplace=True),
        slope=lambda z, out: torch.clamp(z, max=0, out=out).exp_(),
        second_order=lambda z, out: out.copy_(z <= 0),
    ),
    # φ' = 1 − tanh², φ''/φ' = −2 tanh
    "tanh": Activation(
        value=torch.tanh,
        value_=torch.tanh_,
        slope=_tanh_slope,
        second_order=lambda z, out: torch.tanh(z, out=out).mul_(-2),
        together=_tanh_together,
    ),
    # φ = z Φ(z) with the normal distribution Φ and its density n; φ' = Φ + z n, φ'' = (2 − z²) n.
    # φ' vanishes near z = −0.75, where φ'' does not.
    "gelu": Activation(
        value=lambda z: z * _normal_distribution(z),
        value_=lambda z: z.copy_(z * _normal_distribution(z)),
        slope=lambda z, out: out.copy_(_normal_distribution(z) + z * _normal_density(z)),
        second_order=lambda z, out: out.copy_((2 - z.square()) * _normal_density(z)),
        ratio=False,
    ),
    # φ = log(1 + e^z), φ' = σ(z), φ''/φ' = σ(−z)
    "softplus": Activation(
        value=lambda z: functional.softplus(z, threshold=40),
        value_=lambda z: z.copy_(functional.softplus(z, threshold=40)),
        slope=_softplus_slope,
        second_order=lambda z, out: torch.sigmoid(-z, out=out),
    ),
    # φ' = [z > 0], 0 at 0; φ'' = 0
    "relu": Activation(
        value=torch.relu,
        value_=torch.relu_,
        slope=lambda z, out: out.copy_(z > 0),
        second_order=lambda z, out: out.zero_(),
    ),
    # φ' = σ(z) σ(−z), φ''/φ' = σ(−z) − σ(z) = −tanh(z/2)
    "sigmoid": Activation(
        value=torch.sigmoid,
        value_=torch.sigmoid_,
        slope=_sigmoid_slope,
        second_order=lambda z, out: torch.tanh(z / 2, out=out).neg_(),
    ),
    # φ = z σ(z), φ' = σ (1 + z σ(−z)), φ'' = σ σ(−z) (2 − z tanh(z/2)); φ' vanishes near −1.28
    "silu": Activation(
        value=functional.silu,
        value_=lambda z: functional.silu(z, inplace=True),
        slope=_silu_slope,
        second_order=_silu_second_order,
        ratio=False,
    ),
}

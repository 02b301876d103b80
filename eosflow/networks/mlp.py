"""The multi-layer perceptron on one flat parameter vector, and its initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eosflow.spectra.randomness import generator


@dataclass(frozen=True)
class Activation:
    """φ with the two derivatives that curvature needs, each a function of z of any shape.

    `value_` overwrites z with φ(z); `derivative(z, out)` writes φ'; `curvature(z, out)` writes
    φ''/φ', not φ'': block products hold φ'·ż and need φ''·ż, and one buffer less is then enough.
    It asks for φ' > 0, which holds for ELU and for every other smooth, strictly increasing φ.
    """

    value_: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor, Tensor], Tensor]
    curvature: Callable[[Tensor, Tensor], Tensor]


ACTIVATIONS: dict[str, Activation] = {
    "elu": Activation(  # φ = z for z > 0, e^z − 1 for z ≤ 0 (Clevert et al. 2016, α = 1)
        value_=lambda z: torch.nn.functional.elu(z, inplace=True),
        derivative=lambda z, out: torch.clamp(z, max=0, out=out).exp_(),
        curvature=lambda z, out: out.copy_(z <= 0),
    ),
}


class Network:
    """z_l = W_l a_{l−1} + b_l for l = 1..L, a_l = φ(z_l) for l < L, a_0 = x; the output is z_L.

    Parameters are one vector θ (P,): W_1 (d_1, d_0) row by row, b_1 (d_1,), W_2, … b_L.
    Raises: ValueError for an activation that is not in `ACTIVATIONS`. Source: LK24 section 2.1.
    """

    def __init__(self, dimensions: Sequence[int], activation: str = "elu") -> None:
        self.dimensions = tuple(dimensions)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation: {activation!r} was given; allowed: {', '.join(ACTIVATIONS)}"
            )
        self.activation = ACTIVATIONS[activation]
        sizes = zip(self.dimensions[1:], self.dimensions[:-1], strict=True)
        self._shapes = [shape for out, into in sizes for shape in ((out, into), (out,))]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self.parameters = sum(self._sizes)

    @property
    def depth(self) -> int:
        """L, the number of affine layers."""
        return len(self.dimensions) - 1

    def layers(self, theta: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Views of (W_l, b_l) for l = 1..L in θ (P,).

        For a block of k vectors, (k, P), the views are (k, d_l, d_{l−1}) and (k, d_l).
        """
        parts = torch.split(theta, self._sizes, dim=-1)
        views = [
            part.view(*part.shape[:-1], *shape)
            for part, shape in zip(parts, self._shapes, strict=True)
        ]
        return list(zip(views[0::2], views[1::2], strict=True))

    def named(self, theta: Tensor) -> dict[str, Tensor]:
        """The layer views under the names of a snapshot: `layer1.weight`, `layer1.bias`, …"""
        names: dict[str, Tensor] = {}
        for number, (weight, bias) in enumerate(self.layers(theta), start=1):
            names[f"layer{number}.weight"] = weight
            names[f"layer{number}.bias"] = bias
        return names

    def flatten(self, named: dict[str, Tensor]) -> Tensor:
        """θ (P,) from the tensors of a snapshot; the inverse of `named`."""
        numbers = range(1, self.depth + 1)
        keys = [f"layer{number}.{part}" for number in numbers for part in ("weight", "bias")]
        return torch.cat([named[key].reshape(-1) for key in keys])

    def initialize(self, seed: int, gain: float) -> Tensor:
        """θ (P,) float64 on the CPU: Xavier normal weights, zero biases.

        W_l ~ N(0, gain² · 2/(d_{l−1} + d_l)). Source: LK24 section 3; Glorot & Bengio 2010.
        """
        theta = torch.zeros(self.parameters, dtype=torch.float64)
        stream = generator(seed, "initialisation")
        for weight, _ in self.layers(theta):
            torch.nn.init.xavier_normal_(weight, gain=gain, generator=stream)
        return theta

    def outputs(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """z_L (N, C) for inputs (N, D)."""
        *hidden, (weight, bias) = self.layers(theta)
        state = inputs
        for hidden_weight, hidden_bias in hidden:
            state = torch.nn.functional.linear(state, hidden_weight, hidden_bias)
            state = self.activation.value_(state)
        return torch.nn.functional.linear(state, weight, bias)

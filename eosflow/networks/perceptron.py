"""The multi-layer perceptron on one flat parameter vector, and its initialisation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from eosflow.networks.activations import ACTIVATIONS
from eosflow.spectra.randomness import generator


class MLP:
    """z_l = W_l a_{l−1} + b_l for l = 1..L, a_l = φ(z_l) for l < L, a_0 = x; the output is z_L.

    Parameters are one vector θ (P,): W_1 (d_1, d_0) row by row, b_1 (d_1,), W_2, … b_L.
    `dimensions` are d_0 … d_L. Source: LK24 section 2.1.

    Raises: ValueError for an activation that is not in `ACTIVATIONS`.
    """

    def __init__(
        self, dimensions: Sequence[int], activation: str = "elu", gain: float = math.sqrt(2)
    ) -> None:
        self.dimensions = tuple(dimensions)
        self.gain = gain
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation: {activation!r} was given; allowed: {', '.join(ACTIVATIONS)}"
            )
        self.activation_name = activation
        self.activation = ACTIVATIONS[activation]
        sizes = zip(self.dimensions[1:], self.dimensions[:-1], strict=True)
        self._shapes = [shape for out, into in sizes for shape in ((out, into), (out,))]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self.parameters = sum(self._sizes)

    @property
    def depth(self) -> int:
        """L, the number of affine layers."""
        return len(self.dimensions) - 1

    @property
    def groups(self) -> list[slice]:
        """The parts of θ of each layer, its weight and bias."""
        sizes = [a + b for a, b in zip(self._sizes[0::2], self._sizes[1::2], strict=True)]
        ends = list(itertools.accumulate(sizes))
        return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]

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

    def initialize(self, seed: int) -> Tensor:
        """θ (P,) float64 on the CPU: Xavier normal weights, zero biases.

        W_l ~ N(0, gain² · 2/(d_{l−1} + d_l)). Source: LK24 section 3; Glorot & Bengio 2010.
        """
        theta = torch.zeros(self.parameters, dtype=torch.float64)
        stream = generator(seed, "initialisation")
        for weight, _ in self.layers(theta):
            torch.nn.init.xavier_normal_(weight, gain=self.gain, generator=stream)
        return theta

    def forward(
        self, theta: Tensor, inputs: Tensor, look: Callable[[int, Tensor], None] | None = None
    ) -> list[Tensor]:
        """a_0 … a_{L−1}, z_L, each (N, d_l), for inputs (N, D).

        `look(l, z)` sees z_l of each hidden layer.
        """
        states = [inputs]
        for number, (weight, bias) in enumerate(self.layers(theta), start=1):
            affine = torch.addmm(bias, states[-1], weight.T)
            if number < self.depth:
                if look is not None:
                    look(number, affine)
                affine = self.activation.value(affine)
            states.append(affine)
        return states

    def outputs(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """z_L (N, C) for inputs (N, D)."""
        return self.forward(theta, inputs)[-1]

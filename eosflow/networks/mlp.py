"""The multi-layer perceptron: its settings, and what planning asks"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from eosflow.networks.base import NetworkSettings, Shape

if TYPE_CHECKING:
    from eosflow.networks.perceptron import MLP

# The names of `eosflow.networks.activations.ACTIVATIONS`, which costs torch.
Activation = Literal["elu", "tanh", "gelu", "softplus", "relu", "sigmoid", "silu"]


class MLPSettings(NetworkSettings):
    """Affine layers with an activation function between them; all hidden layers have one width."""

    name: ClassVar[str] = "mlp"

    width: int = Field(512, description="units of each hidden layer", ge=1, le=65536)
    depth: int = Field(6, description="affine layers", ge=2, le=64)
    activation: Activation = Field("elu", description="activation function")
    gain: float = Field(
        1.4142135623730951, description="gain of the Xavier normal initialisation", gt=0
    )

    def dimensions(self, shape: Shape, outputs: int) -> tuple[int, ...]:
        """d_0 … d_L: D inputs, L−1 hidden layers of one width, C outputs."""
        return (math.prod(shape), *(self.width,) * (self.depth - 1), outputs)

    def parameters(self, shape: Shape, outputs: int) -> int:
        """P = Σ_l d_l (d_{l−1} + 1)."""
        pairs = itertools.pairwise(self.dimensions(shape, outputs))
        return sum(out * (into + 1) for into, out in pairs)

    def units(self, shape: Shape, outputs: int) -> int:
        """Σ_{l≥1} d_l."""
        return sum(self.dimensions(shape, outputs)[1:])

    def gradient_operations(self, shape: Shape, outputs: int) -> int:
        """Three passes over each weight, two in the first layer."""
        weights = self._weights(shape, outputs)
        return 2 * (3 * sum(weights) - weights[0])

    def product_operations(self, shape: Shape, outputs: int) -> int:
        """Six passes over each weight, two over those of layer 1.

        Ẇa and Wȧ on the way forward; two outer products, δ̇ aᵀ and δ ȧᵀ, and Wᵀδ̇, Ẇᵀδ on the way
        back. In layer 1 only Ẇa and δ̇ aᵀ are left: its input does not change.
        """
        weights = self._weights(shape, outputs)
        return 2 * (6 * sum(weights) - 4 * weights[0])

    def _weights(self, shape: Shape, outputs: int) -> list[int]:
        pairs = itertools.pairwise(self.dimensions(shape, outputs))
        return [out * into for into, out in pairs]

    def describe(self) -> str:
        return f"{self.depth} affine layers of width {self.width}, {self.activation}"

    def build(self, shape: Shape, outputs: int) -> MLP:
        from eosflow.networks.perceptron import MLP

        return MLP(self.dimensions(shape, outputs), self.activation, self.gain)

"""A convolutional network without normalisation, the SimpleCNN of Jastrzębski et al. 2019."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from eosflow.networks import images
from eosflow.networks.base import Shape
from eosflow.networks.mlp import Activation

if TYPE_CHECKING:
    from eosflow.networks.module import ModuleNetwork


class CNNSettings(images.ImageSettings):
    """Four 3×3 convolutions, two of them pooled, and two dense layers.

    Source: Jastrzębski et al., ICLR 2019, SimpleCNN: Glorot uniform weights, zero biases.
    """

    name: ClassVar[str] = "cnn"

    channels: int = Field(
        32,
        description="channels of the first two convolutions; the others have twice as many",
        ge=1,
    )
    dense: int = Field(128, description="units of the dense hidden layer", ge=1)
    activation: Activation = Field("relu", description="activation function")

    def least_side(self) -> int:
        """Two unpadded convolutions and two poolings leave a pixel."""
        return 10

    def _pooled(self, shape: Shape) -> tuple[int, int]:
        height, width = (((side - 2) // 2 - 2) // 2 for side in shape[1:])
        return height, width

    def parameters(self, shape: Shape, outputs: int) -> int:
        """P."""
        few, many = self.channels, 2 * self.channels
        widths = [shape[0], few, few, many, many]
        height, width = self._pooled(shape)
        convolutions = sum(images.convolution(*pair) for pair in itertools.pairwise(widths))
        last = images.dense(many * height * width, self.dense) + images.dense(self.dense, outputs)
        return convolutions + last

    def describe(self) -> str:
        few = self.channels
        return f"CNN with {few} and {2 * few} channels, {self.dense} dense units, {self.activation}"

    def build(self, shape: Shape, outputs: int) -> ModuleNetwork:
        import torch
        from torch import nn

        from eosflow.networks.module import ACTIVATION_MODULES, ModuleNetwork, glorot_uniform

        few, many = self.channels, 2 * self.channels
        activation = ACTIVATION_MODULES[self.activation]
        height, width = self._pooled(shape)
        # PyTorch draws weights when it makes a module; nothing else may see that.
        with torch.random.fork_rng(devices=[]):
            module = nn.Sequential(
                nn.Conv2d(shape[0], few, 3, padding=1),
                activation(),
                nn.Conv2d(few, few, 3),
                activation(),
                nn.MaxPool2d(2),
                nn.Conv2d(few, many, 3, padding=1),
                activation(),
                nn.Conv2d(many, many, 3),
                activation(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(many * height * width, self.dense),
                activation(),
                nn.Linear(self.dense, outputs),
            )
        return ModuleNetwork(module, shape, glorot_uniform)

"""A residual network without normalisation, pre-activation, as in Jastrzębski et al. 2019."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from eosflow.networks import images
from eosflow.networks.base import Shape
from eosflow.networks.mlp import Activation

if TYPE_CHECKING:
    from torch import Tensor, nn

    from eosflow.networks.module import ModuleNetwork


class ResNetSettings(images.ImageSettings):
    """A convolution, three stages of residual blocks, the mean over the pixels, a dense layer.

    Each stage after the first halves the image and doubles the channels; ResNet-32 has 5 blocks per
    stage. Source: He et al. 2016, pre-activation; Jastrzębski et al., ICLR 2019.
    """

    name: ClassVar[str] = "resnet"

    blocks: int = Field(5, description="residual blocks of each of the three stages", ge=1)
    channels: int = Field(16, description="channels of the first stage", ge=1)
    activation: Activation = Field(
        "relu", description="activation function before each convolution"
    )
    scale: float = Field(1 / 15, description="variance of the initial weights, over 2/fan-in", gt=0)

    def least_side(self) -> int:
        """Two stages halve the image."""
        return 4

    def _stages(self) -> list[tuple[int, int, int]]:
        """(channels in, channels out, stride) of each block."""
        widths = [self.channels, 2 * self.channels, 4 * self.channels]
        stages, before = [], self.channels
        for number, width in enumerate(widths):
            for block in range(self.blocks):
                stages.append((before, width, 2 if number and not block else 1))
                before = width
        return stages

    def parameters(self, shape: Shape, outputs: int) -> int:
        """P: of each block two convolutions, and a third where the shape changes."""
        count = images.convolution(shape[0], self.channels)
        for into, out, stride in self._stages():
            count += images.convolution(into, out) + images.convolution(out, out)
            count += images.convolution(into, out, 1) if stride > 1 or into != out else 0
        return count + images.dense(4 * self.channels, outputs)

    def describe(self) -> str:
        few, depth = self.channels, 6 * self.blocks + 2
        return f"ResNet of {depth} layers with {few} to {4 * few} channels, {self.activation}"

    def build(self, shape: Shape, outputs: int) -> ModuleNetwork:
        import torch
        from torch import nn

        from eosflow.networks.module import ACTIVATION_MODULES, ModuleNetwork, he_normal

        activation = ACTIVATION_MODULES[self.activation]
        # PyTorch draws weights when it makes a module; nothing else may see that.
        with torch.random.fork_rng(devices=[]):
            module = nn.Sequential(
                nn.Conv2d(shape[0], self.channels, 3, padding=1),
                *(_block(into, out, stride, activation) for into, out, stride in self._stages()),
                activation(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(4 * self.channels, outputs),
            )
        return ModuleNetwork(module, shape, he_normal(self.scale))


def _block(into: int, out: int, stride: int, activation: type[nn.Module]) -> nn.Module:
    """x ↦ shortcut(x) + conv(φ(conv(φ(x)))), a 1×1 convolution where the shape changes."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Sequential(
                activation(),
                nn.Conv2d(into, out, 3, stride=stride, padding=1),
                activation(),
                nn.Conv2d(out, out, 3, padding=1),
            )
            same = stride == 1 and into == out
            self.shortcut = nn.Identity() if same else nn.Conv2d(into, out, 1, stride=stride)

        def forward(self, images: Tensor) -> Tensor:
            shortcut: Tensor = self.shortcut(images)
            branch: Tensor = self.branch(images)
            return shortcut + branch

    return Block()

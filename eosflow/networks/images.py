"""What networks that read images share: their why_not, and what a convolution costs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from eosflow.networks.base import NetworkSettings, Shape


@dataclass(frozen=True)
class Layer:
    """One layer with weights: its parameters, multiplications per example, numbers it puts out."""

    parameters: int
    multiplications: int
    numbers: int


def convolution(into: int, out: int, kernel: int, height: int, width: int) -> Layer:
    """A convolution with biases that puts out (out, height, width)."""
    weights = into * out * kernel**2
    return Layer(weights + out, weights * height * width, out * height * width)


def affine(into: int, out: int) -> Layer:
    """A dense layer with biases."""
    return Layer(into * out + out, into * out, out)


class ImageSettings(NetworkSettings):
    """What planning asks of a network of images, from the layers that it is made of."""

    reads_images: ClassVar[bool] = True

    @abstractmethod
    def _layers(self, shape: Shape, outputs: int) -> list[Layer]:
        """Its layers with weights, from the inputs on."""

    def parameters(self, shape: Shape, outputs: int) -> int:
        """P."""
        return sum(layer.parameters for layer in self._layers(shape, outputs))

    def activations(self, shape: Shape, outputs: int) -> int:
        """Numbers that the layers put out for one example, twice: before and after φ."""
        return 2 * sum(layer.numbers for layer in self._layers(shape, outputs))

    def gradient_operations(self, shape: Shape, outputs: int) -> int:
        """Three passes over each layer's weights, two over the first's, two operations each."""
        passes = [layer.multiplications for layer in self._layers(shape, outputs)]
        return 2 * (3 * sum(passes) - passes[0])

    def product_operations(self, shape: Shape, outputs: int) -> int:
        """Six passes, two over the first layer's, whose input is fixed.

        The gradient's own passes come to that once for all vectors.
        """
        passes = [layer.multiplications for layer in self._layers(shape, outputs)]
        return 2 * (6 * sum(passes) - 4 * passes[0])


def why_not(shape: Shape, least: int) -> str:
    """Why inputs of this shape are no images, or too small ones; empty if they will do."""
    if len(shape) != 3:
        return (
            f"an input has the shape {shape}, and this network reads images (channels, height, "
            "width). Take network: mlp, or give the dataset such a shape."
        )
    if min(shape[1:]) < least:
        return f"its images are {shape[1]} × {shape[2]}, and this network needs {least} × {least}."
    return ""

"""Common parts of networks that read images."""

from __future__ import annotations

from typing import ClassVar

from eosflow.networks.base import NetworkSettings, Reads, Shape


class ImageSettings(NetworkSettings):
    """A network that reads images of at least so many pixels along each side."""

    reads: ClassVar[Reads] = "images"

    def least_side(self) -> int:
        """Pixels."""
        return 1

    def why_not(self, shape: Shape) -> str:
        """Why inputs of this shape are no images, or too small ones; empty if they will do."""
        if len(shape) != 3:
            return (
                f"an input has the shape {shape}, and this network reads images (channels, height, "
                "width). Take network: mlp, or give the dataset such a shape."
            )
        least = self.least_side()
        if min(shape[1:]) < least:
            size = f"{shape[1]} × {shape[2]}"
            return f"its images are {size}, and this network needs {least} × {least}."
        return ""


def convolution(into: int, out: int, kernel: int = 3) -> int:
    """Parameters of a convolution with biases."""
    return out * (into * kernel**2 + 1)


def dense(into: int, out: int) -> int:
    """Parameters of a dense layer with biases."""
    return out * (into + 1)

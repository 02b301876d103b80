"""The interface of networks: their settings for planning, their function for computing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from eosflow.storage.settings import Plugin

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]
Reads = Literal["vectors", "images", "sequences", "token ids"]


class Network(Protocol):
    """A function of one flat parameter vector θ (P,): z = f(x; θ), outputs (N, C).

    `parameters` is P, and `groups` are the parts of θ of each layer, in order. Inputs are (N, D),
    as subsets store them; a network that wants images gives them their shape itself.
    """

    parameters: int

    @property
    def groups(self) -> Sequence[slice]:
        """The parts of θ of each layer."""

    def initialize(self, seed: int) -> Tensor:
        """θ (P,) float64 on the CPU, drawn from a separate stream for each seed."""

    def outputs(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """z (N, C) for inputs (N, D)."""

    def named(self, theta: Tensor) -> dict[str, Tensor]:
        """Views of θ under the names that a snapshot gives them, in the order of θ."""

    def flatten(self, named: dict[str, Tensor]) -> Tensor:
        """θ (P,) from the tensors of a snapshot; the inverse of `named`."""


class NetworkSettings(Plugin, ABC):
    """The settings of one kind of network, and a line in `NETWORKS`.

    `shape` is that of one input, such as (3, 32, 32) for colour images; `outputs` is C. `reads`
    says what an input is: a vector, an image (channels, height, width), a sequence (positions,
    numbers), or token ids with their mask and types (3, positions). All but
    `build` are asked for while planning, so a module with settings imports torch in `build` alone.
    """

    reads: ClassVar[Reads] = "vectors"

    def why_not(self, shape: Shape) -> str:
        """Why the network cannot read inputs of this shape, and what to do; empty if it can."""
        return ""

    @abstractmethod
    def parameters(self, shape: Shape, outputs: int) -> int:
        """P."""

    def units(self, shape: Shape, outputs: int) -> int:
        """Numbers per example that are held of all examples at once; 0: these come in parts."""
        return 0

    @abstractmethod
    def describe(self) -> str:
        """The network in words, for the report: `6 affine layers of width 512, elu`."""

    @abstractmethod
    def build(self, shape: Shape, outputs: int) -> Network:
        """The network itself."""

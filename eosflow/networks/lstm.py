"""A long short-term memory that reads a sequence of vectors and classifies it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from eosflow.networks.base import NetworkSettings, Reads, Shape

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from eosflow.networks.module import ModuleNetwork


class LSTMSettings(NetworkSettings):
    """Layers of memory cells, one above the other, and a dense layer on the last output.

    i, f, o = σ(…), g = tanh(…), each of W x_t + U h_{t−1} + b; c_t = f c_{t−1} + i g and h_t =
    o tanh c_t, from h_0 = c_0 = 0. A position whose vector is 0, such as those after a phrase's
    last word, leaves h and c as they are. Source: Hochreiter & Schmidhuber 1997; the sizes are
    those of Jastrzębski et al., ICLR 2019, who predict the next word and not a sentence's class.
    W is drawn Glorot uniform, U orthogonal, and b is 0, as in their code.
    """

    name: ClassVar[str] = "lstm"
    reads: ClassVar[Reads] = "sequences"

    hidden: int = Field(200, description="memory cells of each layer", ge=1)
    layers: int = Field(2, description="layers of memory cells", ge=1)

    def why_not(self, shape: Shape) -> str:
        """Empty for sequences of vectors, (positions, numbers)."""
        if len(shape) == 2:
            return ""
        return (
            f"an input has the shape {shape}, and this network reads sequences of vectors "
            "(positions, numbers). Take network: mlp, or give the dataset such a shape."
        )

    def _widths(self, shape: Shape) -> list[int]:
        """What each layer reads at one position."""
        return [shape[1]] + [self.hidden] * (self.layers - 1)

    def parameters(self, shape: Shape, outputs: int) -> int:
        """P: W, U and b of four gates per layer, and the dense layer."""
        cells = sum(4 * self.hidden * (width + self.hidden + 1) for width in self._widths(shape))
        return cells + (self.hidden + 1) * outputs

    def describe(self) -> str:
        layers = "1 layer" if self.layers == 1 else f"{self.layers} layers"
        return f"LSTM with {layers} of {self.hidden} cells"

    def build(self, shape: Shape, outputs: int) -> ModuleNetwork:
        import torch

        from eosflow.networks.module import ModuleNetwork

        # PyTorch draws weights when it makes a module; nothing else may see that.
        with torch.random.fork_rng(devices=[]):
            module = _sequence(self._widths(shape), self.hidden, outputs)
        return ModuleNetwork(module, shape, _initialize)


def _initialize(module: nn.Module, stream: torch.Generator) -> None:
    from torch import nn

    for name, parameter in module.named_parameters():
        if name.endswith("recurrent.weight"):
            nn.init.orthogonal_(parameter, generator=stream)
        elif parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter, generator=stream)
        else:
            nn.init.zeros_(parameter)


def _sequence(widths: list[int], hidden: int, outputs: int) -> nn.Module:
    """Vectors (N, T, D) ↦ (N, C). Written out: nn.LSTM has no second derivative by torch.func."""
    import torch
    from torch import nn

    class Cell(nn.Module):
        """One step: what the inputs give (N, 4h), and h and c (N, 2h) before it ↦ those after."""

        def __init__(self) -> None:
            super().__init__()
            self.recurrent = nn.Linear(hidden, 4 * hidden, bias=False)
            self.sigmoid, self.tanh = nn.Sigmoid(), nn.Tanh()

        def forward(self, given: Tensor, state: Tensor) -> Tensor:
            output, memory = state.chunk(2, 1)
            gates = given + self.recurrent(output)
            # The order of torch.nn.LSTM: input, forget, candidate, output.
            into, keep, candidate, out = gates.chunk(4, 1)
            into, keep, out = self.sigmoid(torch.cat([into, keep, out], 1)).chunk(3, 1)
            memory = keep * memory + into * self.tanh(candidate)
            return torch.cat([out * self.tanh(memory), memory], 1)

    class Layer(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.input = nn.Linear(width, 4 * hidden)
            self.cell = Cell()

        def forward(self, vectors: Tensor, words: Tensor) -> Tensor:
            given = self.input(vectors)
            state = given.new_zeros(len(given), 2 * hidden)
            outputs = []
            for position in range(given.shape[1]):
                after = self.cell(given[:, position], state)
                state = torch.where(words[:, position, None], after, state)
                outputs.append(state[:, :hidden])
            return torch.stack(outputs, 1)

    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(Layer(width) for width in widths)
            self.output = nn.Linear(hidden, outputs)

        def forward(self, vectors: Tensor) -> Tensor:
            words = (vectors != 0).any(2)
            for layer in self.layers:
                vectors = layer(vectors, words)
            result: Tensor = self.output(vectors[:, -1])
            return result

    return Sequence()

"""Modules and data such as users bring, a few parameters each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

N, D, C = 7, 6, 3


def data_of(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    inputs = torch.randn(N, *(shape or (D,)), generator=stream)
    return inputs, torch.randint(0, C, (N,), generator=stream)


def numbers() -> tuple[Tensor, Tensor]:
    inputs, _ = data_of()
    return inputs, torch.randn(N, C, generator=torch.Generator().manual_seed(1))


def mlp(activation: Callable[[], nn.Module] = nn.Tanh) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(D, 5), activation(), nn.Linear(5, C))


class Forward(nn.Module):
    """Two layers with a function between them, or after them."""

    def __init__(self, function: Callable[[Tensor], Any] | None = None, **after: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(D, D), nn.Linear(D, C)
        self.function, self.after = function or torch.tanh, after.get("after", lambda z: z)

    def forward(self, x: Tensor) -> Any:
        return self.after(self.last(self.function(self.first(x))))


class Tied(Forward):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(torch.tanh(self.first(x)))))


class Cells(nn.Module):
    """An LSTM as a loop over its cell."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.last = nn.LSTMCell(D, 4), nn.Linear(4, C)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), 4)
        for word in x.unbind(1):
            h, c = self.cell(word, (h, c))
        return self.last(h)


class Fused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.last = nn.LSTM(D, 4, batch_first=True), nn.Linear(4, C)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.lstm(x)[0][:, -1])


class Block(nn.Module):
    """As torchvision writes them: sums in place, activations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(
            inplace=True
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.conv(x))
        out += x
        return self.relu(out)


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(inplace=True), Block(), nn.Flatten(), nn.Linear(8, C)
    )


def attention() -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(D, 2, 4, dropout=0.0, batch_first=True)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(2 * D, C))


def frozen() -> nn.Module:
    module = mlp()
    module[0].requires_grad_(False)
    return module


def sampled(module: nn.Module) -> nn.Module:
    """With running means and variances that are not those of the start."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean += 0.3
            layer.running_var *= 1.7
    return module.eval()


images, sequences = data_of(1, 5, 5), data_of(2, D)
words = torch.randint(0, 9, (N, 2), generator=torch.Generator().manual_seed(0)), data_of()[1]

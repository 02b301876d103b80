"""Modules and data such as users bring, a few parameters each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

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
    """A recurrent layer as PyTorch has it, the last state read out."""

    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.last = kind(D, 4, batch_first=True), nn.Linear(4, C)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.lstm(x)[0][:, -1])


class Checkpointed(nn.Module):
    """A layer whose states are computed again on the way back."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(D, 5), nn.Linear(5, C)

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_() if torch.is_grad_enabled() else x
        inner = checkpoint(lambda z: torch.tanh(self.first(z)), x, use_reentrant=False)
        return self.last(inner)


def doubled(module: nn.Module) -> nn.Module:
    """A copy in double precision, complex numbers and all, which `Module.double` leaves alone."""

    def exact(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(torch.complex128)
        return tensor.double() if tensor.is_floating_point() else tensor

    apply: Callable[..., nn.Module] = copy.deepcopy(module)._apply
    return apply(exact)


class Rotary(nn.Module):
    """Pairs of numbers turned in the complex plane, by a buffer or by a parameter."""

    def __init__(self, trained: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(D, D), nn.Linear(D, C)
        turn = torch.polar(torch.ones(D // 2), torch.arange(D / 2) + 0.5)
        if trained:
            self.turn: Tensor = nn.Parameter(turn)
        else:
            self.register_buffer("turn", turn)

    def forward(self, x: Tensor) -> Tensor:
        pairs = self.first(x).unflatten(-1, (-1, 2))
        turned = torch.view_as_real(torch.view_as_complex(pairs) * self.turn)
        return self.last(torch.tanh(turned.flatten(-2)))


class Tokens(nn.Module):
    """Outputs (N, T, C) of words (N, T)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.mixed, self.last = nn.Embedding(9, 3), nn.Linear(6, 4), nn.Linear(4, 2 * C)

    def forward(self, x: Tensor) -> Tensor:
        mixed = torch.tanh(self.mixed(self.words(x).flatten(1)))
        return self.last(mixed).unflatten(1, (2, C))


class Named(nn.Module):
    """Two inputs by name, one of whole numbers and one of truth values, and logits by name."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.last = nn.Embedding(9, 3), nn.Linear(3, C)

    def forward(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        vectors = torch.tanh(self.words(ids)) * mask[..., None]
        return {"logits": self.last(vectors.sum(1) / mask.sum(1, keepdim=True))}


class Padded(nn.Module):
    """A table of vectors with a row of padding, which PyTorch never moves."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(9, 2, padding_idx=0)
        with torch.no_grad():
            self.words.weight[0] = 0.3
        self.last = nn.Linear(4, C)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.words(x).flatten(1)))


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
ignored = torch.where(torch.arange(N) > 4, -100, data_of()[1])
labels_of_tokens = torch.stack([data_of()[1], ignored], 1)
words = torch.randint(0, 9, (N, 2), generator=torch.Generator().manual_seed(0)), data_of()[1]

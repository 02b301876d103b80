"""Loops of training such as users bring, and what they go on from."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from own_modules import C, D, data_of
from torch import Tensor, nn
from torch.utils.data import Dataset

import eosflow

LOSS = nn.CrossEntropyLoss()


def noisy() -> nn.Module:
    """What a look could disturb: dropout, batch norm, an activation in place."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(D, 8), nn.BatchNorm1d(8), nn.ELU(inplace=True), nn.Dropout(0.3), nn.Linear(8, C)
    )


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Each example changed by random numbers of all three kinds, whenever it is read."""

    def __init__(self) -> None:
        self.inputs, self.labels = data_of()

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        shift = random.random() + float(np.random.random())
        example = self.inputs[row]
        return example + shift * torch.randn_like(example), self.labels[row]


def bits(module: nn.Module, optimizer: torch.optim.Optimizer) -> list[Any]:
    """All that training goes on from."""
    states = [optimizer.state_dict(), module.state_dict()]
    flat = torch.utils._pytree.tree_leaves(states)
    gradients = [p.grad for p in module.parameters()]
    modes = [layer.training for layer in module.modules()]
    in_place = [vars(layer).get("inplace") for layer in module.modules()]
    generators = [torch.get_rng_state(), random.getstate(), *np.random.get_state()[1:3]]
    return [*flat, *gradients, modes, in_place, *generators]


def same(one: list[Any], other: list[Any]) -> bool:
    return all(
        torch.equal(a, b) if isinstance(a, Tensor) else np.all(a == b)
        for a, b in zip(one, other, strict=True)
    )


def every(kind: type[Any]) -> Any:
    return kind(every=3)


def stepped(monitor: eosflow.Monitor, optimizer: Any, data: Any, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        LOSS(monitor.module(data[0]), data[1]).backward()
        optimizer.step()
        monitor.step()

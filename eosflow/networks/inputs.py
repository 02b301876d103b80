"""Several inputs of a module, by position or by name, as rows of one matrix."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eosflow.storage.errors import UserError


@dataclass(frozen=True)
class Layout:
    """Where each input lies in a row: its `names` (None by position), shapes and dtypes.

    A single tensor by position stays as it is. Several are packed side by side as real numbers,
    and get their own dtypes back when the module is called.
    """

    names: tuple[str | None, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]

    @property
    def single(self) -> bool:
        """Whether it is one tensor by position."""
        return self.names == (None,)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example as it is stored."""
        return self.shapes[0] if self.single else (sum(map(math.prod, self.shapes)),)

    def arguments(self, rows: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        """What the module is called with, from rows (n, D) or (n, *shape)."""
        if self.single:
            return [rows.reshape(len(rows), *self.shape)], {}
        parts = torch.split(rows, [math.prod(shape) for shape in self.shapes], dim=1)
        given: list[Tensor] = []
        named: dict[str, Tensor] = {}
        for name, shape, dtype, part in zip(
            self.names, self.shapes, self.dtypes, parts, strict=True
        ):
            value = part.reshape(len(rows), *shape)
            value = value if dtype.is_floating_point else value.to(dtype)
            if name is None:
                given.append(value)
            else:
                named[name] = value
        return given, named


def packed(
    inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor], dtype: torch.dtype
) -> tuple[Tensor, Layout]:
    """Rows for `Layout.arguments`, and the layout.

    Raises: UserError for whole numbers that `dtype` cannot hold.
    """
    if isinstance(inputs, Tensor):
        return inputs, Layout((None,), (tuple(inputs.shape[1:]),), (inputs.dtype,))
    named = isinstance(inputs, Mapping)
    tensors: list[Tensor] = list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)
    names: Any = tuple(inputs) if named else (None,) * len(tensors)
    largest = 2 ** (53 if dtype == torch.float64 else 24)
    for name, tensor in zip(names, tensors, strict=True):
        whole = not tensor.is_floating_point() and tensor.dtype != torch.bool
        if whole and tensor.numel() and tensor.abs().max() > largest:
            raise UserError(
                f"inputs: {name or 'one of them'} holds whole numbers above {largest}, which "
                f"{dtype} cannot hold. Use dtype=torch.float64, or smaller ids."
            )
    shapes = tuple(tuple(tensor.shape[1:]) for tensor in tensors)
    rows = torch.cat([tensor.reshape(len(tensor), -1).to(dtype) for tensor in tensors], dim=1)
    return rows, Layout(names, shapes, tuple(tensor.dtype for tensor in tensors))


def signature_of(layout: Layout) -> str:
    """Names and shapes of one example's inputs, for messages."""
    words = itertools.starmap(
        lambda name, shape: f"{name}: {shape}" if name else str(shape),
        zip(layout.names, layout.shapes, strict=True),
    )
    return ", ".join(words)

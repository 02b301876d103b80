"""A user's data, read once: inputs and labels with a row per example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from eosflow.storage.errors import UserError

Inputs = Tensor | list[Tensor] | dict[str, Tensor]
Data = tuple[Any, Any] | Mapping[str, Any] | Iterable[Any]

# The names of labels in a mapping, as the library transformers has them.
LABELS = ("labels", "label")
# Examples of a dataset that are read at a time.
READ = 256


def read(data: Data, device: torch.device, dtype: torch.dtype) -> tuple[Inputs, Tensor]:
    """Inputs, one tensor or several, and labels (N, …), on the device.

    Real numbers get the dtype, whole ones are int64, truth values stay bool.

    Raises: UserError, with the remedy, for data that are no examples.
    """
    inputs, labels = _pair(data)
    if isinstance(inputs, Mapping):
        settled: Any = {name: _settled(part, device, dtype) for name, part in inputs.items()}
        parts = list(settled.values())
    elif isinstance(inputs, tuple | list) and not _is_rows(inputs):
        settled = parts = [_settled(part, device, dtype) for part in inputs]
    else:
        settled = _settled(inputs, device, dtype)
        parts = [settled]
    targets = _settled(labels, device, dtype)
    targets = targets.long() if targets.dtype == torch.bool else targets
    if isinstance(settled, Tensor) and settled.dtype == torch.bool:
        settled = settled.long()
    if not parts:
        raise UserError("data: there are no inputs besides the labels.")
    for part in parts:
        if part.ndim == 0 or targets.ndim == 0 or len(part) != len(targets):
            raise UserError(
                f"data: inputs of shape {tuple(part.shape)} and labels of shape "
                f"{tuple(targets.shape)} were given; both must have a row per example."
            )
    if not len(targets):
        raise UserError("data: there are no examples.")
    return settled, targets


def _pair(data: Any) -> tuple[Any, Any]:
    """Inputs and labels, as they are."""
    if isinstance(data, Tensor) or hasattr(data, "to_numpy") or hasattr(data, "__array__"):
        raise UserError(
            f"data: one {type(data).__name__} was given; it must be (inputs, labels), or batches. "
            "Separate the labels: data=(table[features], table[label])."
        )
    if isinstance(data, Mapping) or (hasattr(data, "keys") and hasattr(data, "__getitem__")):
        return _of_mapping(data)
    if _is_pair(data):
        return data[0], data[1]
    if isinstance(data, TensorDataset):
        return _of_tensors(data.tensors)
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        data = DataLoader(data, batch_size=READ)
    return _joined(data)


def _of_mapping(batch: Any) -> tuple[dict[str, Any], Any]:
    names = [name for name in LABELS if name in batch]
    if not names:
        raise UserError(
            f"data: a mapping with {', '.join(map(str, batch.keys()))} was given; its labels must "
            f"be under {LABELS[0]!r}. Give (inputs, labels) instead, with inputs a mapping."
        )
    inputs = {str(name): batch[name] for name in batch.keys() if name != names[0]}  # noqa: SIM118
    return inputs, batch[names[0]]


def _of_tensors(parts: Any) -> tuple[Any, Any]:
    """(inputs, labels), or several inputs and labels last."""
    if len(parts) < 2:
        raise UserError("data: the examples have no labels; give (inputs, labels).")
    return (parts[0] if len(parts) == 2 else list(parts[:-1])), parts[-1]


def _is_pair(data: Any) -> bool:
    """Whether it is (inputs, labels), and not two batches."""
    if not (isinstance(data, tuple | list) and len(data) == 2):
        return False
    inputs, labels = data
    several = isinstance(inputs, Mapping) or (
        isinstance(data, tuple)
        and isinstance(inputs, tuple | list)
        and all(map(_is_array, inputs))
        and len(inputs) > 0
    )
    rows = isinstance(data, tuple) and _is_rows(inputs)
    return (_is_array(inputs) or several or rows) and (_is_array(labels) or _is_rows(labels))


def _is_array(part: Any) -> bool:
    return hasattr(part, "shape") or hasattr(part, "to_numpy")


def _is_rows(part: Any) -> bool:
    """Whether it is a list of numbers, or of lists of them."""
    while isinstance(part, tuple | list) and part:
        part = part[0]
    return isinstance(part, int | float)


def _joined(data: Any) -> tuple[Any, Any]:
    """All batches as one."""
    pairs = []
    try:
        for batch in data:
            pairs.append(_of_batch(batch))
    except TypeError as error:
        raise UserError(
            f"data: {type(data).__name__} was given; it must be (inputs, labels), or batches of "
            "such pairs, such as a torch.utils.data.DataLoader."
        ) from error
    if not pairs:
        raise UserError("data: there are no batches. An iterator that was used up gives none.")
    inputs, labels = zip(*pairs, strict=True)
    first = inputs[0]
    if isinstance(first, Mapping):
        together: Any = {name: _cat([part[name] for part in inputs]) for name in first}
    elif isinstance(first, tuple | list):
        together = [_cat(list(parts)) for parts in zip(*inputs, strict=True)]
    else:
        together = _cat(list(inputs))
    return together, _cat(list(labels))


def _of_batch(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, Mapping) or (hasattr(batch, "keys") and hasattr(batch, "__getitem__")):
        return _of_mapping(batch)
    if isinstance(batch, tuple | list) and len(batch) > 2 and all(map(_is_array, batch)):
        return _of_tensors(batch)
    if not _is_pair(batch):
        raise UserError(
            f"data: a batch is {type(batch).__name__}; each must be a pair (inputs, labels), with "
            "inputs a tensor, several, or a mapping, or a mapping with 'labels'. Turn it into one: "
            "data=[(b.x, b.y) for b in loader]."
        )
    return batch[0], batch[1]


def _cat(parts: list[Any]) -> Tensor:
    tensors = [_tensor(part) for part in parts]
    if any(tensor.ndim == 0 for tensor in tensors):
        raise UserError(
            "data: single examples were given. Give batches: "
            "torch.utils.data.DataLoader(dataset, batch_size=100)."
        )
    try:
        return torch.cat(tensors)
    except RuntimeError as error:
        raise UserError(
            f"data: the batches do not fit together: {str(error).splitlines()[0]} Inputs must "
            "have one shape; pad all batches to one length."
        ) from error


def _tensor(part: Any) -> Tensor:
    if hasattr(part, "to_numpy"):
        part = np.array(part.to_numpy())  # a copy that may be written to
    try:
        if isinstance(part, np.ndarray) and part.dtype == object:
            part = _dense(part.T[0] if part.ndim == 2 and part.shape[1] == 1 else part)
        tensor: Tensor = torch.as_tensor(part)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"data: {type(part).__name__} cannot be read as numbers: {str(error).splitlines()[0]} "
            "Encode words and categories first, and pad lists to one length."
        ) from error
    return tensor


def _dense(rows: Any) -> Any:
    """Rows that are lists, or lists of lists, as one array; those of a parquet file come so."""
    if isinstance(rows, np.ndarray) and rows.dtype != object:
        return rows
    nested = isinstance(rows, list | tuple | np.ndarray)
    return np.stack([_dense(row) for row in rows]) if nested else np.asarray(rows)


def _settled(part: Any, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Numbers in their precision, on the device, without a history."""
    tensor = _tensor(part)
    if tensor.layout != torch.strided or tensor.is_nested:
        raise UserError("data: a sparse or nested tensor was given; give tensor.to_dense().")
    if tensor.is_complex():
        raise UserError("data: complex numbers were given; split them into two real ones.")
    kind = tensor.dtype if tensor.dtype == torch.bool else torch.int64
    kind = dtype if tensor.is_floating_point() else kind
    settled = tensor.detach().to(device=device, dtype=kind)
    if not settled.isfinite().all():
        raise UserError("data: some numbers are not finite. Remove these examples.")
    return settled

"""A user's module, loss and data as one problem: 𝓛(θ), checked before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from eosflow.networks.user_module import UserModule
from eosflow.objectives import CRITERIA, OF_CLASSES
from eosflow.objectives.criteria import Criterion, criterion_of
from eosflow.objectives.module import ModuleObjective
from eosflow.objectives.user_loss import Loss, user_criterion
from eosflow.storage.errors import UserError

Data = tuple[Any, Any] | Iterable[Any]


class Problem:
    """𝓛(θ) = E[ℓ(f(x; θ), y)], the training loss of your own network.

    `module` is any `torch.nn.Module` whose outputs are a row per example. A copy of it in float64
    is used, on its device, in its mode and from its weights; yours stays as it is. Parameters
    without `requires_grad` are held fast. `criterion` is a name (`cross_entropy`, `squared_error`,
    `mean_squared_error`, `half_squared_error`) or a loss of (outputs, labels) that is the mean over
    the examples. `data` is (inputs, labels), with labels classes (N,) or numbers (N, C), or batches
    of such pairs, which are read once, in their order.

    Raises: UserError, with the remedy, for what would give a wrong number: outputs that are no
    fixed, twice differentiable function of single examples, a loss that is no mean over them,
    labels that do not fit.

    >>> import torch, eosflow
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    >>> inputs, labels = torch.randn(20, 4), torch.randint(3, (20,))
    >>> problem = eosflow.Problem(net, "cross_entropy", (inputs, labels))
    >>> problem
    Problem: Sequential, 67 parameters, cross_entropy, 20 examples

    A loss of your own, and batches:

    >>> loader = torch.utils.data.DataLoader(list(zip(inputs, labels)), batch_size=8)
    >>> same = eosflow.Problem(net, torch.nn.CrossEntropyLoss(), loader)
    >>> abs(problem.loss - same.loss) < 1e-12
    True
    """

    def __init__(self, module: nn.Module, criterion: str | Loss, data: Data) -> None:
        if not isinstance(module, nn.Module):
            raise UserError(
                f"module: {type(module).__name__} was given; it must be a torch.nn.Module. Put "
                "a function into the forward of one."
            )
        device = next((p.device for p in module.parameters()), torch.device("cpu"))
        inputs, labels = examples_of(data, device)
        self.network = UserModule(module, inputs)
        self._name = type(module).__name__
        flat = inputs.reshape(len(inputs), -1)
        self.objective = ModuleObjective(
            self.network, self._criterion(criterion, flat, labels), flat, labels
        )

    @property
    def theta(self) -> Tensor:
        """The module's own weights θ (P,), float64."""
        return self.network.start

    @property
    def loss(self) -> float:
        """𝓛 at the module's own weights."""
        return self.objective.evaluate(self.theta).loss

    def objective_of(self, data: Data) -> ModuleObjective:
        """The same loss of the same network over other examples."""
        inputs, labels = examples_of(data, self.theta.device)
        flat = inputs.reshape(len(inputs), -1)
        return ModuleObjective(self.network, self.objective.criterion, flat, labels)

    def __repr__(self) -> str:
        return (
            f"Problem: {self._name}, {self.network.parameters} parameters, "
            f"{self.objective.criterion.name}, {self.objective.examples} examples"
        )

    def _criterion(self, criterion: str | Loss, inputs: Tensor, labels: Tensor) -> Criterion:
        if isinstance(criterion, str):
            if criterion not in CRITERIA:
                raise UserError(
                    f"criterion: {criterion!r} was given; allowed: {', '.join(CRITERIA)}, or a "
                    "loss of (outputs, labels)."
                )
            _check_labels(criterion, labels, self.network.output_shape)
            return criterion_of(criterion)
        if not callable(criterion):
            raise UserError(
                f"criterion: {type(criterion).__name__} was given; it must be a name "
                f"({', '.join(CRITERIA)}) or a loss of (outputs, labels)."
            )
        return user_criterion(
            criterion, self.network.output_shape, _outputs(self.network, inputs), labels
        )


def _outputs(network: UserModule, inputs: Tensor) -> Tensor:
    """z (N, C), a few examples at a time."""
    with torch.no_grad():
        rows = [network.outputs(network.start, part) for part in torch.split(inputs, 256)]
    return torch.cat(rows)


def examples_of(data: Data, device: torch.device) -> tuple[Tensor, Tensor]:
    """Inputs (N, …) and labels (N, …), real numbers as float64 and whole ones as int64."""
    inputs, labels = (_settled(tensor, device) for tensor in _read(data))
    return inputs, labels


def _read(data: Data) -> tuple[Tensor, Tensor]:
    """Inputs and labels, with as many rows."""
    if isinstance(data, Tensor):
        raise UserError("data: one tensor was given; it must be (inputs, labels), or batches.")
    pair = data if _is_pair(data) else _joined(data)
    inputs, labels = (torch.as_tensor(part) for part in pair)
    if inputs.ndim == 0 or labels.ndim == 0 or len(inputs) != len(labels):
        raise UserError(
            f"data: inputs of shape {tuple(inputs.shape)} and labels of shape "
            f"{tuple(labels.shape)} were given; both must have a row per example."
        )
    if not len(inputs):
        raise UserError("data: there are no examples.")
    return inputs, labels


def _is_pair(data: Any) -> bool:
    """Whether it is (inputs, labels), and not two batches."""
    return (
        isinstance(data, tuple | list) and len(data) == 2 and all(hasattr(p, "shape") for p in data)
    )


def _joined(data: Data) -> tuple[Tensor, Tensor]:
    pairs = []
    try:
        for batch in data:
            if not _is_pair(batch):
                raise UserError(
                    f"data: a batch is {type(batch).__name__}; each must be a pair (inputs, "
                    "labels) of tensors. Turn it into one: data=[(b['x'], b['y']) for b in loader]."
                )
            pairs.append([torch.as_tensor(part) for part in batch])
    except TypeError as error:
        raise UserError(
            f"data: {type(data).__name__} was given; it must be (inputs, labels), or batches of "
            "such pairs, such as a torch.utils.data.DataLoader."
        ) from error
    if not pairs:
        raise UserError("data: there are no batches. An iterator that was used up gives none.")
    if any(part.ndim == 0 for part in pairs[0]):
        raise UserError(
            "data: single examples were given. Give batches: "
            "torch.utils.data.DataLoader(dataset, batch_size=100)."
        )
    try:
        inputs, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    except RuntimeError as error:
        raise UserError(
            f"data: the batches do not go together: {error}. Inputs must be of one shape; pad them."
        ) from error
    return inputs, labels


def _settled(tensor: Tensor, device: torch.device) -> Tensor:
    """Real numbers as float64, whole ones as int64, on the device, without a history."""
    if tensor.is_complex():
        raise UserError("data: complex numbers were given; split them into two real ones.")
    kind = torch.float64 if tensor.is_floating_point() else torch.int64
    settled = tensor.detach().to(device=device, dtype=kind)
    if not settled.isfinite().all():
        raise UserError("data: some numbers are not finite. Take those examples out.")
    return settled


def _check_labels(criterion: str, labels: Tensor, shape: tuple[int, ...]) -> None:
    """Raises: UserError where a criterion by name cannot compare outputs with these labels."""
    count = torch.Size(shape).numel()
    given = f"labels of shape {tuple(labels.shape)}, {labels.dtype}, were given"
    if len(shape) > 1:
        raise UserError(
            f"The module puts out shape {shape} per example, and {criterion} is defined for a row "
            "of numbers. Flatten the outputs, or give a loss of (outputs, labels)."
        )
    if labels.is_floating_point():
        if criterion in OF_CLASSES:
            raise UserError(
                f"{given}; {criterion} compares classes, whole numbers (N,). Use labels.long(), or "
                "squared_error for numbers."
            )
        if labels[0].numel() != count:
            raise UserError(f"{given}; there are {count} outputs, so they must be (N, {count}).")
        return
    if labels.ndim != 1:
        raise UserError(
            f"{given}; classes must be (N,). Use labels.argmax(1) for one-hot rows, or "
            "labels.double() for numbers."
        )
    if labels.min() < 0 or labels.max() >= count:
        raise UserError(
            f"labels from {labels.min()} to {labels.max()} were given; with {count} outputs the "
            f"classes are 0 to {count - 1}. Use labels.double() if they are numbers."
        )

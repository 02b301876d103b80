"""The curvature of your own network while your own loop trains it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader

from eosflow.library.data import Data
from eosflow.library.in_place import InPlace
from eosflow.library.measuring import measured, named, number
from eosflow.library.pace import Pace
from eosflow.library.problem import Problem
from eosflow.library.torch_edges import Stability
from eosflow.library.undisturbed import undisturbed
from eosflow.measurements.base import Measurement
from eosflow.measurements.critical_sharpness import CriticalSharpness
from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.objectives.user_loss import Loss
from eosflow.storage.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Monitor:
    """Measures a network while your own loop trains it, without changing the training.

    Call `step()` after each `optimizer.step()`. It takes the measurements that are due, on the loss
    of `data` in evaluation mode (dropout off, batch norm with its running statistics), at the
    module's own weights, in their precision and on their device. It leaves weights, buffers,
    gradients, modes and random numbers as they were, to the bit. Searches for eigenpairs start
    from the last eigenvectors.

    `module`, `loss` and `data` are those of `Problem`. A `DataLoader` is read again at each
    measurement; other batches are read once. With `data=None`, `monitor.step((inputs, labels))`
    measures on that batch. `measure` lists the measurements, each due at the multiples of its
    `every`; those with `every=0` are taken as often as `budget` allows, a share of the training
    time. `held_out` is (inputs, labels) for `Accuracy`.

    With the loop's `optimizer` each row of eigenvalues of 𝓗 also has the optimizer's own edge:
    `preconditioned_sharpness`, λ₁ of P^(−½)𝓗P^(−½) with P and weight decay from its state;
    `edge`, its limit of stability on a quadratic; and `over_edge`, their ratio. Rows of
    `CriticalSharpness` have `update_sharpness`, λ_c along the optimizer's next step. Supported are
    SGD, Adam, AdamW, NAdam, RMSprop and Adagrad, also with different parameter groups. For another
    optimizer, and with batch norm in training mode, only λ₁(𝓗) is measured, and `no_edge` says
    why. Gradient clipping is not taken into account.

    Raises: UserError as `Problem` does, for an optimizer of other parameters, and for measurements
    that are never due.

    >>> import torch, eosflow
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    >>> inputs, labels = torch.randn(20, 4), torch.randint(3, (20,))
    >>> loss, optimizer = torch.nn.CrossEntropyLoss(), torch.optim.SGD(net.parameters(), lr=0.5)
    >>> measure = [eosflow.TopEigenvalues(k=2, every=10)]
    >>> monitor = eosflow.Monitor(net, loss, (inputs, labels), optimizer=optimizer, measure=measure)
    >>> for _ in range(20):
    ...     optimizer.zero_grad()
    ...     loss(net(inputs), labels).backward()
    ...     optimizer.step()
    ...     _ = monitor.step()
    >>> frame = monitor.frames["top-eigenvalues"]
    >>> list(frame["iteration"]), list(frame["edge"])  # 2/η
    ([10, 20], [4.0, 4.0])
    """

    def __init__(
        self,
        module: nn.Module,
        loss: str | Loss,
        data: Data | None = None,
        *,
        optimizer: Any = None,
        measure: Sequence[Measurement] = (),
        held_out: tuple[Any, Any] | None = None,
        budget: float | None = None,
        seed: int = 0,
    ) -> None:
        self.module = _unwrapped(module)
        self.iteration = 0
        self._loss, self._data, self._held_out, self._seed = loss, data, held_out, seed
        self._measures = named(measure, None if held_out is None else len(held_out[1]))
        self._pace = Pace(self._measures, budget, next(self.module.parameters()).device)
        self._records: dict[str, list[dict[str, Any]]] = {name: [] for name in self._measures}
        self._problem: InPlace | None = None
        self._generators = _generators(data)
        if data is not None:
            self._problem = self._tried(data)
        self._stability: Stability | None = None
        self.no_edge = "no optimizer was given"
        if optimizer is not None:
            moved = [p for p in self.module.parameters() if p.requires_grad]
            self._stability = Stability(optimizer, moved)
            self.no_edge = self._stability.why_not or _other_loss(self.module)
            if self.no_edge:
                warnings.warn(f"Monitor: {self.no_edge}; only λ₁(𝓗) is measured", stacklevel=2)

    @property
    def frames(self) -> dict[str, pd.DataFrame]:
        """A frame per measurement, by its name, with a row each time it is taken."""
        return {name: pd.DataFrame(records) for name, records in self._records.items()}

    @property
    def latest(self) -> dict[str, float]:
        """The newest numbers of all measurements as `name/column`, for any logger."""
        newest = {name: records[-1] for name, records in self._records.items() if records}
        return {
            f"{name}/{column}": number(value)
            for name, record in newest.items()
            for column, value in record.items()
            if not isinstance(value, list)
        }

    def step(self, batch: tuple[Any, Any] | None = None) -> bool:
        """Count a step of the optimizer and measure what is due; returns whether anything was.

        `batch`: (inputs, labels) of this step, for a monitor without data.
        """
        self.iteration += 1
        if due := self._pace.due(self.iteration):
            self._look(due, batch)
        self._pace.leave()
        return bool(due)

    def plot(self, axes: Axes | None = None) -> Axes:
        """Sharpness and its edge over the steps, see `eosflow.plot.sharpness`."""
        from eosflow import plot

        return plot.sharpness(self, axes)

    def _look(self, due: Sequence[str], batch: tuple[Any, Any] | None) -> None:
        with undisturbed(self.module, self._generators):
            problem = self._at(batch)
            loss = problem.look().loss
            for name in due:
                record = {"iteration": self.iteration, "loss": loss}
                if math.isfinite(loss):  # else training has diverged, and there is nothing more
                    record |= self._measured(self._measures[name], problem)
                self._records[name].append(record)
                self._pace.taken(name)
            problem.leave()

    def _measured(self, measurement: Measurement, problem: InPlace) -> dict[str, Any]:
        if self._stability is not None:
            rates: Any = self._stability  # all that a measurement takes of an optimizer
            measurement = measurement.during(rates, self.iteration)
        place = problem.objective, problem.theta, self.iteration, self._seed
        found = measured(measurement, *place, problem.held_out)
        if self._stability is None or self.no_edge:
            return found
        if isinstance(measurement, TopEigenvalues) and measurement.matrix == "hessian":
            edge = self._stability.now(problem.flat)
            if edge is not None:
                found |= problem.over_edge(edge, measurement, found)
        elif isinstance(measurement, CriticalSharpness):
            found |= problem.along_update(self._stability)
        return found

    def _at(self, batch: tuple[Any, Any] | None) -> InPlace:
        """The problem with the data of this look."""
        if self._data is None and batch is None:
            raise UserError(
                "step: neither the monitor nor the step has data. Give the monitor data=(inputs, "
                "labels), or each step its batch: monitor.step((inputs, labels))."
            )
        if self._data is not None:
            batch = None
        if self._problem is None:
            assert batch is not None
            self._problem = self._tried(batch)
        elif batch is not None:
            self._problem.take(batch)
        elif isinstance(self._data, DataLoader):
            self._problem.take(self._data)
        return self._problem

    def _tried(self, data: Data) -> InPlace:
        with undisturbed(self.module, self._generators):
            tried = Problem(self.module, self._loss, data)
            return InPlace(self.module, tried, self._loss, self._held_out)


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module that torch.compile or a parallel wrapper holds: the same weights."""
    if not isinstance(module, nn.Module):
        raise UserError(
            f"module: {type(module).__name__} was given; it must be the torch.nn.Module that the "
            "loop trains."
        )
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        elif isinstance(module, wrappers):
            module = module.module
        else:
            return module


def _other_loss(module: nn.Module) -> str:
    """Why the loss in evaluation mode is not the one that is trained; empty if it nearly is."""
    for name, layer in module.named_modules():
        if layer.training and isinstance(layer, nn.modules.batchnorm._BatchNorm):
            return (
                f"{name or 'the module'} is batch norm in training mode: the loss that is trained "
                "is another than that in evaluation mode, which is measured, and has another edge"
            )
    return ""


def _generators(data: Data | None) -> list[torch.Generator]:
    """Random streams that reading the data moves on."""
    if not isinstance(data, DataLoader):
        return []
    if data.persistent_workers:
        raise UserError(
            "data: this DataLoader has persistent_workers, and reading it would restart the epoch "
            "of the training loop. Give the monitor a second loader."
        )
    held = (data, data.sampler, data.batch_sampler, getattr(data.batch_sampler, "sampler", None))
    streams = {id(s): s for part in held if (s := getattr(part, "generator", None)) is not None}
    return list(streams.values())

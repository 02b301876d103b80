"""When a monitor measures: at a fixed interval of steps, or within a share of the training time."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from eosflow.measurements.base import Measurement
from eosflow.storage.errors import UserError

clock = time.perf_counter


class Pace:
    """Which measurements are due at a step, from their `every` and the time that looks have taken.

    A measurement with `every=0` is due where its time so far and that of its last look once more
    are at most its share of `budget` times the time between the steps. All such measurements have
    equal shares. The first of a look pays for what they have in common.

    Raises: UserError where one is never due, or the budget is no positive number.
    """

    def __init__(
        self, measures: Mapping[str, Measurement], budget: float | None, device: torch.device
    ) -> None:
        free = [name for name, measurement in measures.items() if not measurement.every]
        if budget is None and free:
            kind = type(measures[free[0]]).__name__
            raise UserError(
                f"measure: {kind} has no every, and there is no budget: give it every=50, or the "
                "monitor budget=0.1, a share of the time of training."
            )
        if budget is not None and not budget > 0:
            raise UserError(f"budget: {budget} was given; it must be a number greater than 0.")
        self._every = {name: measurement.every for name, measurement in measures.items()}
        self._share = (budget or 0.0) / max(1, len(free))
        self._device = device
        self._last: dict[str, float] = {}
        self._spent = dict.fromkeys(measures, 0.0)
        self._training = 0.0
        self._left: float | None = None
        self._mark = 0.0

    def due(self, iteration: int) -> list[str]:
        """The measurements due after so many steps; the time since the last is training's."""
        self._mark = self._now()
        if self._left is not None:
            self._training += self._mark - self._left
        return [
            name
            for name, every in self._every.items()
            if (iteration % every == 0 if every else self._affordable(name))
        ]

    def taken(self, name: str) -> None:
        """A measurement has been taken, since `due` or the one before it."""
        now = self._now()
        self._last[name] = now - self._mark
        self._spent[name] += self._last[name]
        self._mark = now

    def leave(self) -> None:
        """The loop goes on."""
        self._left = self._now()

    def _affordable(self, name: str) -> bool:
        if name not in self._last:
            return True
        return self._spent[name] + self._last[name] <= self._share * self._training

    def _now(self) -> float:
        # A GPU works on what it was given before; without a budget nobody asks for the time.
        if self._share and self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return clock()

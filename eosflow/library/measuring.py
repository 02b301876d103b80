"""The measurements of a user: checked, named, and taken at their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from eosflow.measurements.base import Measurement
from eosflow.measurements.spectral_density import SpectralDensity
from eosflow.objectives.base import Objective
from eosflow.storage.errors import UserError


def named(measure: Sequence[Measurement], held_out: int | None) -> dict[str, Measurement]:
    """Measurements by their names; a second of one name is `NAME-2`.

    `held_out` is how many held-out examples there are, None if there are none.

    Raises: UserError for what is no list of measurements, settings that are not allowed, and
    measurements that want other held-out examples.
    """
    found: dict[str, Measurement] = {}
    if isinstance(measure, type) or not isinstance(measure, list | tuple):
        name = getattr(measure, "__name__", repr(measure))
        raise UserError(f"measure: {name} was given; it must be a list: measure=[{name}].")
    for measurement in measure:
        if not isinstance(measurement, Measurement):
            name = getattr(measurement, "__name__", repr(measurement))
            raise UserError(
                f"measure: {name} was given; it must be a list of measurements, such as "
                "[eosflow.TopEigenvalues(k=5, every=20)]."
            )
        if measurement.held_out_examples:
            _check_held_out(measurement, held_out)
        same = sum(known.name == measurement.name for known in found.values())
        found[f"{measurement.name}-{same + 1}" if same else measurement.name] = measurement
    return found


def measured(
    measurement: Measurement,
    objective: Objective,
    theta: Tensor,
    iteration: int,
    seed: int,
    held_out: Objective | None,
) -> dict[str, Any]:
    """The record at θ (P,). That of a spectral density has its nodes and weights too."""
    if isinstance(measurement, SpectralDensity):
        spectrum = measurement.seen(objective, theta, iteration, seed)
        nodes, weights = spectrum.nodes.reshape(-1), spectrum.weights.reshape(-1) / spectrum.size
        lists = {"nodes": nodes.tolist(), "weights": weights.tolist()}
        return measurement.record(spectrum, objective, theta) | lists
    measure: Any = measurement.measure
    more = (held_out,) if measurement.held_out_examples else ()
    return dict(measure(objective, theta, iteration, seed, *more))


def number(value: Any) -> float:
    """A number of a record as a float; NaN where it is missing."""
    return math.nan if value is None else float(value)


def _check_held_out(measurement: Any, held_out: int | None) -> None:
    name = type(measurement).__name__
    if held_out is None:
        raise UserError(
            f"measure: {name} needs examples that are kept out of training: give "
            "held_out=(inputs, labels)."
        )
    apart = getattr(measurement, "validation", 0)
    if apart >= held_out:
        raise UserError(
            f"measure: {name} keeps {apart} of the held-out examples apart, and there are "
            f"{held_out}: give more, or a smaller validation."
        )

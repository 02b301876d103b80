"""Experiments with a `grid`: one experiment for each combination of its values, each by a name."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from typing import Any

from eosflow.storage.errors import UserError


def unfolded(experiments: Mapping[str, Any]) -> dict[str, Any]:
    """The experiments with each that has a `grid` replaced by those that it stands for.

    `grid: {PATH: [VALUE, …], …}` gives every combination, where PATH is a key of the experiment,
    such as `optimizers.sgd.learning_rate`. The names are those of the last parts of the paths and
    the values: `EXP-learning-rate-0.1-size-8`. A grid of another form is left to the schema.

    Raises: UserError where two experiments would have one name.
    """
    cells: dict[str, Any] = {}
    for name, experiment in experiments.items():
        for each, values in _cells(name, experiment):
            if each in cells or (each != name and each in experiments):
                raise UserError(
                    f"experiments.{name}.grid: the experiment {each} is there already; rename one."
                )
            cells[each] = values
    return cells


def _cells(name: str, experiment: Any) -> list[tuple[str, Any]]:
    grid = experiment.get("grid") if isinstance(experiment, Mapping) else None
    well_formed = isinstance(grid, Mapping) and all(
        isinstance(values, list) and values for values in grid.values()
    )
    if not grid or not well_formed:
        return [(name, experiment)]
    cells = []
    for values in itertools.product(*grid.values()):
        cell = copy.deepcopy({key: value for key, value in experiment.items() if key != "grid"})
        words = [name]
        for path, value in zip(grid, values, strict=True):
            *most, last = str(path).split(".")
            table = cell
            for part in most:
                below = table.get(part, {})
                if not isinstance(below, dict):
                    raise UserError(f"experiments.{name}.grid: {path} is no key of an experiment.")
                # A copy: by an alias of YAML one table may stand in several places.
                below = dict(below)
                table[part] = below
                table = below
            table[last] = value
            words += [last, _word(value)]
        cells.append(("-".join(words).replace("_", "-").lower(), cell))
    return cells


def _word(value: Any) -> str:
    """A value as part of a name: `0.1`, `1e-05`, `cnn`."""
    try:
        return f"{float(value):g}".replace("+", "")
    except (TypeError, ValueError):
        return str(value)

"""How a run's files are called and what they are recognised by. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eosflow.measurements.base import Measurement
from eosflow.storage import settings
from eosflow.storage.digests import digest


def step_name(iteration: int) -> str:
    """The name of a snapshot, `step` and six digits; a seventh digit just makes it longer."""
    return f"step{iteration:06d}"


def place_of(measurement: str) -> str:
    """The folder of a measurement below its run's: `measurements/NAME`, or `decomposition`."""
    return measurement if measurement == "decomposition" else f"measurements/{measurement}"


def _how(measurement: Measurement) -> dict[str, Any]:
    """What changes the numbers of one snapshot: all settings but which snapshots to take."""
    fields = settings.key_fields(measurement)
    return {name: value for name, value in fields.items() if name not in ("name", "every")}


def index_key(measurement: Measurement) -> str:
    """What an index of measured snapshots is recognised by: settings, cadence and version."""
    return digest([settings.key_fields(measurement), measurement.version])


def snapshot_key(entry: Mapping[str, Any], measurement: Measurement) -> str:
    """What the record of a snapshot depends on: its contents and how it is measured."""
    how = _how(measurement)
    return digest([entry["sha256"], measurement.version, *([how] if how else [])])

"""Where a run lies and how its files are called: the key of what they are is in their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eosflow.measurements.base import Measurement
from eosflow.storage import settings
from eosflow.storage.digests import digest

RUNS = "runs"  # below the results: the runs, each in a folder called by its key


def run_folder(results: Path | str, key: str) -> Path:
    """The folder of a run, by the key of its specification."""
    return Path(results, RUNS, key)


def run_folders(results: Path) -> list[Path]:
    """The folders of all runs that are there."""
    return sorted(path for path in (results / RUNS).glob("*") if path.is_dir())


def index_key(measurement: Measurement) -> str:
    """Digest of a measurement's settings, its choice of snapshots and its version."""
    return digest([settings.key_fields(measurement), measurement.version])


def measured_folder(measurement: Measurement) -> str:
    """The folder of a measurement below its run's, by its name and its key."""
    return f"{measurement.name}-{index_key(measurement)}"


def view_of(measurement: str) -> str:
    """Where people find a measurement below EXP/nN/RUN: `measurements/NAME`, or `decomposition`."""
    return measurement if measurement == "decomposition" else f"measurements/{measurement}"


def step_name(iteration: int) -> str:
    """The name of a snapshot, `step` and six digits; a seventh digit just makes it longer."""
    return f"step{iteration:06d}"


def snapshot_key(sha256: str, measurement: Measurement) -> str:
    """What the record of a snapshot depends on: its contents and how it is measured.

    Which snapshots are measured (`every`) changes no number of one.
    """
    fields: dict[str, Any] = settings.key_fields(measurement)
    how = {name: value for name, value in fields.items() if name not in ("name", "every")}
    return digest([sha256, measurement.version, *([how] if how else [])])

"""What a run's folder says of the run: run.json, manifest.json, and the index of a measurement."""

from __future__ import annotations

import functools
from typing import Any, Literal

from eosflow.runs.spec import RunSpec
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.records import Digest, Listed, Record

Stopped = Literal["target_loss", "max_iterations", "diverged"]


class Snapshot(Listed):
    """A weight snapshot."""

    iteration: int
    flow_time: float
    loss: float


class Manifest(Record):
    """What a finished run left: its trajectory and its weight snapshots."""

    key: Digest
    stopped: Stopped
    trajectory: Listed
    snapshots: tuple[Snapshot, ...]

    @functools.cached_property
    def digest(self) -> str:
        """What tells these snapshots, bit by bit, from others."""
        return digest([(entry.iteration, entry.sha256) for entry in self.snapshots])

    def entry(self, iteration: int) -> Snapshot:
        """The snapshot of an iteration. Raises: UserError naming the iterations there are."""
        entries = {entry.iteration: entry for entry in self.snapshots}
        if iteration not in entries:
            raise UserError(
                f"The run has no snapshot of iteration {iteration}. It has those of iterations "
                f"{', '.join(map(str, sorted(entries)))}."
            )
        return entries[iteration]


class Sitting(Record):
    """With what a run was trained from some iteration on."""

    from_iteration: int
    device: str
    threads: int
    versions: dict[str, str | None]


class RunRecord(Record):
    """run.json: the specification, with what it was trained, and how it ended.

    Raises: ValueError if the key is not that of the specification.
    """

    spec: dict[str, Any]
    key: Digest
    trajectory_key: Digest
    status: Literal["running", "finished"]
    parameters: int
    device: str
    threads: int
    versions: dict[str, str | None]
    sittings: tuple[Sitting, ...]
    subset: dict[str, str]
    stopped: Stopped | None = None
    iterations: int | None = None
    flow_time: float | None = None
    final_loss: float | None = None
    seconds: float | None = None
    block_products: int | None = None
    manifest: dict[str, Any] | None = None  # as in manifest.json, which is made again of it

    @functools.cached_property
    def run(self) -> RunSpec:
        """The specification, whose key must be the record's.

        Raises: ValueError if it is not, or this version knows no such specification.
        """
        try:
            run = RunSpec.from_record(self.spec)
            key = run.key
        except (KeyError, TypeError, AttributeError, ValueError, UserError) as error:
            raise ValueError(f"its specification cannot be read ({error!r})") from error
        if key != self.key:
            raise ValueError("its key is not the one that its specification gives")
        return run


class Progress(Record):
    """progress.json: how far a run in training is, and what it may still take."""

    iteration: int
    loss: float | None  # None: not finite, as of all others
    sharpness: float | None
    seconds_left: float | None


class Measured(Listed):
    """The record of one measured snapshot."""

    iteration: int


class Index(Record):
    """index.json: the measured snapshots of a run; `of` is the digest of its manifest."""

    run: Digest
    of: Digest
    made_with: tuple[dict[str, Any], ...]
    snapshots: tuple[Measured, ...]


class StepRecord(Record):
    """stepSTEP.json: the numbers of one measured snapshot."""

    iteration: int
    flow_time: float
    version: int
    key: Digest
    made_with: dict[str, Any]

    def numbers(self) -> dict[str, Any]:
        """Without what tells where they come from."""
        return self.model_dump(exclude={"key", "version", "made_with"})


class Cleaned(Record):
    """cleaned.json: the snapshots that were deleted on purpose; none for a run that may go on."""

    snapshots: tuple[str, ...]

"""The progress of the runs in a results folder, from its files alone, also during a run."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Self

from eosflow.runs.names import run_folder
from eosflow.runs.progress import time_left
from eosflow.runs.records import Progress, RunRecord
from eosflow.runs.whole import deleted
from eosflow.storage.errors import UserError
from eosflow.storage.locks import is_held
from eosflow.workflow.plan import Recorded

# Below the results: which runs there are to be; written when Snakemake starts to work.
CONFIGURATION = "logs/configuration.json"
TAIL_BYTES = 16384  # of a log
# In the order in which a run goes through them; the last two are off that way.
STATES = ("waiting", "training", "trained", "measuring", "done", "interrupted", "failed")
TO_TRAIN = ("waiting", "training", "interrupted", "failed")


@dataclass(frozen=True)
class RunStatus:
    """One run: where it is, and what is known of it.

    `state` is one of `STATES`: training and measuring where a job holds the run's lock, which the
    kernel takes from a process that dies; interrupted or failed where it has begun, has not
    finished and no job holds the lock. `stopped` is how a trained run ended.
    """

    run: str
    state: str
    iteration: int | None = None
    loss: float | None = None
    target_loss: float | None = None
    sharpness: float | None = None
    seconds: float | None = None
    seconds_left: float | None = None
    stopped: str | None = None
    note: str = ""

    @property
    def like(self) -> str:
        """What it has in common with runs that take as long: experiment and N."""
        return self.run.rsplit("/", 1)[0]

    def line(self) -> str:
        """In one line, for people."""
        facts = [self.state]
        if self.iteration is not None:
            facts.append(f"iteration {self.iteration}")
        if self.loss is not None:
            target = f" (target {self.target_loss:g})" if self.target_loss is not None else ""
            facts.append(f"loss {self.loss:.4g}{target}")
        if self.sharpness is not None:
            facts.append(f"sharpness {self.sharpness:.4g}")
        if self.seconds is not None:
            facts.append(f"trained in {time_left(self.seconds)}")
        if self.seconds_left is not None:
            facts.append(f"about {time_left(self.seconds_left)} left")
        if self.stopped not in (None, "target_loss"):
            facts.append(f"ended by {self.stopped}")
        return f"{self.run}: {', '.join(facts)}" + (f"; {self.note}" if self.note else "")


@dataclass(frozen=True)
class Status:
    """All runs of the configuration that was started last; `working`: a Snakemake is at work."""

    results: str
    runs: tuple[RunStatus, ...]
    working: bool

    @classmethod
    def of(cls, results: Path) -> Self:
        """Raises: UserError if the workflow has never been started there."""
        started = Recorded.readable(results / CONFIGURATION)
        if started is None:
            raise UserError(
                f"{results} holds no {CONFIGURATION} that can be read: start the workflow first, "
                "which writes it."
            )
        measured = started.measurements
        runs = [
            run_status(results, folder, key, measured.get(folder, {}).values())
            for folder, key in started.runs.items()
        ]
        return cls(str(results), tuple(_with_time_left(runs)), is_held(results))

    def in_words(self, every_run: bool = False) -> str:
        """What `eosflow status` prints: sums by experiment, and the runs that are under way."""
        groups: dict[str, list[RunStatus]] = {}
        for run in self.runs:
            groups.setdefault(run.run.split("/", 1)[0], []).append(run)
        rows = [["", *STATES, "training left"]]
        for name, runs in [*groups.items(), ("all", list(self.runs))]:
            counts = Counter(run.state for run in runs)
            rows.append([name, *(str(counts[state] or "–") for state in STATES), _left(runs)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
            for row in rows
        ]
        shown = ("training", "measuring", "interrupted", "failed")
        lines += [run.line() for run in self.runs if every_run or run.state in shown]
        at = "is" if self.working else "is not"
        return "\n".join([*lines, f"Snakemake {at} at work in {self.results}."])


def run_status(results: Path, folder: str, key: str, measured: Collection[str] = ()) -> RunStatus:
    """One run by its key; `measured` are the folders of its measurements."""
    home = run_folder(results, key)
    record, busy = RunRecord.readable(home / "run.json"), is_held(home)
    if record is None:
        return RunStatus(folder, "training" if busy else "waiting")
    known: dict[str, Any] = {"target_loss": record.spec.get("target_loss")}
    if record.status == "finished" and (home / "manifest.json").exists():
        whole = all((home / inner / "index.json").exists() for inner in measured)
        return RunStatus(
            folder,
            "measuring" if busy else "done" if whole else "trained",
            iteration=record.iterations,
            loss=record.final_loss,
            seconds=record.seconds,
            stopped=record.stopped,
            note="its snapshots were deleted" if deleted(home) else "",
            **known,
        )
    if seen := Progress.readable(home / "progress.json"):
        known |= {"iteration": seen.iteration, "loss": seen.loss, "sharpness": seen.sharpness}
        known |= {"seconds_left": seen.seconds_left} if busy else {}
    if busy:
        return RunStatus(folder, "training", **known)
    if failure := _failure(results / "logs" / "train" / f"{folder}.log"):
        return RunStatus(folder, "failed", note=failure, **known)
    goes_on = (home / "checkpoint.safetensors").exists()
    note = "continues from its checkpoint" if goes_on else "starts again"
    return RunStatus(folder, "interrupted", note=note, **known)


def _failure(log: Path) -> str | None:
    """The message that a job's log ends with, which begins anew with each job; None without one."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    for number, line in enumerate(lines):
        if line.startswith("error: "):
            return line.removeprefix("error: ")
        if line.startswith("Traceback (most recent call last)"):
            return next(line for line in reversed(lines[number:]) if line.strip())
    return None


def _with_time_left(runs: list[RunStatus]) -> list[RunStatus]:
    """Runs that no job trains take as long as the mean of their experiment and N."""
    took: dict[str, list[float]] = {}
    for run in runs:
        if run.seconds is not None:
            took.setdefault(run.like, []).append(run.seconds)
    return [
        dataclasses.replace(run, seconds_left=mean(took[run.like]))
        if run.state in TO_TRAIN and run.state != "training" and run.like in took
        else run
        for run in runs
    ]


def _left(runs: list[RunStatus]) -> str:
    """How long one job would train all that is left."""
    left = [run.seconds_left for run in runs if run.state in TO_TRAIN]
    known = [seconds for seconds in left if seconds is not None]
    parts = [time_left(sum(known))] if known else []
    parts += [f"{len(left) - len(known)} unknown"] if len(known) < len(left) else []
    return " + ".join(parts) or "–"

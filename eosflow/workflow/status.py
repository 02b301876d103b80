"""The progress of the runs in a results folder, from its files alone, also during a run."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from eosflow.runs.names import RUNS, run_folder
from eosflow.runs.progress import time_left
from eosflow.runs.records import Index, Progress, RunRecord, StepRecord
from eosflow.runs.whole import deleted
from eosflow.storage.errors import UserError
from eosflow.storage.locks import is_held
from eosflow.workflow.locks import WORKING
from eosflow.workflow.plan import Recorded

# Below the results: which runs there are to be; written when Snakemake starts to work.
CONFIGURATION = "logs/configuration.json"
TAIL_BYTES = 16384  # of a log
# In the order in which a run goes through them; the last three are off that way.
STATES = ("waiting", "training", "trained", "measuring", "done", "interrupted", "failed")


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
    def experiment(self) -> str:
        """The first part of the run's name."""
        return self.run.split("/", 1)[0]

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
    """All runs of a results folder.

    `others` are the keys of runs that the recorded configuration does not ask for; `recorded` says
    whether there is one, and `working` whether a Snakemake is at work here.
    """

    results: str
    runs: tuple[RunStatus, ...]
    others: tuple[str, ...]
    recorded: bool
    working: bool

    @classmethod
    def of(cls, results: Path) -> Status:
        """Raises: UserError if there are no runs."""
        configuration = Recorded.readable(results / CONFIGURATION)
        begun = known_runs(results)
        asked = configuration.runs if configuration else {name: key for key, name in begun.items()}
        if not asked:
            raise UserError(
                f"{results} holds no runs and no {CONFIGURATION}: start the workflow first."
            )
        measured = configuration.measurements if configuration else {}
        runs = [
            run_status(results, folder, key, measured.get(folder, {}))
            for folder, key in asked.items()
        ]
        keys = set(asked.values())
        return cls(
            results=str(results),
            runs=tuple(_with_time_left(runs)),
            others=tuple(key for key in begun if key not in keys),
            recorded=configuration is not None,
            working=is_held(results, WORKING),
        )

    def record(self) -> dict[str, Any]:
        """The same as JSON, with how many runs of each experiment are in each state."""
        whole = dataclasses.asdict(self)
        whole["states"] = {
            name: dict(Counter(run.state for run in runs)) for name, runs in self.groups().items()
        }
        return whole

    def groups(self) -> dict[str, list[RunStatus]]:
        """The runs by experiment."""
        groups: dict[str, list[RunStatus]] = {}
        for run in self.runs:
            groups.setdefault(run.experiment, []).append(run)
        return groups

    def in_words(self, every_run: bool = False) -> str:
        """What `eosflow status` prints: sums by experiment, and the runs that are under way."""
        rows = [["", *STATES, "training left"]]
        for name, runs in [*self.groups().items(), ("all", list(self.runs))]:
            counts = Counter(run.state for run in runs)
            rows.append([name, *(str(counts[state] or "–") for state in STATES), _left(runs)])
        lines = _aligned(rows)
        shown = ("training", "measuring", "interrupted", "failed")
        lines += [run.line() for run in self.runs if every_run or run.state in shown]
        if self.others:
            lines.append(
                f"{len(self.others)} other runs are here, such as runs/{self.others[0]}, that the "
                "configuration does not ask for."
            )
        if not self.recorded:
            lines.append(
                f"There is no {CONFIGURATION}, so only runs that have begun are counted; the next "
                "start of the workflow writes it."
            )
        at = "is" if self.working else "is not"
        return "\n".join([*lines, f"Snakemake {at} at work in {self.results}."])


def known_runs(results: Path) -> dict[str, str]:
    """The runs that have begun, by key: in which folder EXP/nN/RUN people find each."""
    begun = {}
    for path in sorted(results.glob(f"{RUNS}/*/run.json")):
        if record := RunRecord.readable(path):
            with contextlib.suppress(ValueError):
                begun[record.key] = str(record.run.folder)
    return begun


def run_status(
    results: Path, folder: str, key: str, measured: Mapping[str, str] | None = None
) -> RunStatus:
    """One run by its key; `measured` are the folders of its measurements, by name."""
    home = run_folder(results, key)
    record, busy = RunRecord.readable(home / "run.json"), is_held(home)
    if record is None:
        return RunStatus(folder, "training" if busy else "waiting")
    target = record.spec.get("target_loss")
    if record.status != "finished" or not (home / "manifest.json").exists():
        return _unfinished(results, folder, home, "training" if busy else None, target)
    whole = all((home / inner / "index.json").exists() for inner in (measured or {}).values())
    return RunStatus(
        folder,
        state="measuring" if busy else "done" if whole else "trained",
        iteration=record.iterations,
        loss=record.final_loss,
        target_loss=target,
        sharpness=_last_sharpness(home, (measured or {}).get("decomposition")),
        seconds=record.seconds,
        stopped=record.stopped,
        note="its snapshots were deleted" if deleted(home) else "",
    )


def _unfinished(
    results: Path, folder: str, home: Path, work: str | None, target: float | None
) -> RunStatus:
    failure = None if work else _failure(results / "logs" / "train" / f"{folder}.log")
    goes_on = (home / "checkpoint.safetensors").exists()
    note = failure or ("continues from its checkpoint" if goes_on else "starts again")
    known: dict[str, Any] = {"target_loss": target, "note": "" if work else note}
    if seen := Progress.readable(home / "progress.json"):
        known |= {"iteration": seen.iteration, "loss": seen.loss, "sharpness": seen.sharpness}
        known |= {"seconds_left": seen.seconds_left} if work else {}
    return RunStatus(folder, work or ("failed" if failure else "interrupted"), **known)


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


def _last_sharpness(home: Path, inner: str | None) -> float | None:
    """λ₁(𝓗) at the last snapshot that was decomposed."""
    index = Index.readable(home / inner / "index.json") if inner else None
    if inner is None or index is None or not index.snapshots:
        return None
    record = StepRecord.readable(home / inner / index.snapshots[-1].file)
    value = record.numbers().get("sharpness_hessian") if record else None
    return None if value is None else float(value)


def _with_time_left(runs: list[RunStatus]) -> list[RunStatus]:
    """Runs that have not begun to train take as long as the mean of their experiment and N."""
    took: dict[str, list[float]] = {}
    for run in runs:
        if run.seconds is not None:
            took.setdefault(run.run.rsplit("/", 1)[0], []).append(run.seconds)
    filled = []
    for run in runs:
        like = took.get(run.run.rsplit("/", 1)[0])
        if run.state in ("waiting", "interrupted", "failed") and like:
            run = dataclasses.replace(run, seconds_left=mean(like))
        filled.append(run)
    return filled


def _left(runs: list[RunStatus]) -> str:
    """How long one job would train all that is left."""
    open_ones = [r for r in runs if r.state in ("waiting", "training", "interrupted", "failed")]
    known = [run.seconds_left for run in open_ones if run.seconds_left is not None]
    if not open_ones:
        return "–"
    unknown = len(open_ones) - len(known)
    parts = [time_left(sum(known))] if known else []
    return " + ".join([*parts, *([f"{unknown} unknown"] if unknown else [])])


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]

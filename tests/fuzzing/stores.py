"""Small projects with all kinds of results, and the numbers in them that no fault may change."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from project import HANGS, Project

from eosflow.storage.files import read_json, sha256
from fuzzing.nursery import CLIENT, SOCKET, Child, Nursery, ask

# Experiments of the paper's kind, and a run of a study with held-out examples.
CONFIG = """
results_dir: results
select: [dice-ce, mse]
studies: [sgd-grid]
device: cpu
measure: [decomposition, top-eigenvalues]
seeds: {initialization: [0], subset: [0]}
networks: {mlp: {width: 8, depth: 3}}
optimizers: {exponential-euler: {max_step_size: 0.1}}
stop: {max_iterations: 400}
snapshots: {iterations: {every: 40}}
datasets: {dice: {image_size: 8, images_per_class: 40}}
experiments:
  dice-ce: {n: [6, 12], target_loss: 0.2}
  mse: {dataset: dice, criterion: squared_error, n: [6], target_loss: 0.2}
  sgd:
    study: sgd-grid
    dataset: dice
    criterion: squared_error
    n: [12]
    optimizer: gradient-descent
    batch: shuffled
    batches: {shuffled: {size: 4}}
    measure: [accuracy, top-eigenvalues]
    measurements: {accuracy: {held_out: 30}}
    stop: {max_iterations: 60}
    grid: {optimizers.gradient-descent.learning_rate: [0.01]}
  cifar10-ce: {n: [6]}
  cifar10-mse: {n: [6]}
  atrialfibrillation-ce: {n: [6]}
  sst-ce: {n: [6]}
"""
# Laid over it: some of the same runs, another under the name of one, and other measurements.
SECOND = """
studies: []
measure: [decomposition]
experiments:
  dice-ce: {n: [6, 18], target_loss: 0.2}
  mse: {dataset: dice, criterion: squared_error, n: [6], target_loss: 0.25}
"""
# Laid over it: weight snapshots are deleted once they are measured.
PASSING = "keep_snapshots: false\n"
OVERLAYS = {"first": (), "second": ("second.yaml",), "passing": ("passing.yaml",)}
TABLES = ("table1.csv", "table2.csv", "alignment.csv", "table3.csv", "claims.csv")
FRAMES = ("decomposition.parquet", "runs.parquet", "measurements/top-eigenvalues.parquet")
FIGURES = ("figures/figure01.png", "figures/figure05.pdf")
STUDY = ("studies/sgd-grid/table.csv", "studies/sgd-grid/claims.csv", "figures/sgd-grid.png")
# The folders EXP/nN/RUN of the first configuration's selected runs.
VIEWS = ("dice-ce/n6/init0-subset0", "dice-ce/n12/init0-subset0", "mse/n6/init0-subset0")
# What no two runs have in common: times, and what they were trained with after an interruption.
TOLD = ["seconds", "changed", "commit"]
NOBODY = 65534  # the user of that name


class Program(Project):
    """The workflow's files, with a checkpoint at every iteration, and jobs run by the nursery."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        (root / "scripts/job.py").write_text(CLIENT)
        self.edit("eosflow/runs/train.py", "CHECKPOINT_SECONDS = 120.0", "CHECKPOINT_SECONDS = 0.0")


class Store:
    """A project folder with its own results; the program lies elsewhere.

    `environment` is that of all processes, for which a fault may change it.
    """

    def __init__(self, root: Path, program: Program, nursery: Nursery) -> None:
        self.root, self.results, self.kept = root, root / "results", root / "kept"
        self.program, self.nursery, self.config = program, nursery, "first"
        self.environment = program.environment | {SOCKET: nursery.address}
        self.guest = root / "guest"  # where another user works, with the results of this one
        for place in (root, self.guest):
            place.mkdir()
            for part in ("config.yaml", "config", "profiles"):
                copy: Any = shutil.copytree if (program.root / part).is_dir() else shutil.copy
                copy(program.root / part, place / part)
            for name, text in (("tiny", CONFIG), ("second", SECOND), ("passing", PASSING)):
                (place / f"{name}.yaml").write_text(text)
        self.guest.chmod(0o777)
        self._groups: list[int] = []
        # Of files to damage, and the ways to do it; all, if there are none.
        self.kinds: tuple[str, ...] = ()
        self.harms: tuple[str, ...] = ()
        self.evidence: dict[str, str] = {}  # the numbers kept of undisturbed results

    def reset(self, results: Path | None) -> None:
        """Put a copy of finished results here, or nothing, and forget Snakemake's notes."""
        self.end()
        notes = (place / ".snakemake" for place in (self.root, self.guest))
        for folder in (self.results, self.kept, *notes):
            shutil.rmtree(folder, ignore_errors=True)
        if results:
            shutil.copytree(results, self.results, symlinks=True)
        self.config = "first"

    def end(self) -> None:
        """Kill whatever still works here, and wait until it is gone."""
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            while list(self.nursery.jobs(group)):
                time.sleep(0.01)
        self._groups.clear()

    def start(self, *words: str, user: int = 0) -> Working:
        """Start `snakemake …` or `eosflow …` here, in a new process group."""
        output = self.root / f"output{len(self._groups)}"
        place = str(self.guest if user else self.root)
        with output.open("wb") as file:
            child = ask(
                self.nursery.address,
                words,
                file.fileno(),
                cwd=place,
                environment=self.environment | {"HOME": place},
                user=user,
            )
        self._groups.append(child.pid)
        return Working(child, output)

    def make(self, *targets: str, user: int = 0) -> Working:
        """Start what a user does: Snakemake with a configuration, on two cores."""
        files = ["tiny.yaml", *OVERLAYS[self.config]]
        place = ["-s", str(self.program.root / "Snakefile"), "--cores", "2"]
        if user:
            files += ["--config", f"results_dir={self.results}"]
        asked = targets or self.targets(self.results if user else "results")
        return self.start("snakemake", *asked, *place, "--configfile", *files, user=user)

    def targets(self, results: Path | str = "results") -> list[str]:
        """What is asked of a configuration."""
        files = [TABLES[0], "table3.csv", FIGURES[0]]
        if self.config != "second":
            files += [FRAMES[2], FIGURES[1], *STUDY]
        if self.config == "passing":
            files += [f"{run}/cleaned.json" for run in VIEWS]
        return [f"{results}/{file}" for file in files]


class Working:
    """A command at work, which leads a process group, and what it has printed by now."""

    def __init__(self, child: Child, output: Path) -> None:
        self.child, self.pid, self._output = child, child.pid, output

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self.child.poll() is not None

    def end(self) -> tuple[int, str]:
        """Wait for its end: its status and all that it printed."""
        return self.child.wait(HANGS), self._output.read_text(errors="replace")


def numbers(results: Path, config: str) -> dict[str, str]:
    """All numbers of the results of a configuration, each file as it is, or its checksum."""
    others = FIGURES[:1] if config == "second" else (*FIGURES, *STUDY)
    found = {name: sha256(results / name) for name in (*TABLES[1:], *others)}
    found[TABLES[0]] = _text(pd.read_csv(results / TABLES[0], dtype=str))
    for name in FRAMES[: 2 if config == "second" else 3]:
        found[name] = _text(pd.read_parquet(results / name))
    runs = {read_json(path)["run"] for path in results.glob("*/n*/*/measured.json")}
    kinds = ("trajectory.parquet", "snapshots/*.safetensors")
    for path in (
        path for run in sorted(runs) for kind in kinds for path in _of(results, run, kind)
    ):
        found[path.relative_to(results).as_posix()] = sha256(path)
    return found


def kept_numbers(folder: Path) -> dict[str, str]:
    """All numbers of kept evidence, as they are written."""
    found = {path.name: _text(pd.read_parquet(path)) for path in folder.glob("*.parquet")}
    return found | {path.name: _text(pd.read_csv(path, dtype=str)) for path in folder.glob("*.csv")}


def _text(frame: pd.DataFrame) -> str:
    return frame.drop(columns=TOLD, errors="ignore").to_csv()


def _of(results: Path, run: str, kind: str) -> list[Path]:
    return sorted((results / "runs" / run).glob(kind))


def different(found: dict[str, str], expected: dict[str, str]) -> Sequence[str]:
    """The names of numbers that are not those of an undisturbed run.

    Snapshots may be gone, for `clean` and `keep_snapshots` delete them.
    """
    return [
        name
        for name in expected
        if found.get(name) != expected[name] and not (name not in found and "/snapshots/" in name)
    ]

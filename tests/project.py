"""A copy of the workflow in a folder of its own, and ways to start Snakemake in it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
import snakemake.cli
from filelock import FileLock
from fuzzing.nursery import CLIENT, SOCKET, Nursery

import eosflow.results.figures
import eosflow.runs.spec
import eosflow.workflow.begin
import eosflow.workflow.inputs
from eosflow.measurements.decomposition import Decomposition
from eosflow.studies import STUDIES
from eosflow.workflow import config
from eosflow.workflow.plan import Plan

ROOT = Path(__file__).resolve().parent.parent
FORK = multiprocessing.get_context("fork")
HANGS = 1800.0  # seconds after which what should end is taken to hang, also on a busy machine
# What may be raised in a dry run.
VERSIONS: dict[str, tuple[Any, str]] = {
    "training": (eosflow.runs.spec, "TRAINING_VERSION"),
    "decomposition": (Decomposition, "version"),
    "figures": (eosflow.results.figures, "FIGURES_VERSION"),
    "study": (STUDIES["edge-of-stability"], "version"),
}
PARTS = ("Snakefile", "config.yaml", "config", "rules", "scripts", "profiles", "envs", "eosflow")

# A network and images so small that a run takes a second; `mse` is a second experiment.
TINY = """
results_dir: results
select: [dice-ce, mse]
device: cpu
studies: [edge-of-stability]
seeds: {initialization: [0], subset: [0]}
networks: {mlp: {width: 8, depth: 3}}
optimizers: {exponential-euler: {max_step_size: 0.2}}
stop: {max_iterations: 2000}
snapshots: {iterations: {every: 20}}
datasets: {dice: {image_size: 8, images_per_class: 40}}
experiments:
  dice-ce: {n: [6, 12, 24], target_loss: 0.2}
  mse: {dataset: dice, criterion: squared_error, n: [6], target_loss: 0.2}
  cifar10-ce: {n: [6]}
  cifar10-mse: {n: [6]}
  atrialfibrillation-ce: {n: [6]}
  sst-ce: {n: [6]}
"""


class Project:
    """The workflow's files copied to `root`, with the TINY config laid over the paper's."""

    configs: tuple[str, ...] = ("tiny.yaml",)
    nursery: Nursery | None = None  # what runs the jobs, if they are not started anew
    code: Path | None = None  # the tree whose code plans, if it is not that of the tests

    def __init__(self, root: Path) -> None:
        self.root = root
        self.results = root / "results"
        root.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, root / part, ignore=ignored)
            else:
                shutil.copy2(source, root / part)
        (root / "tiny.yaml").write_text(TINY)
        # No configuration reaches the studies, which would take a minute.
        study = "eosflow/studies/edge_of_stability/rows.py"
        self.edit(study, "seeds=SEEDS, end=720.0", "seeds=(0,), end=24.0")
        self.edit(study, "end=3.0", "end=0.125")

    def hurry(self, nursery: Nursery) -> Self:
        """Let a nursery run the jobs, with the code that it has loaded, as loading takes long."""
        (self.root / "scripts" / "job.py").write_text(CLIENT)
        self.nursery = nursery
        return self

    @classmethod
    def at(cls, root: Path) -> Project:
        """The project that is there already."""
        project = cls.__new__(cls)
        project.root, project.results = root, root / "results"
        return project

    def adopt(self, results: Path) -> None:
        """Put a copy of finished results here, times and all, without Snakemake's notes."""
        shutil.copytree(results, self.results, symlinks=True)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text in one of the copied files."""
        path = self.root / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file} holds {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new))

    def home(self, run: str) -> Path:
        """Where a run of the TINY config really lies."""
        files = [self.root / "config.yaml", *(self.root / name for name in self.configs)]
        planned = Plan(config.load(files, {"results_dir": str(self.results)}))
        return planned.home(run)

    def command(self, *arguments: str, tiny: bool = True) -> list[str]:
        # After the rest: an option with several values must not be followed by a target.
        config = ["--configfile", *self.configs] if tiny else []
        return [sys.executable, "-m", "snakemake", *arguments, *config]

    @property
    def environment(self) -> dict[str, str]:
        # Only what the tree itself holds, and no GPU of the machine that tests.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SNAKEMAKE", "SLURM"))}
        address = {SOCKET: self.nursery.address} if self.nursery else {}
        return kept | threads | address | {"PYTHONPATH": str(self.root)}

    def start(
        self, *arguments: str, tiny: bool = True, **environment: str
    ) -> subprocess.Popen[str]:
        """Start Snakemake in a new process group; its output is in one stream."""
        return subprocess.Popen(
            self.command(*arguments, tiny=tiny),
            cwd=self.root,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
            # A shell starts background jobs deaf to Ctrl-C, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(
        self,
        *arguments: str,
        status: int | None = 0,
        tiny: bool = True,
        minutes: float = HANGS / 60,
        **versions: int,
    ) -> str:
        """Run Snakemake to its end and return what it printed; None as status allows any.

        In a copy of this process, for imports take most of its time: with the code of the tests, in
        which `versions` of `VERSIONS` are set to other values. Jobs have the code of the tree.
        """
        command = self.command(*arguments, tiny=tiny)
        with tempfile.TemporaryFile() as output:
            process = FORK.Process(target=self._run, args=(command, output.fileno(), versions))
            process.start()
            process.join(60 * minutes)
            process.kill()  # if it hangs
            output.seek(0)
            said = output.read().decode()
        assert status is None or process.exitcode == status, said
        return said

    def _run(self, command: list[str], output: int, versions: dict[str, int]) -> None:
        """Run Snakemake, and end this process."""
        os.chdir(self.root)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if self.code is not None:
            os.execve(command[0], command, self.environment | {"PYTHONPATH": str(self.code)})
        os.environ.update(self.environment | {"CUDA_VISIBLE_DEVICES": ""})
        sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1)
        logging.root.handlers.clear()  # of pytest
        for name, value in versions.items():
            owner, attribute = VERSIONS[name]
            if isinstance(owner, type):
                setattr(owner, attribute, value)
            else:
                vars(owner)[attribute] = value  # also if it is frozen
        status: int | str | None = 1
        try:
            snakemake.cli.main(command[3:])
            status = 0
        except SystemExit as end:
            status = end.code
        except BaseException:
            traceback.print_exc()
        if isinstance(status, str):
            print(status)
            status = 1
        sys.stdout.flush()
        os._exit(status or 0)

    def make(self, *targets: str, status: int | None = 0, minutes: float = HANGS / 60) -> str:
        """What a user does: Snakemake on two cores."""
        return self.run(*targets, "--cores", "2", status=status, minutes=minutes)

    def jobs(self, *targets: str, tiny: bool = True, **versions: int) -> dict[str, int]:
        """How many jobs of each rule a dry run plans; empty if there is nothing to be done."""
        output = self.run(*targets, "--dry-run", "--quiet", "rules", tiny=tiny, **versions)
        table = output.rsplit("Job stats:", 1)[1] if "Job stats:" in output else ""
        rows = re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)
        return {rule: int(count) for rule, count in rows if rule not in ("total", "all")}


def job_command(results: Path, name: str, *words: str, **changes: Any) -> list[str]:
    """The command of a job of the workflow, for the paper's config with changes."""
    changes |= {"results_dir": str(results), "device": "cpu"}
    planned = Plan(config.load([ROOT / "config.yaml"], changes))
    planned.write(planned.file)
    return [sys.executable, str(ROOT / "scripts" / "job.py"), name, planned.file, *words]


def run_job(
    results: Path, name: str, *words: str, **changes: Any
) -> subprocess.CompletedProcess[str]:
    """Run one job of the workflow by itself."""
    command = job_command(results, name, *words, **changes)
    return subprocess.run(command, capture_output=True, text=True, timeout=HANGS)


def made_once(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]
) -> Project:
    """A finished project, made by the first test process that wants it; nobody may change it.

    Test processes that run side by side share it: it takes minutes.
    """
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not folder.with_suffix(".made").exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one that failed
            make(folder / "tree")
            folder.with_suffix(".made").touch()
    return Project.at(folder / "tree")


def wait_until(condition: Callable[[], bool], seconds: float = HANGS) -> None:
    """Poll; fails where the condition does not come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what the test waits for did not happen"
        time.sleep(0.02)

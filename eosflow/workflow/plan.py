"""What a config asks for, as the workflow's rules need it: paths, runs, costs, and what is stale.

No science and no heavy import: this is run at every start of Snakemake and in each of its jobs.
"""

from __future__ import annotations

import difflib
import functools
import math
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from filelock import FileLock, Timeout

from eosflow.datasets.catalog import CATALOG, SUBSET_VERSION, input_dimension
from eosflow.networks.costs import product_operations
from eosflow.results.figures import NAMES, Entry
from eosflow.runs.spec import DECOMPOSITION_VERSION, RunSpec, expand, subset_sizes
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json
from eosflow.workflow import config as configuration
from eosflow.workflow import gpu

P = ParamSpec("P")
T = TypeVar("T")

# Bytes of a job before it has read anything: Python, torch and its libraries.
BASE_MEGABYTES = 700
# Float64 operations a second that a job reaches on one CPU thread and on a GPU, on the safe side.
CPU_RATE = 1e10
GPU_RATE = 5e12
# Seen so far, on the safe side: gradient-flow time to the target loss grows in proportion to N, and
# a step takes little more than one block product, with what else it does not quite two.
FLOW_TIME_PER_EXAMPLE = 0.35
PRODUCTS_PER_STEP = 2.0
# A longer run is cut off and goes on from its checkpoint; few clusters allow more at a time.
MOST_MINUTES = 24 * 60


def plain(function: Callable[P, T]) -> Callable[P, T]:
    """Let a `UserError` end the program with its message alone.

    Snakemake shows every exception of a workflow file with its place in the source, which tells
    a user nothing; it leaves SystemExit alone.
    """

    @functools.wraps(function)
    def wrapped(*arguments: P.args, **keywords: P.kwargs) -> T:
        try:
            return function(*arguments, **keywords)
        except UserError as error:
            sys.exit(f"\n{error}")

    return wrapped


class Plan:
    """One configuration, expanded. Raises: UserError for a config that cannot be run."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config, self._left_out = configuration.available(configuration.clean(config))
        self.results = os.path.normpath(self.config["results_dir"])
        self.runs = expand(self.config)
        self._sizes = subset_sizes(self.config)
        if self.config["finished_only"]:
            self._leave_out_unfinished()

    def _leave_out_unfinished(self) -> None:
        asked = len(self.runs)
        self.runs = {
            folder: run
            for folder, run in self.runs.items()
            if Path(self.results, folder, "manifest.json").exists()
            and self.remake_reason(folder) is None
        }
        if not self.runs:
            raise UserError(
                f"finished_only: none of the {asked} runs of the configuration has finished in "
                f"{self.results}. Start the workflow without it first."
            )
        self._left_out.append(
            f"finished_only: tables and figures are made of the {len(self.runs)} runs that have "
            f"finished, of {asked}."
        )

    def run(self, folder: str) -> RunSpec:
        """The run of a folder `EXP/nN/RUN`. Raises: UserError naming the nearest there is."""
        try:
            return self.runs[folder]
        except KeyError:
            near = difflib.get_close_matches(folder, self.runs, n=3)
            hint = f" The nearest are {', '.join(near)}." if near else ""
            raise UserError(
                f"The configuration has no run {folder}.{hint} Experiments, sizes and seeds are "
                "those of config.yaml and of the files and values laid over it."
            ) from None

    # Data

    def dataset_of(self, archive: str) -> str:
        """The dataset that an archive belongs to. Raises: UserError naming all archives."""
        owners = {item.name: name for name, facts in CATALOG.items() for item in facts.archives}
        if archive not in owners:
            raise UserError(f"There is no archive {archive}; known are {', '.join(owners)}.")
        return owners[archive]

    def checksum(self, archive: str) -> str:
        """The option that passes on the SHA-256 that the config holds of an archive, if any."""
        known = self.config["checksums"].get(archive)
        return f"--sha256 {known}" if known else ""

    def archives(self, dataset: str) -> list[str]:
        """The downloads that a dataset is made of."""
        return [f"{self.results}/data/archives/{item.name}" for item in CATALOG[dataset].archives]

    def archives_to_fetch(self, dataset: str, seed: str) -> list[str]:
        """The downloads that must be there before a subset can be drawn; none if it is drawn."""
        return self.archives(dataset) if self.redraw(dataset, seed) else []

    def subset(self, folder: str) -> str:
        """The subset file that a run reads."""
        run = self.run(folder)
        return self._subset(run.dataset, run.subset_seed)

    def _subset(self, dataset: str, seed: int) -> str:
        return f"{self.results}/data/subsets/{dataset}-subset{seed}.npz"

    def subset_to_draw(self, folder: str, made: str) -> list[str]:
        """The run's subset if it must be drawn before the run's file `made` can be.

        A finished run does not hang on its subset: a larger one begins with the same rows, and
        other settings give the run another key. Snakemake's `ancient` says nearly that, but where
        an ancient input is made again, it forgets whatever else its dependents need.
        """
        run = self.run(folder)
        done = Path(self.results, folder, made).exists() and not (
            self.remake_reason(folder) or self.redecompose_reason(folder)
        )
        drawn = not self.redraw(run.dataset, str(run.subset_seed))
        return [] if done or drawn else [self.subset(folder)]

    def subset_size(self, dataset: str) -> int:
        """Rows of a dataset's subset files. Raises: UserError where no experiment uses it."""
        if dataset not in self._sizes:
            raise UserError(f"No experiment of the configuration uses the dataset {dataset}.")
        return self._sizes[dataset]

    def subset_memory(self, dataset: str) -> int:
        """Megabytes that drawing a subset takes: the dataset as it is parsed, and the rows."""
        settings = self.config["datasets"][dataset]
        rows = self.subset_size(dataset) * input_dimension(dataset, settings) * 8
        return 4000 + math.ceil(2 * rows / 1e6)

    @functools.cache  # noqa: B019  (there is one plan in a process)
    def redraw(self, dataset: str, seed: str) -> bool:
        """Whether a subset is missing, has other settings, too few rows, or another version."""
        path = Path(self._subset(dataset, int(seed)))
        record = _read(path.with_suffix(".json"))
        return (
            not path.exists()
            or record is None
            or record["settings"] != self.config["datasets"][dataset]
            or record["size"] < self.subset_size(dataset)
            or record["subset_version"] != SUBSET_VERSION
        )

    # Figures

    def figures(self) -> list[str]:
        """Names of the figures of the selected experiments, and of those that show them all."""
        return [name for name, entry in NAMES.items() if self._wanted(entry)]

    def _wanted(self, entry: Entry) -> bool:
        return entry.experiment is None or entry.experiment in self.config["select"]

    def figure_sources(self, name: str) -> dict[str, str]:
        """The files that a figure is drawn from, by the option that tells its job of each.

        Raises: UserError naming all figures.
        """
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            extras = ", ".join(name for name in NAMES if not name.startswith("figure"))
            raise UserError(
                f"There is no figure {name}; there are figure01 to figure42, {extras}.{hint}"
            )
        data = NAMES[name].data
        if data == "dice":
            return {"--data": self._subset("dice", self.config["seeds"]["subset"][0])}
        if data is not None:
            return {
                "--data": f"{self.results}/{data}",
                "--source-record": f"{self.results}/provenance/{Path(data).with_suffix('.json')}",
            }
        return {
            "--decomposition": f"{self.results}/decomposition.parquet",
            "--runs": f"{self.results}/runs.parquet",
            "--source-record": f"{self.results}/provenance/collect.json",
        }

    def figure_options(self, name: str) -> str:
        """The options that tell a figure's job of the files it is drawn from."""
        sources = self.figure_sources(name)
        return " ".join(f"{option} {shlex.quote(path)}" for option, path in sources.items())

    def figure_inputs(self, name: str) -> list[str]:
        """The files that a figure waits for: its sources, a subset only if it must be drawn."""
        sources = self.figure_sources(name)
        if NAMES[name].data == "dice":
            current = not self.redraw("dice", str(self.config["seeds"]["subset"][0]))
            # A figure that is there outlives its subset, but not a change of the images.
            gone = not Path(sources["--data"]).exists()
            if current or (gone and Path(self.results, "figures", f"{name}.pdf").exists()):
                del sources["--data"]
        return list(sources.values())

    # Runs that are there already

    def manifest(self, folder: str, step: str) -> str:
        """The manifest of the run that a snapshot belongs to.

        Raises: UserError where the run is trained and has no such snapshot.
        """
        path = f"{self.results}/{self.run(folder).folder}/manifest.json"
        record = _read(Path(path))
        if record is not None and self.remake_reason(folder) is None:
            known = sorted(int(entry["iteration"]) for entry in record["snapshots"])
            if int(step) not in known:
                raise UserError(
                    f"{self.results}/{folder} has no snapshot of iteration {int(step)}. It has "
                    f"those of iterations {listed(known)}."
                )
        return path

    @functools.cache  # noqa: B019  (there is one plan in a process)
    def remake_reason(self, folder: str) -> str | None:
        """Why the run in a folder cannot stand for the one asked for; None where it can.

        A run that has not finished needs no reason: its manifest is not there.
        """
        place = Path(self.results, folder)
        if not (place / "manifest.json").exists():
            return None
        record = _read(place / "run.json")
        if record is None or "key" not in record:
            return f"{place}/run.json is missing or damaged"
        if record["key"] != self.runs[folder].key:
            return _difference(self.runs[folder], record)
        if record.get("manifest") != _read(place / "manifest.json"):
            return f"{place}/manifest.json is damaged"
        return None

    @functools.cache  # noqa: B019  (there is one plan in a process)
    def redecompose_reason(self, folder: str) -> str | None:
        """Why the decompositions that a run has must be made again; None where they are good."""
        path = Path(self.results, folder, "decomposition", "index.json")
        if not path.exists():
            return None
        index = _read(path)
        if index is None:
            return f"{path} is damaged"
        if index.get("version") != DECOMPOSITION_VERSION:
            return "its decompositions were made by another version"
        return None

    def collected_others(self) -> bool:
        """Whether the tables were made of other runs than those asked for."""
        record = _read(Path(self.results, "provenance", "collect.json"))
        wanted = digest(sorted(run.key for run in self.runs.values()))
        return record is not None and record["runs"]["specification"] != wanted

    def notes(self) -> list[str]:
        """What a user should know before the work starts, one line each."""
        lines = list(self._left_out)
        for reasons, way_out in (
            (self.remake_reason, "It is trained anew when it is its turn; nothing is deleted"),
            (self.redecompose_reason, "It is decomposed anew when it is its turn"),
        ):
            stale: dict[tuple[str, str], list[str]] = {}
            for folder, run in self.runs.items():
                if reason := reasons(folder):
                    stale.setdefault((run.experiment, reason), []).append(folder)
            lines += [
                f"{experiment}: {len(folders)} finished run{'s' if len(folders) > 1 else ''} "
                f"(such as {folders[0]}) cannot be used: {reason}. {way_out}."
                for (experiment, reason), folders in stale.items()
            ]
        return lines

    def lock(self) -> None:
        """Keep a second Snakemake out of the results folder for as long as this process lives.

        The lock is the kernel's, so that it never outlives its process, however that ends.

        Raises: UserError where another process holds it.
        """
        path = Path(self.results, ".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path, timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise UserError(
                f"Another Snakemake is working in {self.results}. Wait until it has finished, or "
                "choose another folder with --config results_dir=FOLDER."
            ) from None

    # Costs

    def gpus(self, local: bool) -> int:
        """GPUs that a training or decomposition job asks for.

        Jobs sent to a cluster with `device: auto` ask for what the cluster's profile says.
        """
        device = self.config["device"]
        if device == "cpu" or (device == "auto" and not local):
            return 0
        return int(device == "cuda" or bool(gpu.devices()))

    def device_note(self) -> str | None:
        """A line for the user where a GPU could be used and there is none.

        Raises: UserError where one is demanded.
        """
        if self.config["device"] == "cpu" or gpu.devices():
            return None
        if self.config["device"] == "cuda":
            raise UserError(gpu.NO_DEVICE)
        return "No GPU was found here: training and decomposition run on the CPU."

    def memory(self, folder: str) -> int:
        """Megabytes of main memory of a training or decomposition job.

        K+1 directions are pushed through the network at once, so that activations count K+1 times;
        the constants are those of a block product of the Hessian.
        """
        run = self.run(folder)
        block = run.dimensions[-1] + 1
        parameters = run.parameters * (8 * block + 8)
        activations = run.n * (run.dimensions[0] + 6 * block * sum(run.dimensions[1:]))
        return BASE_MEGABYTES + math.ceil(8 * (parameters + activations) / 1e6)

    def training_minutes(self, folder: str) -> int:
        """Minutes to allow for training, on the safe side; a longer run goes on when retried."""
        run = self.run(folder)
        return self._minutes(_iterations(run) * PRODUCTS_PER_STEP * self._product(run))

    def decomposition_minutes(self, folder: str) -> int:
        """Minutes to allow for the decomposition of all snapshots of a run."""
        run = self.run(folder)
        return self._minutes(_iterations(run) / run.snapshot_every * 100 * self._product(run))

    def _product(self, run: RunSpec) -> int:
        return product_operations(run.dimensions, run.n, vectors=run.dimensions[-1] + 1)

    def _minutes(self, operations: float) -> int:
        on_cpu = self.config["device"] == "cpu"
        rate = CPU_RATE * self.config["threads"] if on_cpu else GPU_RATE
        return min(10 + math.ceil(operations / rate / 60), MOST_MINUTES)


def _iterations(run: RunSpec) -> float:
    return min(10 + FLOW_TIME_PER_EXAMPLE * run.n / run.max_step_size, run.max_iterations)


def listed(numbers: list[int]) -> str:
    """Ascending numbers for people: `0, 10, 100 to 1200 in steps of 100, 1234`."""
    parts: list[str] = []
    first = 0
    while first < len(numbers):
        last = first
        step = numbers[first + 1] - numbers[first] if first + 1 < len(numbers) else 0
        while last + 1 < len(numbers) and numbers[last + 1] - numbers[last] == step:
            last += 1
        if last - first >= 3:
            parts.append(f"{numbers[first]} to {numbers[last]} in steps of {step}")
            first = last + 1
        else:
            parts.append(str(numbers[first]))
            first += 1
    return ", ".join(parts)


def _difference(run: RunSpec, record: Mapping[str, Any]) -> str:
    try:
        changed = run.differences(RunSpec.from_record(record["spec"]))
    except (KeyError, TypeError):  # knobs were added or renamed since
        changed = []
    return "; ".join(changed) or "it was made by another version of the program"


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None

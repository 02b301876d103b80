"""One configuration as the rules need it: its runs, its files, and what each file is made from.

No science and no heavy import: this is run at every start of Snakemake and in each of its jobs.
"""

from __future__ import annotations

import difflib
import functools
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from filelock import FileLock, Timeout

from eosflow.results import figures
from eosflow.runs.names import place_of
from eosflow.runs.spec import RunSpec
from eosflow.runs.studies import JUDGED, STUDIES
from eosflow.storage import settings
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, remove_leftovers
from eosflow.workflow import command_line, expand
from eosflow.workflow import config as configuration
from eosflow.workflow.data import Data
from eosflow.workflow.products import Product, products
from eosflow.workflow.stale import Stale

# Seconds after which a temporary file of a table is nobody's any more, and where such files lie.
LEFT_OVER = 3600.0
# Seconds to wait for the lock, which `eosflow status` takes for an instant to look at it.
PATIENCE = 0.5
_PLACES = (
    ".",
    "figures",
    "measurements",
    "data",
    "data/subsets",
    *(f"studies/{s}" for s in STUDIES),
)

P = ParamSpec("P")
T = TypeVar("T")


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
        except OSError as error:
            if words := command_line.explained(error):
                sys.exit(f"\n{words}")
            raise

    return wrapped


class Plan:
    """One configuration, expanded. Raises: UserError for a config that cannot be run.

    `runs` are the runs by their folders, `data` their datasets, `measurements` what is measured by
    name, `studies` those to make, `judged` those of them with verdicts, and `stale` says what must
    be made again.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config, self._left_out = configuration.available(configuration.clean(config))
        self.results = os.path.normpath(self.config["results_dir"])
        self.runs = expand.expand(self.config)
        self.measurements = {item.name: item for item in expand.measurements(self.config)}
        self.studies = list(self.config["studies"])
        self.judged = [name for name in self.studies if name in JUDGED]
        self.figures = figures.entries(self.config["select"], self.studies)
        self.stale = Stale(self.results, self.runs, self.measurements.values())
        self.data = Data(self.config, self.results, self.stale)
        if self.config["finished_only"]:
            self._leave_out_unfinished()

    def _leave_out_unfinished(self) -> None:
        asked = len(self.runs)
        for folder in list(self.runs):
            if not self._is_finished(folder):
                del self.runs[folder]
        if not self.runs:
            raise UserError(
                f"finished_only: none of the {asked} runs of the configuration has finished in "
                f"{self.results}. Start the workflow without it first."
            )
        self._left_out.append(
            f"finished_only: tables and figures are made of the {len(self.runs)} runs that have "
            f"finished, of {asked}."
        )

    def _is_finished(self, folder: str) -> bool:
        """Whether a run is trained and measured, so that no job of it is needed."""
        places = ["manifest.json", *(f"{place_of(n)}/index.json" for n in self.measurements)]
        there = all(Path(self.results, folder, place).exists() for place in places)
        return there and not (
            self.stale.run(folder)
            or any(self.stale.measured(folder, item) for item in self.measurements.values())
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

    # What the jobs of a run wait for

    def before_training(self, folder: str) -> list[str]:
        """The inputs of training: the subset if it must be drawn, and a request if there is one."""
        self.run(folder)
        target = f"{folder}/manifest.json"
        return self._subset(folder, target) + self.stale.request(target, self.stale.run(folder))

    def before_measuring(self, folder: str, place: str) -> list[str]:
        """The same of one measurement of all snapshots; `place` is its folder below the run's."""
        target = f"{folder}/{place}/index.json"
        reason = self.stale.measured(folder, self.measurement(place))
        return self._subset(folder, target, reason) + self.stale.request(target, reason)

    def before_one_snapshot(self, folder: str, place: str, step: str) -> list[str]:
        """The same of one snapshot. Raises: UserError where the run has no such snapshot."""
        self.measurement(place)
        self._check_step(folder, step)
        return self._subset(folder, f"{folder}/{place}/step{step}.json")

    def _subset(self, folder: str, target: str, reason: str | None = None) -> list[str]:
        """The run's subset if it must be drawn before `target` can be made.

        A finished run does not depend on its subset: a larger one begins with the same rows, and
        other settings give the run another key. Snakemake's `ancient` says nearly that, but where
        an ancient input is made again, Snakemake forgets what else its dependents need.
        """
        run = self.run(folder)
        done = Path(self.results, target).exists() and not (reason or self.stale.run(folder))
        drawn = self.data.stale(run.dataset, run.subset_seed) is None
        return [] if done or drawn else [self.subset(folder)]

    def subset(self, folder: str) -> str:
        """The subset file that a run reads."""
        run = self.run(folder)
        return f"{self.results}/{self.data.subset(run.dataset, run.subset_seed)}"

    def measurement(self, place: str) -> Any:
        """The measurement whose records lie in `place` below a run's folder.

        Raises: UserError where the configuration takes no such measurement.
        """
        for name, measurement in self.measurements.items():
            if place_of(name) == place:
                return measurement
        raise UserError(
            f"{place}: the configuration measures {', '.join(self.measurements)}. What is measured "
            "is said with `measure` in the config."
        )

    def measured(self, place: str) -> dict[str, Any]:
        """The measurement of a place as a record, for its job."""
        return settings.record(self.measurement(place))

    def _check_step(self, folder: str, step: str) -> None:
        self.run(folder)
        if self.stale.run(folder) is not None:
            return
        try:
            record = read_json(Path(self.results, folder, "manifest.json"))
        except (OSError, ValueError):  # it is trained first
            return
        known = sorted(int(entry["iteration"]) for entry in record["snapshots"])
        if int(step) not in known:
            raise UserError(
                f"{self.results}/{folder} has no snapshot of iteration {int(step)}. It has "
                f"those of iterations {listed(known)}."
            )

    # Tables and figures

    @functools.cached_property
    def products(self) -> dict[str, Product]:
        """What is made of the runs, by the first file of each; each after what it is made from."""
        indices = {
            name: [f"{folder}/{place_of(name)}/index.json" for folder in self.runs]
            for name in self.measurements
        }
        drawn = {
            name: entry.data for name, entry in figures.entries(self.config["experiments"]).items()
        }
        reported = [*self.figures, *self.judged]
        return {product.files[0]: product for product in products(indices, drawn, reported)}

    @functools.cached_property
    def specification(self) -> str:
        """What the runs of the configuration are recognised by, as provenance notes it."""
        return digest(sorted(run.key for run in self.runs.values()))

    def before(self, target: str) -> list[str]:
        """The request for a table, figure, frame or the report that is not as it should be."""
        product = self.products[target]
        return self.stale.request(target, self.stale.product(product, self.specification))

    def settle(self) -> None:
        """Put times of files in order where only they are not: see `Stale.settle`."""
        for folder in self.runs:
            for name, measurement in self.measurements.items():
                measured = f"{folder}/{place_of(name)}"
                files = [f"{measured}/index.json", f"benchmarks/measure/{measured}.tsv"]
                reason = functools.partial(self.stale.vouched, folder, measurement)
                self.stale.settle(files, [f"{folder}/manifest.json"], reason)
        for product in self.products.values():
            reason = functools.partial(self.stale.product, product, self.specification)
            self.stale.settle([*product.files, product.benchmark], product.inputs, reason)

    @property
    def study_figures(self) -> list[str]:
        """The figures of the studies, by name."""
        return [name for name, entry in self.figures.items() if figures.KINDS[entry.kind].study]

    def figure_sources(self, name: str) -> dict[str, str]:
        """The files that a figure is drawn from, by the option that tells its job of each.

        Raises: UserError naming all figures.
        """
        known = figures.entries(self.config["experiments"])
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            extras = ", ".join(name for name in known if not name.startswith("figure"))
            raise UserError(
                f"There is no figure {name}; there are figure01 to figure42, {extras}.{hint}"
            )
        data = known[name].data
        if data == "dice":
            return {"--data": f"{self.results}/{self.data.subset('dice', self._first_seed)}"}
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

    @property
    def _first_seed(self) -> int:
        return int(self.config["seeds"]["subset"][0])

    def figure_caption(self, name: str) -> str:
        """What is drawn in a figure, and what to see in it."""
        return figures.entries(self.config["experiments"])[name].caption

    def figure_options(self, name: str) -> str:
        """The options that tell a figure's job of the files it is drawn from."""
        sources = self.figure_sources(name)
        return " ".join(f"{option} {shlex.quote(path)}" for option, path in sources.items())

    def before_figure(self, name: str) -> list[str]:
        """The files that a figure waits for: its sources, a subset only if it must be drawn."""
        sources = self.figure_sources(name)
        requests = self.before(f"figures/{name}.pdf")
        if "--source-record" not in sources:
            current = self.data.stale("dice", self._first_seed) is None
            # A figure that is there outlives its subset, but not a change of the images.
            gone = not Path(sources["--data"]).exists()
            if current or (gone and Path(self.results, "figures", f"{name}.pdf").exists()):
                return requests
        return [*sources.values(), *requests]

    # What a user is told, and who else is at work

    def notes(self) -> list[str]:
        """What a user should know before the work starts, in lines."""
        lines = list(self._left_out)
        found: list[tuple[str, str, str, str]] = []
        for folder, run in self.runs.items():
            if reason := self.stale.run(folder):
                way_out = "It is trained anew when it is its turn; nothing is deleted"
                found.append((run.experiment, reason, way_out, folder))
            for measurement in self.measurements.values():
                if reason := self.stale.measured(folder, measurement):
                    way_out = "It is measured anew when it is its turn"
                    found.append((run.experiment, reason, way_out, folder))
        for product in self.products.values():
            if Path(self.results, product.record).exists():
                reason = self.stale.product(product, self.specification)
                if reason and "is damaged" in reason:
                    lines.append(f"{self.results}/{reason}. It is made again when it is its turn.")
        groups: dict[tuple[str, str, str], list[str]] = {}
        for *about, folder in found:
            groups.setdefault((about[0], about[1], about[2]), []).append(folder)
        return lines + [
            f"{experiment}: {len(folders)} finished run{'s' if len(folders) > 1 else ''} "
            f"(such as {folders[0]}) cannot be used: {reason}. {way_out}."
            for (experiment, reason, way_out), folders in groups.items()
        ]

    def lock(self) -> None:
        """Keep a second Snakemake out of the results folder for as long as this process lives.

        The lock is the kernel's, so that it never outlives its process, however that ends. With
        `finished_only` no run is touched, and so it may work beside one that trains. What killed
        processes left half written is removed.

        Raises: UserError where another process holds it.
        """
        path = Path(self.results, ".lock-finished" if self.config["finished_only"] else ".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path, timeout=PATIENCE)
        try:
            self._lock.acquire()
        except Timeout:
            raise UserError(
                f"Another Snakemake is working in {self.results}. Wait until it has finished, or "
                "choose another folder with --config results_dir=FOLDER."
            ) from None
        # Jobs that outlived a killed Snakemake may be writing here; those of runs clean up alone.
        for place in (*_PLACES, "provenance", *(f"provenance/{place}" for place in _PLACES)):
            remove_leftovers(Path(self.results, place), older_than=LEFT_OVER)


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

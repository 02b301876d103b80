"""One configuration as the rules need it: its runs, its files, and what each file is made from.

No science and no heavy import: this is run at every start of Snakemake and in each of its jobs.
"""

from __future__ import annotations

import difflib
import functools
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from filelock import FileLock, Timeout

from eosflow.measurements.base import Measurement
from eosflow.results import figures
from eosflow.runs.names import place_of
from eosflow.runs.progress import time_left
from eosflow.runs.spec import RunSpec
from eosflow.runs.studies import JUDGED, OF_RUNS, STUDIES, table_of
from eosflow.storage import settings
from eosflow.storage.damage import CLEANED, deleted
from eosflow.storage.digests import canonical_json, digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, readable, remove_leftovers
from eosflow.workflow import command_line, expand
from eosflow.workflow import config as configuration
from eosflow.workflow.data import Data
from eosflow.workflow.products import PAPER, Product, products
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

    `runs` are all runs by their folders, `selected` the folders of those that tables, figures and
    report are made of, and `study_runs` of those of each study; `data` are their datasets,
    `measurements` what is measured of the selected, by name. `studies` are those to make, `judged`
    those of them with verdicts, and `stale` says what must be made again.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config, self._left_out = configuration.available(configuration.clean(config))
        self.results = os.path.normpath(self.config["results_dir"])
        self.runs = expand.expand(self.config)
        # Not selected and so not measured: a study's experiments say what is.
        self.measurements = self._measured_of({}) if self.config["select"] else {}
        self.studies = list(self.config["studies"])
        self.stale = Stale(self.results, self.runs, self.measured_of)
        self.data = Data(self.config, self.results, self.stale)
        if self.config["finished_only"]:
            self._leave_out_unfinished()
        self.judged = [name for name in self.studies if name in JUDGED]
        listed = figures.entries(self.config["select"], self.studies)
        of_runs = bool(self.config["select"])
        self.figures = {n: each for n, each in listed.items() if of_runs or each.study}

    def _measured_of(self, experiment: Mapping[str, Any]) -> dict[str, Measurement]:
        return {item.name: item for item in expand.measurements(self.config, experiment)}

    @functools.cache  # noqa: B019  (there is one in a process)
    def _own(self, experiment: str) -> dict[str, Measurement]:
        return self._measured_of(self.config["experiments"][experiment])

    def measured_of(self, folder: str) -> dict[str, Measurement]:
        """What is measured of a run's snapshots, by name. Raises: as `run`."""
        return self._own(self.run(folder).experiment)

    @functools.cached_property
    def selected(self) -> list[str]:
        """The folders of the runs that tables, figures and report are made of."""
        chosen = set(self.config["select"])
        return [folder for folder, run in self.runs.items() if run.experiment in chosen]

    @functools.cached_property
    def study_runs(self) -> dict[str, list[str]]:
        """The folders of the runs of each study that is made of runs."""
        study = {n: name for name, of in expand.of_studies(self.config).items() for n in of}
        found: dict[str, list[str]] = {name: [] for name in self.studies if name in OF_RUNS}
        for folder, run in self.runs.items():
            if run.experiment in study:
                found[study[run.experiment]].append(folder)
        return found

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
        self.studies = [name for name in self.studies if self.study_runs.get(name, True)]
        self.__dict__.pop("study_runs")  # without the studies that have no finished run
        self._left_out.append(
            f"finished_only: tables and figures are made of the {len(self.runs)} runs that have "
            f"finished, of {asked}."
        )

    def _is_finished(self, folder: str) -> bool:
        """Whether a run is trained and measured, so that no job of it is needed."""
        measured = self.measured_of(folder)
        places = ["manifest.json", *(f"{place_of(name)}/index.json" for name in measured)]
        there = all(Path(self.results, folder, place).exists() for place in places)
        return there and self._unmeasured(folder) is None

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
        measurement = self.measurement(folder, place)
        reason = self.stale.measured(folder, measurement)
        subsets = self._subset(folder, target, reason)
        if hasattr(measurement, "held_out"):
            subsets += self._subset(folder, target, reason, held_out=True)
        return subsets + self.stale.request(target, reason)

    def before_one_snapshot(self, folder: str, place: str, step: str) -> list[str]:
        """The same of one snapshot. Raises: UserError where the run has no such snapshot."""
        measurement = self.measurement(folder, place)
        self._check_step(folder, place, step)
        target = f"{folder}/{place}/step{step}.json"
        held_out = hasattr(measurement, "held_out")
        more = self._subset(folder, target, held_out=True) if held_out else []
        return self._subset(folder, target) + more

    def _subset(
        self, folder: str, target: str, reason: str | None = None, held_out: bool = False
    ) -> list[str]:
        """The run's subset, or the held-out examples, if to be drawn before `target` can be made.

        A finished run does not depend on its subset: a larger one begins with the same rows, and
        other settings give the run another key. Snakemake's `ancient` says nearly that, but where
        an ancient input is made again, Snakemake forgets what else its dependents need.
        """
        run = self.run(folder)
        done = Path(self.results, target).exists() and not (reason or self.stale.run(folder))
        seed = None if held_out else run.subset_seed
        drawn = self.data.stale(run.dataset, seed) is None
        return [] if done or drawn else [f"{self.results}/{self.data.subset(run.dataset, seed)}"]

    def subset(self, folder: str) -> str:
        """The subset file that a run reads."""
        run = self.run(folder)
        return f"{self.results}/{self.data.subset(run.dataset, run.subset_seed)}"

    def measurement(self, folder: str, place: str) -> Any:
        """The measurement whose records lie in `place` below a run's folder.

        Raises: UserError where the configuration takes no such measurement of the run.
        """
        measured = self.measured_of(folder)
        for name, measurement in measured.items():
            if place_of(name) == place:
                return measurement
        raise UserError(
            f"{place}: of {folder} the configuration measures {', '.join(measured)}. What is "
            "measured is said with `measure` in the config."
        )

    def measured(self, folder: str, place: str) -> dict[str, Any]:
        """The measurement of a place as a record, for its job."""
        return settings.record(self.measurement(folder, place))

    def _check_step(self, folder: str, place: str, step: str) -> None:
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
        target = Path(self.results, folder, place, f"step{step}.json")
        if deleted(Path(self.results, folder)) and not target.exists():
            raise UserError(
                f"{target} is not there, and the weight snapshots of {self.results}/{folder} were "
                f"deleted when all was measured that was asked for then. {self._cost([folder])} To "
                "have it all the same, move that folder away: the run is then trained again."
            )

    # Tables and figures

    @functools.cached_property
    def products(self) -> dict[str, Product]:
        """What is made of the runs, by the first file of each; each after what it is made from."""
        indices = {
            name: [f"{folder}/{place_of(name)}/index.json" for folder in self.selected]
            for name in self.measurements
        }
        drawn = {name: entry.data for name, entry in self._drawable.items()}
        reported = [*self.figures, *self.judged]
        studies = {
            study: [file for folder in folders for file in self._files_of_run(folder)]
            for study, folders in self.study_runs.items()
        }
        made = products(indices, drawn, reported, studies, self.discarded(self.runs))
        return {product.files[0]: product for product in made}

    def _files_of_run(self, folder: str) -> list[str]:
        """The lists that vouch for all that a run's folder holds."""
        return [f"{folder}/manifest.json", *self._indices(folder)]

    def _indices(self, folder: str) -> list[str]:
        return [f"{folder}/{place_of(name)}/index.json" for name in self.measured_of(folder)]

    def measured_files(self, folder: str) -> list[str]:
        """The lists of all that is measured of a run, for which its snapshots are kept."""
        return [f"{self.results}/{index}" for index in self._indices(folder)]

    def discarded(self, folders: Iterable[str]) -> list[str]:
        """The notes of deleted snapshots, one for each run; none where snapshots are kept."""
        kept = self.config["keep_snapshots"] or self.config["finished_only"]
        return [] if kept else [f"{folder}/{CLEANED}" for folder in folders]

    @functools.cached_property
    def _drawable(self) -> dict[str, figures.Entry]:
        """All figures, also of experiments that are not selected; a study's have none."""
        experiments = self.config["experiments"].items()
        return figures.entries(name for name, each in experiments if "study" not in each)

    @functools.cached_property
    def specifications(self) -> dict[str | None, str]:
        """What the runs of the tables, and those of each study, are recognised by."""
        groups = {PAPER: self.selected, **self.study_runs}
        return {
            name: digest(sorted(self.runs[folder].key for folder in folders))
            for name, folders in groups.items()
        }

    def _outdated(self, product: Product) -> str | None:
        return self.stale.product(product, self.specifications.get(product.of))

    def before(self, target: str) -> list[str]:
        """The request for a table, figure, frame or the report that is not as it should be."""
        return self.stale.request(target, self._outdated(self.products[target]))

    def before_study(self, study: str) -> list[str]:
        """The files that the table of a study made of runs waits for.

        Raises: UserError where the configuration has no runs of it.
        """
        if not self.study_runs.get(study):
            raise UserError(
                f"The study {study} is made of runs, and the configuration makes none of it: name "
                "it in `studies`, and have experiments with `study: "
                f"{study}`, as config/studies-demo.yaml does."
            )
        target = table_of(study)
        files = [f"{self.results}/{file}" for file in self.products[target].inputs]
        return [*files, *self.before(target)]

    def study_options(self, study: str) -> str:
        """The options that tell the job of a study's table of its runs and what is measured."""
        measured = {folder: list(self.measured_of(folder)) for folder in self.study_runs[study]}
        return f"--runs {shlex.quote(canonical_json(measured))}"

    def settle(self) -> None:
        """Put times of files in order where only they are not: see `Stale.settle`."""
        for folder in self.runs:
            for name, measurement in self.measured_of(folder).items():
                measured = f"{folder}/{place_of(name)}"
                files = [f"{measured}/index.json", f"benchmarks/measure/{measured}.tsv"]
                reason = functools.partial(self.stale.vouched, folder, measurement)
                self.stale.settle(files, [f"{folder}/manifest.json"], reason)
        for note in self.discarded(self.runs):
            folder = str(Path(note).parent)
            files = [note, f"benchmarks/discard/{folder}.tsv"]
            reason = functools.partial(self._unmeasured, folder)
            self.stale.settle(files, self._indices(folder), reason)
        for product in self.products.values():
            reason = functools.partial(self._outdated, product)
            self.stale.settle([*product.files, product.benchmark], product.inputs, reason)

    def _unmeasured(self, folder: str) -> str | None:
        """Why a run is still to be trained or measured; None where it is done."""
        those = self.measured_of(folder).values()
        reasons = (self.stale.measured(folder, measurement) for measurement in those)
        return self.stale.run(folder) or next(filter(None, reasons), None)

    @property
    def study_figures(self) -> list[str]:
        """The figures of the studies, by name."""
        return [name for name, entry in self.figures.items() if entry.study]

    def figure_sources(self, name: str) -> dict[str, str]:
        """The files that a figure is drawn from, by the option that tells its job of each.

        Raises: UserError naming all figures.
        """
        known = self._drawable
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
        return self._drawable[name].caption

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
            for measurement in self.measured_of(folder).values():
                if reason := self.stale.measured(folder, measurement):
                    way_out = "It is measured anew when it is its turn"
                    found.append((run.experiment, reason, way_out, folder))
        for product in self.products.values():
            if Path(self.results, product.record).exists():
                reason = self._outdated(product)
                if reason and "is damaged" in reason:
                    lines.append(f"{self.results}/{reason}. It is made again when it is its turn.")
        groups: dict[tuple[str, str, str], list[str]] = {}
        for *about, folder in found:
            groups.setdefault((about[0], about[1], about[2]), []).append(folder)
        return lines + [
            f"{experiment}: {len(folders)} finished run{'s' if len(folders) > 1 else ''} "
            f"(such as {folders[0]}) cannot be used: {reason}. {way_out}."
            + (f" {self._cost(folders)}" if any(map(self.stale.run, folders)) else "")
            for (experiment, reason, way_out), folders in groups.items()
        ]

    def _cost(self, folders: list[str]) -> str:
        """How long the runs that are there took to train."""
        records = (readable(Path(self.results, folder, "run.json")) for folder in folders)
        seconds = [record["seconds"] for record in records if record and "seconds" in record]
        each = "Its training" if len(folders) == 1 else f"The training of {len(seconds)} of them"
        return f"{each} took {time_left(sum(seconds))}." if seconds else ""

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

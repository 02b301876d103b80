"""One configuration as the rules need it: its runs, and what is to be made of them.

No science and no heavy import: this is run at every start of Snakemake and in each of its jobs.
`jobs` and `summaries` say what each file is made from.
"""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eosflow.measurements.base import Measurement
from eosflow.results import figures
from eosflow.runs.names import place_of
from eosflow.runs.spec import RunSpec
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.studies import JUDGED, OF_RUNS, STUDIES
from eosflow.workflow import config as configuration
from eosflow.workflow import expand
from eosflow.workflow.data import Data
from eosflow.workflow.products import PAPER
from eosflow.workflow.run_jobs import RunJobs
from eosflow.workflow.stale import Stale
from eosflow.workflow.summary_jobs import SummaryJobs


class Plan:
    """One configuration, expanded. Raises: UserError for a config that cannot be run.

    `runs` are all runs by their folders, `selected` the folders of those that tables, figures and
    report are made of, and `study_runs` of those of each study; `data` are their datasets,
    `measurements` what is measured of the selected, by name. `studies` are those to make, `judged`
    those of them with verdicts, and `stale` says what must be made again. `left_out` are lines on
    what was asked for and is not made.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config, self.left_out = configuration.available(configuration.clean(config))
        self.results = os.path.normpath(self.config["results_dir"])
        self.runs = expand.expand(self.config)
        # Not selected and so not measured: a study's experiments say what is.
        self.measurements = self._measured_of({}) if self.config["select"] else {}
        self.studies = list(self.config["studies"])
        self.stale = Stale(self.results, self.runs, self.measured_of)
        self.data = Data(self.config, self.results, self.stale)
        self.jobs, self.summaries = RunJobs(self), SummaryJobs(self)
        if self.config["finished_only"]:
            self._leave_out_unfinished()
        self.judged = [name for name in self.studies if name in JUDGED]
        listed = figures.entries(self.config["select"], self.studies)
        of_runs = bool(self.config["select"])
        self.figures = {n: each for n, each in listed.items() if of_runs or n in STUDIES}

    def _measured_of(self, experiment: Mapping[str, Any]) -> dict[str, Measurement]:
        return {item.name: item for item in expand.measurements(self.config, experiment)}

    @functools.cache  # noqa: B019  (there is one in a process)
    def measured_by(self, experiment: str) -> dict[str, Measurement]:
        """What is measured of the snapshots of an experiment's runs, by name."""
        return self._measured_of(self.config["experiments"][experiment])

    def measured_of(self, folder: str) -> dict[str, Measurement]:
        """The same of one run. Raises: as `run`."""
        return self.measured_by(self.run(folder).experiment)

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
        self.left_out.append(
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

    def files_of_run(self, folder: str) -> list[str]:
        """The lists that vouch for all that a run's folder holds."""
        return [f"{folder}/manifest.json", *self.indices(folder)]

    def indices(self, folder: str) -> list[str]:
        """The lists of all that is measured of a run."""
        return [f"{folder}/{place_of(name)}/index.json" for name in self.measured_of(folder)]

    @functools.cached_property
    def specifications(self) -> dict[str | None, str]:
        """What the runs of the tables, and those of each study, are recognised by."""
        groups = {PAPER: self.selected, **self.study_runs}
        return {
            name: digest(sorted(self.runs[folder].key for folder in folders))
            for name, folders in groups.items()
        }

    def settle(self) -> None:
        """Put times of files in order where only they are not: see `Stale.settle`."""
        for folder in self.runs:
            for name, measurement in self.measured_of(folder).items():
                measured = f"{folder}/{place_of(name)}"
                files = [f"{measured}/index.json", self.jobs.benchmark(folder, name)]
                reason = functools.partial(self.stale.vouched, folder, measurement)
                self.stale.settle(files, [f"{folder}/manifest.json"], reason)
        for note in self.jobs.discarded(self.runs):
            folder = str(Path(note).parent)
            files = [note, f"benchmarks/discard/{folder}.tsv"]
            reason = functools.partial(self._unmeasured, folder)
            self.stale.settle(files, self.indices(folder), reason)
        for product in self.summaries.products.values():
            reason = functools.partial(self.summaries.outdated, product)
            self.stale.settle([*product.files, product.benchmark], product.inputs, reason)

    def _unmeasured(self, folder: str) -> str | None:
        """Why a run is still to be trained or measured; None where it is done."""
        those = self.measured_of(folder).values()
        reasons = (self.stale.measured(folder, measurement) for measurement in those)
        return self.stale.run(folder) or next(filter(None, reasons), None)

    @property
    def study_figures(self) -> list[str]:
        """The figures of the studies, by name."""
        return [name for name in self.figures if name in STUDIES]

"""What each rule's job waits for. The answers are about one plan and one look at its results."""

from __future__ import annotations

import functools
from collections.abc import Collection
from pathlib import Path

from eosflow.datasets import ARCHIVES
from eosflow.runs.names import measured_folder
from eosflow.runs.records import Manifest
from eosflow.runs.whole import deleted
from eosflow.storage.errors import UserError, did_you_mean
from eosflow.studies import JUDGED, OF_RUNS, STUDIES
from eosflow.workflow import products
from eosflow.workflow.again import State
from eosflow.workflow.data import Data, seed_of
from eosflow.workflow.plan import Plan


class Inputs:
    """The inputs of jobs; all paths are as Snakemake has them, with the results folder."""

    tables = products.TABLES
    archives = tuple(ARCHIVES)
    every_study = tuple(STUDIES)
    judged = JUDGED

    def __init__(self, plan: Plan, state: State) -> None:
        self._plan, self._state, self.data = plan, state, Data(plan)

    def _below(self, *files: str) -> list[str]:
        return [f"{self._plan.results}/{file}" for file in files]

    @functools.cached_property
    def products(self) -> dict[str, products.Product]:
        """All products, by name."""
        return self._state.products or products.products(self._plan)

    def before_drawing(self, dataset: str, which: str) -> list[str]:
        """Of a subset: archives, or a user's own file."""
        return self.data.before_drawing(dataset, seed_of(which))

    def before_measuring(self, folder: str, view: str | None = None) -> list[str]:
        """The subset, and held-out examples if they are wanted, unless all is measured.

        A subset that is drawn again with more rows would else make all runs again.
        """
        run = self._plan.run(folder)
        if view is None and folder in self._state.measured:
            return []
        measured = self._plan.measured_of(folder).values()
        wanted = [self._plan.measurement(folder, view)] if view else measured
        seeds = [run.subset_seed, *([None] if any(m.held_out_examples for m in wanted) else [])]
        return [self.data.path(run.dataset, seed) for seed in seeds]

    def before_one_snapshot(self, folder: str, view: str, step: str) -> list[str]:
        """What one snapshot waits for. Raises: UserError if the run has no such snapshot."""
        measurement = self._plan.measurement(folder, view)
        home = self._plan.home(folder)
        manifest = Manifest.readable(home / "manifest.json")
        if folder not in self._state.trained or manifest is None:  # it is trained first
            return self.before_measuring(folder, view)
        manifest.entry(int(step))
        target = home / measured_folder(measurement) / f"step{step}.json"
        if target.exists():
            return []
        if deleted(home):
            raise UserError(
                f"{target} is not there, and the weight snapshots of {folder} were deleted when "
                f"all was measured that was asked for then. Delete {home} to train the run again."
            )
        return self.before_measuring(folder, view)

    def before_study(self, study: str) -> list[str]:
        """The runs of a study that is made of runs, and the archives of one that reads some.

        Raises: UserError if the configuration has no runs of it.
        """
        runs = self._plan.study_runs.get(study)
        if study in OF_RUNS and not runs:
            raise UserError(
                f"The study {study} is made of runs, and the configuration makes none of it: name "
                "it in `studies`, and have experiments with `study: "
                f"{study}`, as config/studies-demo.yaml does."
            )
        archives = [] if self._stands(STUDIES[study].data) else STUDIES[study].archives
        made = (f"{folder}/measured.json" for folder in runs or ())
        return self._below(*made, *(f"data/archives/{name}" for name in archives))

    def _stands(self, file: str) -> bool:
        """Whether a result is there and need not be made: it outlives what it was made of."""
        (path,) = self._below(file)
        return path not in self._state.forced and Path(path).exists()

    def before_figures(self, *names: str) -> list[str]:
        """What figures are drawn from. Raises: UserError naming all figures."""
        known, needed = products.drawable(self._plan), []
        for name in names:
            if name not in known:
                hint = did_you_mean(name, known)
                extras = ", ".join(name for name in known if not name.startswith("figure"))
                raise UserError(
                    f"There is no figure {name}; there are figure01 to figure42, {extras}.{hint}"
                )
            data = known[name].data
            if data == "dice":
                drawn = self._stands(f"figures/{name}.pdf")
                needed += [] if drawn else [products.dice_subset(self._plan)]
            elif data is None:
                needed += [*products.FRAMES, "provenance/tables.json"]
            else:
                needed += [data, STUDIES[name].record]
        return self._below(*dict.fromkeys(needed))

    def before_report(self) -> list[str]:
        """The records of what the report is made of; it draws figures itself."""
        records = (self.products[name].record for name in self._asked)
        return [*self._below(*records), *self.before_figures(*self._plan.figures)]

    @property
    def of_studies(self) -> list[str]:
        """What `snakemake studies` makes."""
        made = [n for n in self._asked if n.startswith("studies/")]
        made += [] if self._plan.selected else ["report"]
        return self._made(made, [f for of in self._plan.study_runs.values() for f in of])

    @property
    def everything(self) -> list[str]:
        """What is made without a target, each by name."""
        measured = self._below(*(f"{folder}/measured.json" for folder in self._plan.runs))
        return [*measured, *self._made([*self._asked, "report"], self._plan.runs)]

    @property
    def _asked(self) -> list[str]:
        """What the report is made of, but figures, which it draws itself."""
        sources = self.products["report"].sources
        known = ((name, each.record) for name, each in self.products.items())
        return [n for n, record in known if record in sources and not n.startswith("figures/")]

    def _made(self, names: Collection[str], folders: Collection[str]) -> list[str]:
        """The files of products, and the notes that snapshots of runs were deleted."""
        products = [self.products[name] for name in names]
        files = (file for each in products for file in (*each.made, each.record))
        return [*self._below(*files), *self._plan.discarded(folders)]

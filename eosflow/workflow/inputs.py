"""What each rule's job waits for. The answers are about one plan and one look at its results."""

from __future__ import annotations

import difflib
import functools
from pathlib import Path

from eosflow.results.figures import Drawn
from eosflow.runs.names import measured_folder
from eosflow.runs.records import Manifest
from eosflow.runs.whole import deleted
from eosflow.storage.errors import UserError
from eosflow.studies import JUDGED, OF_RUNS, STUDIES
from eosflow.workflow import products
from eosflow.workflow.again import Found
from eosflow.workflow.data import Data, seed_of
from eosflow.workflow.plan import Plan
from eosflow.workflow.sizes import listed


class Inputs:
    """The inputs of jobs; all paths are as Snakemake has them, with the results folder."""

    tables = products.TABLES
    latex = tuple(name for name in products.TABLES if name != "claims")
    every_study = tuple(STUDIES)
    judged = JUDGED

    def __init__(self, plan: Plan, found: Found) -> None:
        self._plan, self._found, self.data = plan, found, Data(plan)

    def _below(self, *files: str) -> list[str]:
        return [f"{self._plan.results}/{file}" for file in files]

    @functools.cached_property
    def products(self) -> dict[str, products.Product]:
        """All products, by name."""
        return self._found.products or products.products(self._plan)

    def before_drawing(self, dataset: str, which: str) -> list[str]:
        """Of a subset: archives, or a user's own file."""
        return self.data.before_drawing(dataset, seed_of(which))

    def before_training(self, folder: str) -> list[str]:
        """The subset, unless the run is trained: it does not depend on it any more.

        A subset that is drawn anew with more rows would else make all runs again.
        """
        run = self._plan.run(folder)
        if folder in self._found.trained:
            return []
        return [self.data.path(run.dataset, run.subset_seed)]

    def before_measuring(self, folder: str, place: str | None = None) -> list[str]:
        """The subset, and held-out examples if they are wanted, unless all is measured."""
        run = self._plan.run(folder)
        if place is None and folder in self._found.measured:
            return []
        measured = self._plan.measured_of(folder).values()
        wanted = [self._plan.measurement(folder, place)] if place else measured
        seeds = [run.subset_seed, *([None] if any(m.held_out_examples for m in wanted) else [])]
        return [self.data.path(run.dataset, seed) for seed in seeds]

    def before_one_snapshot(self, folder: str, place: str, step: str) -> list[str]:
        """What one snapshot waits for. Raises: UserError if the run has no such snapshot."""
        measurement = self._plan.measurement(folder, place)
        home = self._plan.home(folder)
        manifest = Manifest.readable(home / "manifest.json")
        if folder not in self._found.trained or manifest is None:  # it is trained first
            return self.before_measuring(folder, place)
        known = sorted(entry.iteration for entry in manifest.snapshots)
        if int(step) not in known:
            raise UserError(
                f"{self._plan.results}/{folder} has no snapshot of iteration {int(step)}. It has "
                f"those of iterations {listed(known)}."
            )
        target = home / measured_folder(measurement) / f"step{step}.json"
        if target.exists():
            return []
        if deleted(home):
            raise UserError(
                f"{target} is not there, and the weight snapshots of {folder} were deleted when "
                f"all was measured that was asked for then. Delete {home} to train the run again."
            )
        return self.before_measuring(folder, place)

    def before_study(self, study: str) -> list[str]:
        """The runs of a study that is made of runs.

        Raises: UserError if the configuration has no runs of it.
        """
        runs = self._plan.study_runs.get(study)
        if study in OF_RUNS and not runs:
            raise UserError(
                f"The study {study} is made of runs, and the configuration makes none of it: name "
                "it in `studies`, and have experiments with `study: "
                f"{study}`, as config/studies-demo.yaml does."
            )
        return self._below(*(f"{folder}/measured.json" for folder in runs or ()))

    def figures(self, group: str) -> list[str]:
        """The figures of the paper, or of the studies, that the plan has."""
        return products.figures_of(self._plan, group)

    def before_figures(self, *names: str) -> list[str]:
        """What figures are drawn from. Raises: UserError naming all figures."""
        known, needed = products.drawable(self._plan), []
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                extras = ", ".join(name for name in known if not name.startswith("figure"))
                raise UserError(
                    f"There is no figure {name}; there are figure01 to figure42, {extras}.{hint}"
                )
            needed += self._before_figure(name, known[name])
        return self._below(*dict.fromkeys(needed))

    def _before_figure(self, name: str, entry: Drawn) -> list[str]:
        if entry.data is None:
            return ["decomposition.parquet", "runs.parquet", "provenance/collect.json"]
        if name in STUDIES:
            return [STUDIES[name].data, STUDIES[name].record]
        # A figure that is there outlives the subset whose images it shows.
        good = f"{self._plan.results}/figures/{name}.pdf"
        stands = good not in self._found.forced and Path(good).exists()
        return [] if stands else [products.dice_subset(self._plan)]

    def before(self, product: str) -> list[str]:
        """The records of what a page, or the manifest, is made of.

        Raises: UserError if the configuration has no such page.
        """
        if product not in self.products:
            what = "no studies" if product == "studies" else "no experiment in `select`"
            raise UserError(f"There is no {product} to make: the configuration has {what}.")
        return self._below(*self.products[product].sources)

    def _tables_of_studies(self) -> list[str]:
        tables = [STUDIES[name].data for name in self._plan.studies]
        return [*tables, *(STUDIES[name].claims for name in self._plan.judged)]

    @property
    def of_studies(self) -> list[str]:
        """What `snakemake studies` makes."""
        plan = self._plan
        files = self._tables_of_studies()
        for name in (f"figures {products.OF_STUDIES}", "studies"):
            if name in self.products:
                files += [*self.products[name].made, self.products[name].record]
        discarded = (plan.discarded(folders) for folders in plan.study_runs.values())
        return [*self._below(*files), *(note for notes in discarded for note in notes)]

    @property
    def everything(self) -> list[str]:
        """What is made without a target, each by name."""
        plan = self._plan
        made = [f"{folder}/measured.json" for folder in plan.runs]
        for name, product in self.products.items():
            optional = name.startswith(("study ", "claims ", "figure "))
            page = name == "studies" and "report" in self.products
            if not (optional or page) and (name != "dice-parameters" or plan.shows_dice):
                made += [*product.made, product.record]
        made += self._tables_of_studies()
        return [*self._below(*made), *plan.discarded(plan.runs)]

"""What the jobs of tables, studies, figures and report wait for, and their options."""

from __future__ import annotations

import difflib
import functools
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from eosflow.results import figures
from eosflow.runs.names import place_of
from eosflow.storage.digests import canonical_json
from eosflow.storage.errors import UserError
from eosflow.studies import STUDIES
from eosflow.workflow.products import Product, products

if TYPE_CHECKING:
    from eosflow.workflow.plan import Plan


class SummaryJobs:
    """The jobs of tables, studies, figures and report of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._stale, self._results = plan, plan.stale, plan.results

    @functools.cached_property
    def products(self) -> dict[str, Product]:
        """What is made of the runs, by the first file of each; each after what it is made from."""
        indices = {
            name: [f"{folder}/{place_of(name)}/index.json" for folder in self._plan.selected]
            for name in self._plan.measurements
        }
        drawn = {name: entry.data for name, entry in self._drawable.items()}
        reported = [*self._plan.figures, *self._plan.judged]
        studies = {
            study: [file for folder in folders for file in self._plan.files_of_run(folder)]
            for study, folders in self._plan.study_runs.items()
        }
        made = products(
            indices, drawn, reported, studies, self._plan.jobs.discarded(self._plan.runs)
        )
        return {product.files[0]: product for product in made}

    @functools.cached_property
    def _drawable(self) -> dict[str, figures.Drawn]:
        """All figures, also of experiments that are not selected; a study's have none."""
        experiments = self._plan.config["experiments"].items()
        return figures.entries(name for name, each in experiments if "study" not in each)

    def outdated(self, product: Product) -> str | None:
        """Why a product must be made again; None where it can stand."""
        return self._stale.product(product, self._plan.specifications.get(product.of))

    def before(self, target: str) -> list[str]:
        """The request for a table, figure, frame or the report that is not as it should be."""
        return self._stale.request(target, self.outdated(self.products[target]))

    def before_study(self, study: str) -> list[str]:
        """The files that the table of a study made of runs waits for.

        Raises: UserError where the configuration has no runs of it.
        """
        if not self._plan.study_runs.get(study):
            raise UserError(
                f"The study {study} is made of runs, and the configuration makes none of it: name "
                "it in `studies`, and have experiments with `study: "
                f"{study}`, as config/studies-demo.yaml does."
            )
        target = STUDIES[study].data
        files = [f"{self._results}/{file}" for file in self.products[target].inputs]
        return [*files, *self.before(target)]

    def study_options(self, study: str) -> str:
        """The options that tell the job of a study's table of its runs and what is measured."""
        measured = {
            folder: list(self._plan.measured_of(folder)) for folder in self._plan.study_runs[study]
        }
        return f"--runs {shlex.quote(canonical_json(measured))}"

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
            return {"--data": f"{self._results}/{self._plan.data.subset('dice', self._first_seed)}"}
        if data is not None:
            return {
                "--data": f"{self._results}/{data}",
                "--source-record": f"{self._results}/provenance/{Path(data).with_suffix('.json')}",
            }
        return {
            "--decomposition": f"{self._results}/decomposition.parquet",
            "--runs": f"{self._results}/runs.parquet",
            "--source-record": f"{self._results}/provenance/collect.json",
        }

    @property
    def _first_seed(self) -> int:
        return int(self._plan.config["seeds"]["subset"][0])

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
            current = self._plan.data.stale("dice", self._first_seed) is None
            # A figure that is there outlives its subset, but not a change of the images.
            gone = not Path(sources["--data"]).exists()
            if current or (gone and Path(self._results, "figures", f"{name}.pdf").exists()):
                return requests
        return [*sources.values(), *requests]

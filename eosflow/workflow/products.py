"""What is made of the runs: frames, tables, studies, figures, report and manifest.

Each has a record that says of which specifications and versions it is made (`made_of`), and of what
it was read from; by it planning knows whether it can stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eosflow import results
from eosflow.datasets.base import SUBSET_VERSION, subset_file
from eosflow.results import figures
from eosflow.runs.names import measured_folder
from eosflow.storage import settings
from eosflow.storage.digests import digest
from eosflow.storage.provenance import Origin
from eosflow.studies import JUDGED, OF_RUNS, STUDIES
from eosflow.workflow import expand
from eosflow.workflow.plan import Plan

TABLES = ("table1", "table2", "alignment", "claims")
PAPER, OF_STUDIES = "paper", "studies"  # the two groups of figures that a job draws together


@dataclass(frozen=True)
class Product:
    """What one job makes: files below the results, and last of all their record.

    `sources` are the files whose checksums the record has, and `runs` those that it is made of
    itself, not by way of another product.
    """

    made: tuple[str, ...]
    record: str
    made_of: str
    sources: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()


def products(plan: Plan) -> dict[str, Product]:
    """All products by their names, each after those that it is made of."""
    return dict(_Products(plan).all())


class _Products:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known: dict[str, Product] = {}

    def all(self) -> Iterator[tuple[str, Product]]:
        steps: list[Callable[[], None]] = [self._frames, self._studies, self._figures, self._pages]
        for step in steps:
            step()
        yield from self._known.items()

    def _add(
        self,
        name: str,
        made: Iterable[str],
        version: Any,
        of: Sequence[str] = (),
        sources: Iterable[str] = (),
        record: str | None = None,
        runs: Sequence[str] = (),
    ) -> None:
        """A product made of others, by their names, and of further sources."""
        behind = [self._known[each] for each in of]
        self._known[name] = Product(
            tuple(made),
            record or f"provenance/{name}.json",
            digest([name, version, [each.made_of for each in behind]]),
            (*(each.record for each in behind), *sources),
            tuple(runs),
        )

    def _runs(self, folders: Iterable[str], *names: str) -> tuple[Any, list[str]]:
        """What identifies runs and their measurements, and the indices of these."""
        version: dict[str, list[str]] = {}
        sources: list[str] = []
        for folder in folders:
            measured = self._plan.measured_of(folder)
            places = [measured_folder(measured[name]) for name in names or measured]
            version[folder] = [self._plan.run(folder).key, *places]
            home = self._plan.home(folder).relative_to(self._plan.results)
            sources += [f"{home}/{place}/index.json" for place in places]
        return version, sources

    def _frames(self) -> None:
        made = ["data/dice-parameters.parquet", "table3.csv", "table3.tex"]
        self._add("dice-parameters", made, [results.TABLES_VERSION, self._dice()])
        for name in self._plan.measurements:
            runs, sources = self._runs(self._plan.selected, name)
            made = [f"measurements/{name}.parquet"]
            record = f"provenance/measurements/{name}.json"
            if name == "decomposition":
                made, record = ["decomposition.parquet", "runs.parquet"], "provenance/collect.json"
            version = [results.TABLES_VERSION, runs]
            folders = self._plan.selected
            self._add(f"frame {name}", made, version, (), sources, record, folders)
        if self._plan.selected:
            csv = [f"{name}.csv" for name in TABLES]
            latex = [f"{name}.tex" for name in TABLES if name != "claims"]
            of = ["frame decomposition"]
            self._add("tables", [*csv, *latex], results.TABLES_VERSION, of)

    def _dice(self) -> Any:
        """What identifies the images of Dice."""
        return [settings.key_fields(expand.dataset(self._plan.config, "dice")), SUBSET_VERSION]

    def _studies(self) -> None:
        for name in STUDIES:
            folders = self._plan.study_runs.get(name, [])
            if name in OF_RUNS and not folders:
                continue
            runs, sources = self._runs(folders)
            version: Any = [STUDIES[name].version, runs]
            made, record = [STUDIES[name].data], STUDIES[name].record
            self._add(f"study {name}", made, version, (), sources, record, folders)
            if name in JUDGED:
                record = f"provenance/studies/{name}/claims.json"
                version, made = results.TABLES_VERSION, [STUDIES[name].claims]
                self._add(f"claims {name}", made, version, [f"study {name}"], record=record)

    def _figures(self) -> None:
        for name, entry in drawable(self._plan).items():
            version: list[Any] = [figures.FIGURES_VERSION, self._plan.config["figures"]["against"]]
            made = [f"figures/{name}.pdf", f"figures/{name}.png"]
            record = f"provenance/figures/{name}.json"
            if entry.data == "dice":
                version += [dice_subset(self._plan), self._dice()]
                self._add(f"figure {name}", made, version, record=record)
            elif (of := f"study {name}" if name in STUDIES else "frame decomposition") in (
                self._known
            ):
                self._add(f"figure {name}", made, version, [of], record=record)
        for group in (PAPER, OF_STUDIES):
            if of_group := [f"figure {name}" for name in figures_of(self._plan, group)]:
                record = f"provenance/figures-of-{group}.json"
                self._add(f"figures {group}", [], "", of_group, record=record)

    def _pages(self) -> None:
        plan = self._plan
        studied = [f"claims {name}" for name in plan.judged]
        studied += [f"study {name}" for name in plan.study_runs]
        if figures_of(plan, OF_STUDIES):
            studied.append(f"figures {OF_STUDIES}")
        everything, page = list(studied), "studies"
        if plan.selected:
            frames = [f"frame {name}" for name in plan.measurements]
            dice = ["dice-parameters"] if plan.shows_dice else []
            everything = ["tables", *dice, *frames, *studied, f"figures {PAPER}"]
            self._add("report", ["report.html"], results.TABLES_VERSION, everything)
            page = "report"
        if studied:
            version = [results.TABLES_VERSION, self._runs_of_studies()]
            self._add("studies", ["studies.html"], version, studied)
        if page in self._known:
            everything.append(page)
        self._add("manifest", ["manifest.json"], self._runs_of_studies(), everything)

    def _runs_of_studies(self) -> Any:
        return {name: self._runs(runs)[0] for name, runs in self._plan.study_runs.items()}


def drawable(plan: Plan) -> dict[str, figures.Drawn]:
    """All figures, also of experiments that are not selected; a study's have none."""
    experiments = plan.config["experiments"].items()
    return figures.entries(name for name, each in experiments if "study" not in each)


def figures_of(plan: Plan, group: str) -> list[str]:
    """The figures of the plan that one job draws: those of the paper, or those of the studies."""
    of_study = group == OF_STUDIES
    return [name for name in plan.figures if (name in STUDIES) == of_study]


def dice_subset(plan: Plan) -> str:
    """The subset whose images are shown, below the results."""
    return f"data/subsets/{subset_file('dice', int(plan.config['seeds']['subset'][0]))}"


def why_not(root: Path, product: Product, checksum: Callable[[str], str | None]) -> str | None:
    """Why a product cannot stand; None if it can.

    It must be made of what is asked for, as it was made, and from the sources that are there.
    `checksum` gives that of a file below the results, None if it is missing.
    """
    try:
        origin = Origin.read(root / product.record)
    except FileNotFoundError:
        return f"{product.record} is missing"
    except (OSError, ValueError) as error:
        return f"{product.record} is damaged: {error}"
    if origin.made_of != product.made_of:
        return "it was made of another specification or by another version"
    known = {entry.file: entry.sha256 for entry in origin.made}
    for file in product.made:
        if (found := checksum(file)) is None:
            return f"{file} is missing"
        if found != known.get(file):
            return f"{file} is damaged: it is not the file that {product.record} lists"
    for file in product.sources:
        if checksum(file) != origin.sources.get(file, ""):
            return f"{file}, which it is made from, is missing or another now"
    return None

"""The products of runs: frames, tables, studies, figures and report.

Each has a record that says of which specifications and versions it is made (`made_of`), and of what
it was read from; by it planning knows whether it can stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
from eosflow.studies import JUDGED, OF_RUNS, STUDIES, Study
from eosflow.workflow import expand
from eosflow.workflow.plan import Plan

FRAMES = ("decomposition.parquet", "runs.parquet")
TABLES = ("table1", "table2", "alignment", "claims")


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
    known: dict[str, Product] = {}

    def add(
        name: str,
        made: Iterable[str],
        version: Any,
        of: Sequence[str] = (),
        runs: Sequence[str] = (),
        measured: Sequence[str] = (),
    ) -> None:
        """A product of others, by their names, and of what is `measured` of runs."""
        behind = [known[each] for each in of]
        sources = [each.record for each in behind]
        versions: dict[str, list[str]] = {}
        for folder in runs:
            of_run = plan.measured_of(folder)
            folders = [measured_folder(of_run[each]) for each in measured or of_run]
            versions[folder] = [plan.run(folder).key, *folders]
            home = plan.home(folder).relative_to(plan.results)
            sources += [f"{home}/{each}/index.json" for each in folders]
        known[name] = Product(
            tuple(made),
            f"provenance/{name}.json",
            digest([name, version, versions, [each.made_of for each in behind]]),
            tuple(sources),
            tuple(runs),
        )

    # What identifies the images of Dice.
    images = [settings.key_fields(expand.dataset(plan.config, "dice")), SUBSET_VERSION]
    made = ["data/dice-parameters.parquet", "table3.csv"]
    add("dice-parameters", made, [results.TABLES_VERSION, images])
    selected, shown = plan.selected, []
    if selected:
        made = [*FRAMES, *(f"{n}.csv" for n in TABLES)]
        add("tables", made, results.TABLES_VERSION, (), selected, ["decomposition"])
    for name in plan.measurements:
        if name != "decomposition":
            made = [f"measurements/{name}.parquet"]
            add(f"measurements/{name}", made, results.TABLES_VERSION, (), selected, [name])
    for name, study in STUDIES.items():
        runs, table, claims = plan.study_runs.get(name, []), *_products_of(study)
        if runs or name not in OF_RUNS:
            add(table, [study.data], study.version, runs=runs)
            if name in JUDGED:
                add(claims, [study.claims], results.TABLES_VERSION, [table])
    drawn = [figures.FIGURES_VERSION, plan.config["figures"]["against"]]
    for name, entry in drawable(plan).items():
        version, of = drawn, [(entry.data or "tables").removesuffix(".csv")]
        if entry.data == "dice":
            version, of = [*drawn, dice_subset(plan), images], []
        if known.keys() >= set(of):
            add(f"figures/{name}", [f"figures/{name}.pdf", f"figures/{name}.png"], version, of)
    for name in plan.studies:
        of_study = *_products_of(STUDIES[name]), f"figures/{name}"
        shown += [each for each in of_study if each in known]
    if selected:
        frames = [f"measurements/{n}" for n in plan.measurements if n != "decomposition"]
        of_figures = [f"figures/{n}" for n in plan.figures if n not in STUDIES]
        dice = ["dice-parameters"] if plan.shows_dice else []
        shown = ["tables", *dice, *frames, *of_figures, *shown]
    add("report", ["report.html"], results.TABLES_VERSION, shown)
    return known


def _products_of(study: Study) -> tuple[str, str]:
    """The names of a study's table and of its verdicts."""
    return study.data.removesuffix(".csv"), study.claims.removesuffix(".csv")


def drawable(plan: Plan) -> dict[str, figures.Drawn]:
    """All figures, also of experiments that are not selected; a study's have none."""
    experiments = plan.config["experiments"].items()
    return figures.entries(name for name, each in experiments if "study" not in each)


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
        if (now := checksum(file)) is None:
            return f"{file} is missing"
        if now != known.get(file):
            return f"{file} is damaged: it is not the file that {product.record} lists"
    for file in product.sources:
        if checksum(file) != origin.sources.get(file, ""):
            return f"{file}, which it is made from, is missing or another now"
    return None

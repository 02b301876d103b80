"""Which existing results must be made again, judged by seals, names, sizes and checksums.

Nothing is changed but the views. A result is made again if it is missing, for which Snakemake
needs no help, or if it is among `State.forced`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path

from eosflow.runs.progress import time_left
from eosflow.runs.records import RunRecord
from eosflow.runs.whole import Damage, deleted
from eosflow.storage.files import sha256
from eosflow.workflow import views
from eosflow.workflow.data import Data
from eosflow.workflow.plan import Plan
from eosflow.workflow.products import Product, products, why_not


@dataclass
class State:
    """The state of results.

    `trained` and `measured` are the runs that are whole, `forced` the paths of results that are
    there and must be made again, and `lines` what a user should know of it.
    """

    trained: set[str] = field(default_factory=set)
    measured: set[str] = field(default_factory=set)
    forced: set[str] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)
    products: dict[str, Product] = field(default_factory=dict)


def look(plan: Plan) -> State:
    """Look at all results of a plan, and bring the views of its runs up to date."""
    state = State(lines=list(plan.left_out))
    for folder in plan.runs:
        of_run, of_measurements = plan.damages(folder)
        if not of_run:
            state.trained.add(folder)
            if not of_measurements:
                state.measured.add(folder)
        _tell(plan, folder, [*of_run, *of_measurements], state.lines)
        whole = folder in state.trained, folder in state.measured
        views.update(plan, folder, *whole)
    _subsets(plan, state)
    state.products = products(plan)
    _products(plan, state)
    return state


def _tell(plan: Plan, folder: str, damages: list[Damage], lines: list[str]) -> None:
    damaged = [d for d in damages if d.why not in ("missing", "unfinished")]
    if damaged:
        lines.append(f"{damaged[0]} is damaged: it is made again when it is its turn.")
    elif damages and deleted(plan.home(folder)):
        record = RunRecord.readable(plan.home(folder) / "run.json")
        took = f" That took {time_left(record.seconds)}." if record and record.seconds else ""
        lines.append(
            f"{folder}: its snapshots were deleted, and {damages[-1].path.parent.name} is to be "
            f"measured. It is trained again when it is its turn.{took}"
        )


def _subsets(plan: Plan, state: State) -> None:
    """The subset files that are there and cannot serve."""
    data = Data(plan)
    for dataset, seed in data.all():
        path = Path(data.path(dataset, seed))
        if path.exists() and (why := data.why_not(dataset, seed)):
            record = data.path(dataset, seed).removesuffix(".npz") + ".json"
            state.forced |= {data.path(dataset, seed), record}
            state.lines.append(f"{path} is drawn again when it is its turn: {why}.")


def _products(plan: Plan, state: State) -> None:
    root, gone = Path(plan.results), set[str]()

    @functools.cache
    def checksum(file: str) -> str | None:
        return sha256(root / file) if file not in gone and (root / file).is_file() else None

    for product in state.products.values():
        why = why_not(root, product, checksum)
        if why is None and state.measured.issuperset(product.runs):
            continue
        files = (*product.made, product.record)
        gone.update(files)
        # Snakemake misses a file only if something asks for it.
        there = (file for file in files if (root / file).exists())
        state.forced.update(f"{plan.results}/{file}" for file in there)
        if why and "damaged" in why:
            state.lines.append(f"{why}. It is made again when it is its turn.")

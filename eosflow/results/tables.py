"""Records of runs become tidy frames, and those become the paper's tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eosflow.datasets.catalog import CATALOG
from eosflow.results import power_laws
from eosflow.results.courses import IDENTITY, TRANSIENT
from eosflow.runs.spec import CRITERIA
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, replacing, sha256, write_text

# As the paper prints them (its Table 3); lend counts R's line ends: 0 round, 1 butt, 2 square.
DICE_SPECIFIED: dict[int, dict[str, tuple[float, float]]] = {
    1: {"x": (-1, 1), "y": (-1, 1), "cex": (0.1, 1)},
    2: {"x": (-1, 1), "y": (-1, 1), "cex": (0.1, 1)},
    3: {"x": (-1, 1), "y": (-1, 1), "lwd": (0.1, 2.5), "lend": (0, 2)},
    4: {"x": (-1, 1), "y": (-1, 1), "lwd": (0.1, 1), "lend": (0, 2)},
    5: {"x": (0.2, 1), "y": (0.2, 1), "cex": (0.1, 0.7), "lwd": (0.1, 1), "lend": (0, 2)},
    6: {
        "x": (-0.9, 0.9),
        "y": (-0.9, 0.9),
        "dx": (0.1, 0.8),
        "dy": (0.1, 0.8),
        "lwd": (0.1, 2.5),
        "lend": (0, 2),
    },
}
LINE_ENDS = {"round": 0, "butt": 1, "square": 2}

VERSIONED = ("eosflow", "python", "torch", "numpy")

_RECORD_COLUMNS = [
    "parameters",
    "stopped",
    "iterations",
    "flow_time",
    "final_loss",
    "seconds",
    "block_products",
    "device",
    "threads",
    "key",
]
_SPEC_COLUMNS = [
    "depth",
    "width",
    "activation",
    "integrator",
    "max_step_size",
    "eigen_dtype",
    "target_loss",
]
RUN_COLUMNS = [
    *IDENTITY,
    *_RECORD_COLUMNS,
    *_SPEC_COLUMNS,
    "rejected_steps",
    "unconverged_iterations",
    "negative_dominant_iterations",
    "negative_dominant_after_transient",
    "iterations_after_transient",
    "max_sharpness",
    "max_residual",
    *(f"version_{name}" for name in VERSIONED),
    "commit",
]

_LEAST_COLUMNS = [
    "flow_time",
    "loss",
    "sharpness_hessian",
    "sharpness_gauss_newton",
    "sharpness_residual",
    "smallest_eigenvalue_residual",
    "m_norm2",
    "overlap",
    "layer_norm2_1",
    "criterion_norm2",
    "activation_norm2_1",
    "activation_ratio_1",
    "alignment_product",
]


def collect(folders: Iterable[Path | str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read trained and decomposed run folders into two tidy frames: (decomposition, runs).

    `decomposition` has one row a snapshot: `IDENTITY`, then the keys of the decomposition's JSON;
    `runs` has one row a run with `RUN_COLUMNS`, read from run.json and trajectory.parquet. Every
    decomposition is compared with the checksum that its index holds.

    Raises: UserError where a file is missing, is not what the index says, or the run is unfinished.
    """
    snapshots: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    for folder in map(Path, folders):
        record = _read(folder / "run.json")
        if record["status"] != "finished":
            raise UserError(
                f"{folder} holds a run that is not finished (status {record['status']!r} in "
                "run.json). Start the workflow again: the run continues where it was."
            )
        identity = {name: record["spec"][name] for name in IDENTITY}
        runs.append({**identity, **_run_row(folder, record)})
        snapshots.extend({**identity, **row} for row in _decompositions(folder))
    return _decomposition_frame(snapshots), pd.DataFrame(runs, columns=RUN_COLUMNS)


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing: the run is not trained and decomposed, or the file was deleted. "
            "Start the workflow again, which makes what is missing."
        ) from None
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}). Delete it and start the workflow again."
        ) from None


def _decompositions(folder: Path) -> list[dict[str, Any]]:
    index = folder / "decomposition" / "index.json"
    rows = []
    for entry in _read(index)["snapshots"]:
        path = index.parent / entry["file"]
        if not path.is_file():
            raise UserError(
                f"{index} lists {path.name}, which is missing. Delete {index} and start the "
                "workflow again: only what is missing is decomposed anew."
            )
        if sha256(path) != entry["sha256"]:
            raise UserError(
                f"{path} is not the file that {index} lists: it was changed or damaged since. "
                "Delete both and start the workflow again: only this run is decomposed anew."
            )
        row = read_json(path)
        rows.append({name: value for name, value in row.items() if name not in ("key", "version")})
    return rows


def _run_row(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    steps = pd.read_parquet(folder / "trajectory.parquet")
    later = steps[steps["iteration"] >= TRANSIENT]
    versions = record["versions"]
    return {
        **{name: record[name] for name in _RECORD_COLUMNS},
        **{name: record["spec"][name] for name in _SPEC_COLUMNS},
        "rejected_steps": int(steps["rejected_steps"].sum()),
        "unconverged_iterations": int((~steps["converged"]).sum()),
        "negative_dominant_iterations": int(steps["negative_dominant"].sum()),
        "negative_dominant_after_transient": int(later["negative_dominant"].sum()),
        "iterations_after_transient": len(later),
        "max_sharpness": later["eigenvalue_1"].max(),
        "max_residual": steps["residual"].max(),
        **{f"version_{name}": versions[name] for name in VERSIONED},
        "commit": versions["commit"],
    }


def _decomposition_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    if rows:
        return pd.DataFrame(rows)
    # No snapshots: the columns that every network has, so that all that follows finds them.
    columns = {name: pd.Series(dtype=object) for name in IDENTITY}
    columns["iteration"] = pd.Series(dtype=int)
    return pd.DataFrame(columns | {name: pd.Series(dtype=float) for name in _LEAST_COLUMNS})


def table1(runs: pd.DataFrame) -> pd.DataFrame:
    """The experiments: one row a (dataset, criterion, N), with what its runs cost.

    Returns: `dataset`, `criterion`, `n`, `runs`, `parameters`, `reached_target`, `cut_off` and
    `diverged` (runs that stopped so), `iterations` and `flow_time` (medians), `seconds` and
    `block_products` (sums).
    """
    counted = runs.assign(
        reached_target=runs["stopped"] == "target_loss",
        cut_off=runs["stopped"] == "max_iterations",
        diverged=runs["stopped"] == "diverged",
    )
    groups = counted.groupby(["dataset", "criterion", "n"], sort=False)
    table = groups.agg(
        runs=("parameters", "size"),
        parameters=("parameters", "first"),
        reached_target=("reached_target", "sum"),
        cut_off=("cut_off", "sum"),
        diverged=("diverged", "sum"),
        iterations=("iterations", "median"),
        flow_time=("flow_time", "median"),
        seconds=("seconds", "sum"),
        block_products=("block_products", "sum"),
    ).reset_index()
    papers = dict.fromkeys(dataset for dataset, _ in power_laws.PAPER)
    order = {name: place for place, name in enumerate(papers)}
    places = table["dataset"].map(lambda name: order.get(name, len(order)))
    return (
        table.assign(place=places)
        .sort_values(["place", "criterion", "n"], ignore_index=True)
        .drop(columns="place")
    )


def table2(decomposition: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The power law of each (dataset, criterion) beside the paper's: see `powerlaw.fits`."""
    return power_laws.fits(decomposition, runs)


def table3(parameters: pd.DataFrame) -> pd.DataFrame:
    """Ranges of the Dice parameters: as drawn, and as the paper specifies them.

    `parameters` has one row an image: `class` (1 to 6) and its parameters.

    Returns: `class`, `parameter`, `min`, `max` (as drawn), `paper_min`, `paper_max`,
    `images`. Units: x, y, dx, dy of the axes −1 to 1; cex, lwd and lend as in R.
    """
    rows = []
    for number, specified in DICE_SPECIFIED.items():
        images = parameters[parameters["class"] == number]
        for name, (low, high) in specified.items():
            values = images[name]
            if name == "lend":
                values = values.map(lambda end: LINE_ENDS.get(end, end))
            rows.append(
                {
                    "class": number,
                    "parameter": name,
                    "min": values.min() if len(values) else np.nan,
                    "max": values.max() if len(values) else np.nan,
                    "paper_min": low,
                    "paper_max": high,
                    "images": len(values),
                }
            )
    return pd.DataFrame(rows)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table with datasets and criteria by the names that people use, for print."""
    titles = {name: facts.title for name, facts in CATALOG.items()}
    named = table.copy()
    for column, names in (("dataset", titles), ("criterion", CRITERIA)):
        if column in named:
            named[column] = [names.get(value, value) for value in named[column]]
    return named


def write_parquet(frame: pd.DataFrame, path: Path | str) -> None:
    """Write a tidy frame as parquet, atomically."""
    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False)


def write_csv(table: pd.DataFrame, path: Path | str) -> None:
    """Write a table as CSV with six significant digits; a missing number is an empty field."""
    write_text(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def write_latex(table: pd.DataFrame, path: Path | str, caption: str, label: str) -> None:
    """Write a table as a LaTeX float (needs the booktabs package) with three significant digits."""
    named = readable(table)
    named.columns = [str(name).replace("_", " ") for name in named.columns]
    text = named.to_latex(
        index=False,
        escape=True,
        na_rep="--",
        float_format=lambda value: f"{value:.3g}",
        caption=caption,
        label=label,
        position="htbp",
    )
    write_text(path, text)

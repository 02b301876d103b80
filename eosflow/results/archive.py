"""The evidence of finished runs as a few small files, and all that can be made from them.

`keep` copies from a results folder what figures, tables and claims are made of; `redraw` makes
them again from these files alone, without the runs, their snapshots or a GPU. `retable` is for when
a newer program makes other tables of the same frames.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from eosflow.datasets.subsets import write_arrays
from eosflow.results import claims, figures, report, tables
from eosflow.results.courses import IDENTITY, run_names
from eosflow.results.figures.examples import COLUMNS
from eosflow.storage import provenance
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, replacing, sha256, write_json
from eosflow.studies import STUDIES

log = logging.getLogger(__name__)

MANIFEST = "evidence.json"
# What is kept of a results folder, and the record below its provenance/ that vouches for it.
ORIGINS = {
    "decomposition.parquet": "collect",
    "runs.parquet": "collect",
    "data/dice-parameters.parquet": "dice-parameters",
    **{f"{name}.csv": name for name in report.TABLES},
}
NEEDED = (*(Path(name).name for name in ORIGINS), "trajectories.parquet")
DICE_EXAMPLES = ("dice-examples.npz", "dice-examples.json")
# Tables of studies, from which some figures are drawn; kept and drawn if they were made.
TABLES = [study.data for study in STUDIES.values()]
# The verdicts that are made of such a table.
JUDGES = {study.data: study for study in STUDIES.values() if study.judged}
VERDICTS = {table: study.claims for table, study in JUDGES.items()}

# Of each trajectory, as far as its optimizer records it: the course of the run, and what
# runs.parquet and so the claims are read from.
TRAJECTORY = [
    *("iteration", "flow_time", "step_size", "loss", "eigenvalue_1", "residual"),
    *("converged", "rejected_steps", "negative_dominant"),
]
PARAMETERS = [
    "class",
    *dict.fromkeys(name for ranges in tables.DICE_SPECIFIED.values() for name in ranges),
]
ANEW = "Delete it and start the workflow again."
LARGE = 5_000_000  # bytes; more does not belong in a repository


def keep(results: Path | str, folder: Path | str) -> None:
    """Write to `folder` what `redraw` needs of a results folder, and evidence.json beside it.

    Kept are the tidy frames, the courses of all their runs as trajectories.parquet (float64, as
    they are), the Dice parameters and ten Dice images per class, the tables and the claims. The
    same results give the same bytes. Files of an earlier `keep` are replaced.

    Raises: UserError where a file is missing or damaged, where the tables are not what the frames
    give, and where `folder` holds anything else.
    """
    results, folder = Path(results), Path(folder)
    _refuse_others(folder, {*NEEDED, *DICE_EXAMPLES, *TABLES, MANIFEST})
    made = [name for name in TABLES if (results / name).is_file()]
    origins = ORIGINS | {name: name.removesuffix(".csv") for name in made}
    records = {name: _provenance(results, name) for name in dict.fromkeys(origins.values())}
    sources = {name: _vouched(results / name, records[by]) for name, by in origins.items()}
    decomposition, runs = (
        pd.read_parquet(results / f"{name}.parquet") for name in ("decomposition", "runs")
    )
    if runs.empty:
        raise UserError(f"{results} holds no finished runs: there is nothing to keep.")
    parameters = pd.read_parquet(results / "data" / "dice-parameters.parquet", columns=PARAMETERS)
    with tempfile.TemporaryDirectory() as scratch:
        _write_tables(Path(scratch), decomposition, runs, parameters)
        if different := _different_tables(Path(scratch), results):
            raise UserError(
                f"{', '.join(different)} in {results} are not what this program makes of the "
                "frames beside them. Start the workflow again, with `--forcerun collect`."
            )
    frames = {
        "decomposition.parquet": decomposition,
        "runs.parquet": runs,
        "trajectories.parquet": _trajectories(results, runs, sources),
        "dice-parameters.parquet": parameters,
    }
    images = _dice_examples(results, sources)

    (folder / MANIFEST).unlink(missing_ok=True)  # an unfinished folder must not look whole
    for name in (*DICE_EXAMPLES, *TABLES):
        (folder / name).unlink(missing_ok=True)
    for name, frame in frames.items():
        _write_frame(frame, folder / name)
    for name in (*(f"{table}.csv" for table in report.TABLES), *made):
        _copy(results / name, folder / name)
    if images is not None:
        write_arrays(folder / DICE_EXAMPLES[0], images[0])
        write_json(folder / DICE_EXAMPLES[1], images[1])
    kept = [*NEEDED, *made, *(DICE_EXAMPLES if images else ())]
    _write_manifest(folder, kept, records, sources)


def redraw(folder: Path | str, output: Path | str) -> None:
    """Make every figure, the tables, the claims and report.html from a folder that `keep` wrote.

    `output` is laid out like a results folder; what an earlier `redraw` left there is replaced.

    Raises: UserError where a file of `folder` is missing or damaged, where `output` holds anything
    else and, after all is written, where a table differs from the kept one in any byte.
    """
    folder, output = Path(folder), Path(output)
    kept = _verified(folder)
    decomposition, runs, parameters = _frames(folder)
    listed = figures.entries([*figures.EXPERIMENTS, *runs["experiment"]])
    drawn = {f"figures/{name}{end}" for name in listed for end in (".pdf", ".png")}
    made = {f"{name}.csv" for name in report.TABLES} | {"report.html"}
    frames = ("decomposition.parquet", "runs.parquet")
    _refuse_others(output, {*drawn, *made, *frames, *TABLES, *VERDICTS.values()})
    # Those of an earlier redraw; the report looks at what is there.
    for name in (*drawn, *TABLES, *VERDICTS.values()):
        (output / name).unlink(missing_ok=True)
    for name in (*frames, *kept.intersection(TABLES)):
        _copy(folder / name, output / name)
    for name in kept.intersection(VERDICTS):
        table = JUDGES[name].judge(pd.read_csv(folder / name))
        tables.write_csv(table, output / VERDICTS[name])
    _write_tables(output, decomposition, runs, parameters)
    data: dict[str | None, Path | None] = {name: folder / name for name in kept}
    data |= {None: None, "dice": data.get(DICE_EXAMPLES[0])}
    sources = {name: data.get(entry.data) for name, entry in listed.items()}
    absent = [name for name in sources if listed[name].data and sources[name] is None]
    # The report shows every figure that is there, so those with nothing to show come after it.
    _draw(sources.keys() - absent, decomposition, runs, sources, output / "figures")
    report.render(output, output / "report.html")
    _draw(absent, decomposition, runs, sources, output / "figures")
    log.info("%d figures, 4 tables, the claims and report.html: %s", len(listed), output)
    if different := _different_tables(output, folder):
        raise UserError(
            f"All is drawn, but {', '.join(different)} in {output} are not the kept ones. Other "
            f"versions may be at work: compare the installed ones with those in {MANIFEST}, or "
            "make the kept tables anew with eosflow evidence retable."
        )


def retable(folder: Path | str) -> None:
    """Make the tables and claims beside kept frames anew, where a newer program makes others.

    The frames stay as they are; evidence.json says which program made the tables. What is cut off
    on the way does not look whole, and can be begun again.

    Raises: UserError where a frame is missing or damaged.
    """
    folder = Path(folder)
    own = [f"{name}.csv" for name in report.TABLES]
    _verified(folder, [name for name in NEEDED if name not in own])
    decomposition, runs, parameters = _frames(folder)
    record = read_json(folder / MANIFEST)
    with tempfile.TemporaryDirectory() as scratch:
        _write_tables(Path(scratch), decomposition, runs, parameters)
        for name in own:
            _copy(Path(scratch) / name, folder / name)
    program = provenance.program("pandas", "statsmodels")
    made = record["made"] | dict.fromkeys(report.TABLES, program)
    others = [entry["file"] for entry in record["files"] if entry["file"] not in own]
    write_json(
        folder / MANIFEST, {**record, "files": _files(folder, [*others, *own]), "made": made}
    )
    log.info("%s: the tables and claims are made anew", folder)


def _frames(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The decomposition, the runs and the Dice parameters."""
    decomposition, runs, parameters = (
        pd.read_parquet(folder / f"{name}.parquet")
        for name in ("decomposition", "runs", "dice-parameters")
    )
    return decomposition, runs, parameters


def _draw(
    names: Iterable[str],
    decomposition: pd.DataFrame,
    runs: pd.DataFrame,
    sources: Mapping[str, Path | None],
    folder: Path,
) -> None:
    for name in tqdm(sorted(names), unit="figure", disable=None):
        figure = figures.draw(name, decomposition, runs, sources[name])
        figures.save(figure, folder / f"{name}.pdf", folder / f"{name}.png")


def _refuse_others(folder: Path, own: set[str]) -> None:
    """Raise UserError where a folder holds, or is, a file that is not to be replaced."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file. Name a folder, or one that does not exist yet.")
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in own:
            raise UserError(
                f"{folder} holds other files, such as {path.relative_to(folder)}. Nothing was "
                "written: name an empty folder, or one that does not exist yet."
            )


def _provenance(results: Path, name: str) -> dict[str, Any]:
    path = results / "provenance" / f"{name}.json"
    try:
        record: dict[str, Any] = read_json(path)
    except (FileNotFoundError, ValueError):
        raise UserError(
            f"{path} is missing or damaged. Evidence is kept of a results folder that the workflow "
            "has finished: start it, then keep."
        ) from None
    return record


def _vouched(path: Path, record: dict[str, Any]) -> str:
    """The checksum of a file, which must be the one in the record of how it was made."""
    expected = {Path(entry["file"]).name: entry["sha256"] for entry in record["made"]}
    return _checked(path, expected[path.name], ANEW)


def _checked(path: Path, expected: str, remedy: str) -> str:
    if not path.is_file():
        raise UserError(f"{path} is missing. {remedy}")
    if sha256(path) != expected:
        raise UserError(f"{path} is damaged: it does not match its checksum. {remedy}")
    return expected


def _write_tables(
    folder: Path, decomposition: pd.DataFrame, runs: pd.DataFrame, parameters: pd.DataFrame
) -> None:
    made = {
        "table1": tables.table1(runs),
        "table2": tables.table2(decomposition, runs),
        "alignment": tables.alignment(decomposition, runs),
        "table3": tables.table3(parameters),
        "claims": claims.check(decomposition, runs),
    }
    for name, table in made.items():
        tables.write_csv(table, folder / f"{name}.csv")


def _different_tables(first: Path, second: Path) -> list[str]:
    names = [f"{name}.csv" for name in report.TABLES]
    return [name for name in names if (first / name).read_bytes() != (second / name).read_bytes()]


def _trajectories(results: Path, runs: pd.DataFrame, sources: dict[str, str]) -> pd.DataFrame:
    """The trajectories of all runs, one row per iteration: `IDENTITY`, then `TRAJECTORY`.

    What the optimizer of a run does not record is missing.
    """
    courses = []
    for name, (_, run) in zip(run_names(runs), runs.iterrows(), strict=True):
        try:
            key = read_json(results / name / "run.json")["key"]
            manifest = read_json(results / name / "manifest.json")["trajectory"]
        except (FileNotFoundError, ValueError):
            raise UserError(
                f"{results / name} has no whole run.json and manifest.json. Start the workflow "
                "again: it is made anew."
            ) from None
        if key != run["key"]:
            raise UserError(
                f"{results / name} holds another run than the one in runs.parquet. Start the "
                "workflow again: the runs are collected anew."
            )
        path = results / name / manifest["file"]
        sources[path.relative_to(results).as_posix()] = _checked(path, manifest["sha256"], ANEW)
        course = pd.read_parquet(path)
        course = course[[column for column in TRAJECTORY if column in course]]
        courses.append(course.assign(**{column: run[column] for column in IDENTITY}))
    joined = pd.concat(courses, ignore_index=True)
    return joined.reindex(columns=[*IDENTITY, *TRAJECTORY])


def _dice_examples(
    results: Path, sources: dict[str, str]
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The images that figure 5 shows, if any were made: arrays of a subset file and its record."""
    subsets = (results / "data" / "subsets").glob("dice-subset*.npz")
    subset = min(subsets, key=lambda path: int(path.stem.removeprefix("dice-subset")), default=None)
    if subset is None:
        return None
    record = read_json(subset.with_suffix(".json"))
    sources[subset.relative_to(results).as_posix()] = _checked(subset, record["sha256"], ANEW)
    with np.load(subset, allow_pickle=False) as arrays:
        labels = arrays["labels"]
        firsts = [np.flatnonzero(labels == label)[:COLUMNS] for label in np.unique(labels)]
        rows = np.sort(np.concatenate(firsts))
        excerpt = {name: arrays[name][rows] for name in ("inputs", "labels", "indices")}
        excerpt["scale"] = arrays["scale"]
    facts = {name: record[name] for name in ("dataset", "settings", "subset_seed")}
    return excerpt, {**facts, "size": len(rows)}


def _write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame without loss, as small as it gets: all first bytes, then all second bytes, …"""
    reals = [name for name in frame.columns if frame[name].dtype == np.float64]
    others = [name for name in frame.columns if name not in reals]
    with replacing(path) as temporary:
        frame.to_parquet(
            temporary,
            index=False,
            compression="zstd",
            compression_level=19,
            use_byte_stream_split=reals,
            use_dictionary=others,
        )


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _write_manifest(
    folder: Path, kept: Iterable[str], records: dict[str, Any], sources: dict[str, str]
) -> None:
    """Write evidence.json: the files kept, the programs that made them, the runs they are from."""
    files = _files(folder, kept)
    made = {
        name: {fact: record[fact] for fact in ("versions", "platform", "machine")}
        for name, record in records.items()
    }
    taken = [{"file": name, "sha256": checksum} for name, checksum in sources.items()]
    content = {"files": files, "runs": records["collect"]["runs"], "made": made, "sources": taken}
    write_json(folder / MANIFEST, content)
    log.info("%.1f MB in %s", sum(entry["bytes"] for entry in files) / 1e6, folder)
    for entry in files:
        if entry["bytes"] > LARGE:
            log.warning("%s is large: %.1f MB", folder / entry["file"], entry["bytes"] / 1e6)


def _files(folder: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    return [
        {"file": name, "sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size}
        for name in sorted(names)
    ]


def _verified(folder: Path, needed: Iterable[str] = NEEDED) -> set[str]:
    """The names of the kept files, after a comparison of each with its checksum."""
    remedy = (
        "Get the folder anew, make it again with eosflow evidence keep or, if it is of an "
        "earlier version with other tables, update them with eosflow evidence retable."
    )
    try:
        expected = {e["file"]: e["sha256"] for e in read_json(folder / MANIFEST)["files"]}
    except FileNotFoundError:
        raise UserError(f"{folder / MANIFEST} is missing: no evidence is kept there.") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{folder / MANIFEST} is damaged. {remedy}") from None
    tables_apart = {f"{name}.csv" for name in report.TABLES}.difference(needed)
    for name in dict.fromkeys((*needed, *(expected.keys() - tables_apart))):
        _checked(folder / name, expected.get(name, ""), remedy)
    return set(expected)

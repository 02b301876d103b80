"""The evidence of finished runs as a few small files, and all that can be made from them.

`keep` copies from results folders what figures, tables and claims are made of, and adds it to what
is kept already; `redrawing.redraw` makes them again from these files alone.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype
from pyarrow import parquet

from eosflow.datasets.subsets import write_arrays
from eosflow.datasets.table_files import MOST_BYTES
from eosflow.results import claims, collect, figures, paper, report, tables
from eosflow.results.courses import IDENTITY, run_names
from eosflow.results.figures.examples import COLUMNS
from eosflow.storage import provenance
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, replacing, sha256, write_json
from eosflow.storage.foreign import foreign
from eosflow.storage.paths import inside
from eosflow.studies import STUDIES

log = logging.getLogger(__name__)

MANIFEST = "evidence.json"
FRAMES = ("decomposition", "runs", "trajectories")
OWN_TABLES = [f"{name}.csv" for name in report.TABLES]
DICE_PARAMETERS = "dice-parameters.parquet"
NEEDED = (*(f"{name}.parquet" for name in FRAMES), DICE_PARAMETERS, *OWN_TABLES)
DICE_EXAMPLES = ("dice-examples.npz", "dice-examples.json")
# Tables of studies, from which some figures are drawn; kept and drawn if they were made.
TABLES = [study.data for study in STUDIES.values()]

# Of each trajectory, as far as its optimizer records it: the course of the run, and what
# runs.parquet and so the claims are read from.
TRAJECTORY = [
    *("iteration", "flow_time", "step_size", "loss", "eigenvalue_1", "residual"),
    *("converged", "rejected_steps", "negative_dominant"),
]
PARAMETERS = [
    "class",
    *dict.fromkeys(name for ranges in paper.DICE.values() for name in ranges),
]
# As the configuration has them, see `workflow.schema`: they name folders and figures.
EXPERIMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
REMEDY = (
    "Get the folder anew or, if its tables alone are of an earlier version, make them anew with "
    "eosflow evidence keep."
)
ANEW = "Delete it and start the workflow again."
LARGE = 5_000_000  # bytes; more does not belong in a repository


@dataclass
class Kept:
    """What a folder of evidence holds, or will hold.

    `sources` has the checksum of each file that it was taken from, `made` the program that made
    each table which is not made here.
    """

    frames: dict[str, pd.DataFrame]
    parameters: pd.DataFrame | None = None
    examples: tuple[dict[str, Any], dict[str, Any]] | None = None
    studies: dict[str, bytes] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)

    def keys(self) -> dict[str, str]:
        """The key of each run, by its name."""
        runs = self.frames["runs"]
        return dict(zip(run_names(runs), runs["key"], strict=True)) if len(runs) else {}


def keep(folder: Path | str, *results: Path | str) -> None:
    """Add the finished runs of results folders to the evidence in `folder`, and make its tables.

    Kept are the tidy frames, the courses of all runs as trajectories.parquet (float64, as they
    are), the Dice parameters and ten Dice images per class, the tables of studies, and the tables
    and claims that this program makes of the frames. Runs are recognised by their keys: one that is
    kept already stays as it is. A run counts as finished once its decompositions are there. The
    same results give the same bytes, in one go or several.

    Raises: UserError if a file is missing or damaged, if there is another run of the same name in
    `folder`, and if `folder` holds anything else.
    """
    folder = Path(folder)
    refuse_others(folder, {*NEEDED, *DICE_EXAMPLES, *TABLES, MANIFEST})
    kept = _read(folder) if (folder / MANIFEST).exists() else Kept(frames={"runs": pd.DataFrame()})
    for place in map(Path, results):
        _add(kept, place)
    if kept.frames["runs"].empty:
        raise UserError("There are no finished runs: nothing was kept.")
    if kept.parameters is None:
        raise UserError(
            "The parameters of the Dice images are missing, which Table 3 is made of: make them "
            "with `snakemake RESULTS/table3.csv`, then keep."
        )
    _write(kept, folder)


def _add(kept: Kept, results: Path) -> None:
    """Take what is new in a results folder."""
    known = kept.keys()
    folders = {}
    for index in sorted(results.glob("*/n*/init*-subset*/decomposition/index.json")):
        name = index.parents[1].relative_to(results).as_posix()
        (run,) = collect.verified([index.parents[1]], ["decomposition"])
        key = run.key
        if known.get(name, key) != key:
            raise UserError(
                f"{results / name} is another run than the one of that name that is kept: its "
                "specification differs. Keep it in a separate folder."
            )
        if name not in known:
            folders[name] = index.parents[1]
    log.info("%s: %d runs, %d of them new", results, len(folders) + len(known), len(folders))
    if folders:
        courses = [_trajectory(results, name, kept.sources) for name in folders]
        decomposition, runs = collect.collect(folders.values(), "decomposition")
        identified = [
            course.assign(**{column: run[column] for column in IDENTITY})
            for course, (_, run) in zip(courses, runs.iterrows(), strict=True)
        ]
        joined = pd.concat(identified, ignore_index=True).reindex(columns=[*IDENTITY, *TRAJECTORY])
        new = {"decomposition": decomposition, "runs": runs, "trajectories": joined}
        kept.frames = {
            name: _in_order(pd.concat([kept.frames.get(name), frame], ignore_index=True))
            for name, frame in new.items()
        }
        indices = (Path(name, "decomposition", "index.json") for name in folders)
        kept.sources |= {index.as_posix(): sha256(results / index) for index in indices}
        kept.made["collect"] = provenance.program("pandas", "pyarrow")
    for name in (name for name in TABLES if (results / name).is_file()):
        record = _provenance(results, name.removesuffix(".csv"))
        kept.sources[name] = _vouched(results / name, record)
        kept.studies[name] = (results / name).read_bytes()
        kept.made[name.removesuffix(".csv")] = _program(record)
    parameters = Path("data", DICE_PARAMETERS)
    if (results / parameters).is_file():
        record = _provenance(results, parameters.stem)
        kept.sources[parameters.as_posix()] = _vouched(results / parameters, record)
        kept.parameters = pd.read_parquet(results / parameters, columns=PARAMETERS)
        kept.made[parameters.stem] = _program(record)
    kept.examples = _dice_examples(results, kept.sources) or kept.examples


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """By experiment, the paper's first, then size, seeds and iteration; text as such.

    A column of text that is empty in some runs would otherwise be written in another type.
    """
    text = [n for n in frame if frame[n].dtype == object and infer_dtype(frame[n]) == "string"]
    frame = frame.astype(dict.fromkeys(text, "str"))
    order = {name: place for place, name in enumerate(figures.EXPERIMENTS)}
    place = frame["experiment"].map(lambda name: order.get(name, len(order)))
    keys = [*IDENTITY, *(["iteration"] if "iteration" in frame else [])]
    by = frame.assign(place=place).sort_values(["place", *keys], kind="stable")
    return by.drop(columns="place").reset_index(drop=True)


def _read(folder: Path) -> Kept:
    """What is kept in `folder`; its tables may be those of another program."""
    kept = verified(folder, [name for name in NEEDED if name not in OWN_TABLES])
    record = read_json(folder / MANIFEST)
    examples = None
    if kept.issuperset(DICE_EXAMPLES):
        with np.load(folder / DICE_EXAMPLES[0], allow_pickle=False) as arrays:
            examples = dict(arrays), read_json(folder / DICE_EXAMPLES[1])
    return Kept(
        frames={name: read_frame(folder / f"{name}.parquet") for name in FRAMES},
        parameters=read_frame(folder / DICE_PARAMETERS),
        examples=examples,
        studies={name: (folder / name).read_bytes() for name in kept.intersection(TABLES)},
        sources={entry["file"]: entry["sha256"] for entry in record["sources"]},
        made={name: by for name, by in record["made"].items() if name not in report.TABLES},
    )


def read_frame(path: Path) -> pd.DataFrame:
    """A kept frame, which anyone may have written.

    Raises: UserError if it is none, unpacks to too much, or holds what is no name of an experiment.
    """
    with foreign(lambda why: UserError(f"{path} is damaged: {why}. {REMEDY}")):
        footer = parquet.read_metadata(path)
        if footer.num_rows * footer.num_columns * 8 > MOST_BYTES:
            raise ValueError(f"it unpacks to more than {MOST_BYTES} bytes")
        frame = pd.read_parquet(path)
        for name in frame.get("experiment", pd.Series(dtype=str)).unique():
            if not (isinstance(name, str) and EXPERIMENT.fullmatch(name)):
                raise ValueError(f"{name!r:.100} is no name of an experiment")
    return frame


def _write(kept: Kept, folder: Path) -> None:
    assert kept.parameters is not None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)  # an unfinished folder must not look whole
    for name in (*DICE_EXAMPLES, *TABLES):
        (folder / name).unlink(missing_ok=True)
    for name, frame in (kept.frames | {Path(DICE_PARAMETERS).stem: kept.parameters}).items():
        _write_frame(frame, folder / f"{name}.parquet")
    write_tables(folder, kept.frames["decomposition"], kept.frames["runs"], kept.parameters)
    for name, content in kept.studies.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
    if kept.examples is not None:
        write_arrays(folder / DICE_EXAMPLES[0], kept.examples[0])
        write_json(folder / DICE_EXAMPLES[1], kept.examples[1])
    names = [*NEEDED, *kept.studies, *(DICE_EXAMPLES if kept.examples else ())]
    _write_manifest(folder, names, kept)


def refuse_others(folder: Path, own: set[str]) -> None:
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


def _program(record: Mapping[str, Any]) -> dict[str, Any]:
    return {fact: record[fact] for fact in ("versions", "platform", "machine")}


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


def write_tables(
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


def _trajectory(results: Path, name: str, sources: dict[str, str]) -> pd.DataFrame:
    """The trajectory of a run: those of `TRAJECTORY` that its optimizer records."""
    manifest = results / name / "manifest.json"
    try:
        entry = read_json(manifest)["trajectory"]
        path = inside(manifest.parent, entry["file"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{manifest} is missing or damaged. Start the workflow again: it is made anew."
        ) from None
    sources[path.relative_to(results).as_posix()] = _checked(path, entry["sha256"], ANEW)
    course = pd.read_parquet(path)
    return course[[column for column in TRAJECTORY if column in course]]


def _dice_examples(
    results: Path, sources: dict[str, str]
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The images that figure 5 shows, if any were made: arrays of a subset file and its record."""
    subsets = (results / "data" / "subsets").glob("dice-subset*.npz")
    subset = min(subsets, key=lambda path: int(path.stem.removeprefix("dice-subset")), default=None)
    if subset is None:
        return None
    path = subset.with_suffix(".json")
    try:
        record = read_json(path)
    except (OSError, ValueError):
        raise UserError(
            f"{path} is missing or damaged. Make it again by its name: snakemake {path}"
        ) from None
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


def copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _write_manifest(folder: Path, names: Iterable[str], kept: Kept) -> None:
    """Write evidence.json: the files kept, the programs that made them, the runs they are from."""
    files = _files(folder, names)
    runs = kept.frames["runs"]
    versions = [f"version_{name}" for name in collect.VERSIONED]
    facts = ["device", "threads", *versions, "commit"]
    content = {
        "files": files,
        "runs": {
            "runs": len(runs),
            "specification": digest(sorted(runs["key"])),
            **{name: sorted(runs[name].dropna().unique().tolist()) for name in facts},
        },
        "made": kept.made | {"tables": provenance.program("pandas", "statsmodels")},
        "sources": [{"file": name, "sha256": kept.sources[name]} for name in sorted(kept.sources)],
    }
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


def verified(folder: Path, needed: Iterable[str] = NEEDED) -> set[str]:
    """The names of the kept files, after a comparison of each with its checksum."""
    try:
        expected = {e["file"]: e["sha256"] for e in read_json(folder / MANIFEST)["files"]}
        paths = {name: inside(folder, name) for name in (*needed, *expected)}
    except FileNotFoundError:
        raise UserError(f"{folder / MANIFEST} is missing: no evidence is kept there.") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{folder / MANIFEST} is damaged. {REMEDY}") from None
    tables_apart = set(OWN_TABLES).difference(needed)
    for name in dict.fromkeys((*needed, *(expected.keys() - tables_apart))):
        _checked(paths[name], expected.get(name, ""), REMEDY)
    return set(expected)

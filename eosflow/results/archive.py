"""The evidence of finished runs as a few small files, and all that can be made from them.

`keep` copies from results folders what figures, tables and claims are made of, and adds it to what
is kept already; `redrawing.redraw` makes them again from these files alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype

from eosflow.datasets.base import SubsetRecord
from eosflow.datasets.subsets import write_arrays
from eosflow.results import collect, report, tables
from eosflow.results.evidence import (
    DICE_EXAMPLES,
    DICE_PARAMETERS,
    FRAMES,
    MANIFEST,
    NEEDED,
    OWN_TABLES,
    PARAMETERS,
    TABLES,
    TRAJECTORY,
    Contents,
    read_frame,
    refuse_others,
    verified,
)
from eosflow.results.figures.examples import COLUMNS
from eosflow.results.run_summaries import IDENTITY, run_names
from eosflow.storage import provenance
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, replacing, sha256, write_json
from eosflow.storage.records import Listed

log = logging.getLogger(__name__)

LARGE = 5_000_000  # bytes; more does not belong in a repository


@dataclass
class Kept:
    """What a folder of evidence holds, or will hold.

    `made` has the program that made each table which is not made here.
    """

    frames: dict[str, pd.DataFrame]
    parameters: pd.DataFrame | None = None
    examples: tuple[dict[str, Any], dict[str, Any]] | None = None
    studies: dict[str, bytes] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)

    def keys(self) -> dict[str, str]:
        """The key of each run, by its name."""
        runs = self.frames["runs"]
        return dict(zip(run_names(runs), runs["key"], strict=True)) if len(runs) else {}


def keep(folder: Path | str, *results: Path | str) -> None:
    """Add the finished runs of results folders to the evidence in `folder`, and make its tables.

    Kept are the tidy frames, the trajectories of all runs as trajectories.parquet (float64, as they
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
    for each in map(Path, results):
        _add(kept, each)
    if kept.frames["runs"].empty:
        raise UserError("There are no finished runs: nothing was kept.")
    if kept.parameters is None:
        raise UserError(
            "The parameters of the Dice images, which Table 3 needs, are missing: make them "
            "with `snakemake RESULTS/data/dice-parameters.parquet`, then keep."
        )
    _write(kept, folder)


def _add(kept: Kept, results: Path) -> None:
    """Take what is new in a results folder."""
    known, folders = kept.keys(), {}
    for index in sorted(results.glob("*/n*/init*-subset*/decomposition/index.json")):
        folder = index.parents[1]
        name = folder.relative_to(results).as_posix()
        (run,) = collect.verified([folder], ["decomposition"])
        if known.get(name, run.key) != run.key:
            raise UserError(
                f"{folder} differs from the kept run of that name: its "
                "specification differs. Keep it in a separate folder."
            )
        if name not in known:
            folders[name] = folder
    log.info("%s: %d runs, %d of them new", results, len(folders) + len(known), len(folders))
    if folders:
        _add_runs(kept, list(folders.values()))
    for name in (name for name in TABLES if (results / name).is_file()):
        kept.studies[name] = _made(kept, results, name, name.removesuffix(".csv")).read_bytes()
    parameters = f"data/{DICE_PARAMETERS}"
    if (results / parameters).is_file():
        path = _made(kept, results, parameters, Path(parameters).stem)
        kept.parameters = pd.read_parquet(path, columns=PARAMETERS)
    kept.examples = _dice_examples(results) or kept.examples


def _add_runs(kept: Kept, folders: list[Path]) -> None:
    """The frames with those of further runs."""
    decomposition, runs = collect.collect(folders, "decomposition")
    steps = [
        pd.read_parquet(folder / "trajectory.parquet").assign(
            **{name: run[name] for name in IDENTITY}
        )
        for folder, (_, run) in zip(folders, runs.iterrows(), strict=True)
    ]
    joined = pd.concat(steps, ignore_index=True).reindex(columns=[*IDENTITY, *TRAJECTORY])
    new = {"decomposition": decomposition, "runs": runs, "trajectories": joined}
    kept.frames = {
        name: _in_order(pd.concat([kept.frames.get(name), frame], ignore_index=True))
        for name, frame in new.items()
    }
    kept.made["collect"] = provenance.program("pandas", "pyarrow")


def _made(kept: Kept, results: Path, name: str, record: str) -> Path:
    """The path of a verified result; the program that made it is noted."""
    origin = provenance.verify(results, f"provenance/{record}.json")
    facts = origin.model_extra or {}
    kept.made[record] = {fact: facts[fact] for fact in ("versions", "platform", "machine")}
    return results / name


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """By experiment, the paper's first, then size, seeds and iteration; text as such.

    A column of text that is empty in some runs would otherwise be written in another type.
    """
    text = [n for n in frame if frame[n].dtype == object and infer_dtype(frame[n]) == "string"]
    frame = frame.astype(dict.fromkeys(text, "str"))
    by = [*IDENTITY, *(["iteration"] if "iteration" in frame else [])]
    return tables.in_order(frame, by, sorted(set(frame["experiment"])))


def _read(folder: Path) -> Kept:
    """What is kept in `folder`; its tables may be those of another program."""
    contents = verified(folder, [name for name in NEEDED if name not in OWN_TABLES])
    examples = None
    if contents.names.issuperset(DICE_EXAMPLES):
        with np.load(folder / DICE_EXAMPLES[0], allow_pickle=False) as arrays:
            examples = dict(arrays), read_json(folder / DICE_EXAMPLES[1])
    return Kept(
        frames={name: read_frame(folder / f"{name}.parquet") for name in FRAMES},
        parameters=read_frame(folder / DICE_PARAMETERS),
        examples=examples,
        studies={
            name: (folder / name).read_bytes() for name in contents.names.intersection(TABLES)
        },
        made={name: by for name, by in contents.made.items() if name not in report.TABLES},
    )


def _write(kept: Kept, folder: Path) -> None:
    assert kept.parameters is not None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)  # an unfinished folder must not look whole
    for name in (*DICE_EXAMPLES, *TABLES):
        (folder / name).unlink(missing_ok=True)
    for name, frame in (kept.frames | {Path(DICE_PARAMETERS).stem: kept.parameters}).items():
        _write_frame(frame, folder / f"{name}.parquet")
    tables.write_all(folder, kept.frames["decomposition"], kept.frames["runs"])
    tables.write_csv(tables.table3(kept.parameters), folder / "table3.csv")
    for name, content in kept.studies.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
    if kept.examples is not None:
        write_arrays(folder / DICE_EXAMPLES[0], kept.examples[0])
        write_json(folder / DICE_EXAMPLES[1], kept.examples[1])
    names = [*NEEDED, *kept.studies, *(DICE_EXAMPLES if kept.examples else ())]
    _write_manifest(folder, names, kept)


def _dice_examples(results: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The images that figure 5 shows, if any were made: arrays of a subset file and its record."""
    subsets = (results / "data" / "subsets").glob("dice-subset*.npz")
    subset = min(subsets, key=lambda path: int(path.stem.removeprefix("dice-subset")), default=None)
    if subset is None:
        return None
    path = subset.with_suffix(".json")
    record = SubsetRecord.readable(path)
    if record is None or record.sha256 != sha256(subset):
        raise UserError(
            f"{subset} or its record {path.name} is damaged. Delete both, and make them again by "
            f"name: snakemake {subset}"
        )
    with np.load(subset, allow_pickle=False) as arrays:
        labels = arrays["labels"]
        firsts = [np.flatnonzero(labels == label)[:COLUMNS] for label in np.unique(labels)]
        rows = np.sort(np.concatenate(firsts))
        excerpt = {name: arrays[name][rows] for name in ("inputs", "labels", "indices")}
        excerpt["scale"] = arrays["scale"]
    facts = record.model_dump(include={"dataset", "settings", "subset_seed"})
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


def _write_manifest(folder: Path, names: Iterable[str], kept: Kept) -> None:
    """Write evidence.json: the files kept, the programs that made them, the runs they are from."""
    files = tuple(Listed.of(folder, name) for name in sorted(names))
    runs = kept.frames["runs"]
    versions = [f"version_{name}" for name in collect.VERSIONED]
    facts = ["device", "threads", *versions, "commit"]
    Contents(
        files=files,
        runs={
            "runs": len(runs),
            "specification": digest(sorted(runs["key"])),
            **{name: sorted(runs[name].dropna().unique().tolist()) for name in facts},
        },
        made=kept.made | {"tables": provenance.program("pandas", "statsmodels")},
    ).write(folder / MANIFEST)
    log.info("%.1f MB in %s", sum(entry.bytes for entry in files) / 1e6, folder)
    for entry in files:
        if entry.bytes > LARGE:
            log.warning("%s is large: %.1f MB", folder / entry.file, entry.bytes / 1e6)

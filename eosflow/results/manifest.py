"""What vouches for results: which runs they are made of, and the checksum of every file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eosflow import __version__
from eosflow.storage import provenance
from eosflow.storage.damage import CLEANED, deleted, note_damage
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, readable, sha256, write_json

DECOMPOSITION = "decomposition"


def of_runs(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The records of several runs in one: for each fact a list of the values that occur.

    Returns: `runs` (how many), `specification` (digest of all their keys), `device`, `threads`, and
    for each of their versions the values that occur, in any session of a run; `changed`, the runs
    whose sittings differ, with what does.
    """
    records = list(records)
    sittings = [session for record in records for session in _sittings(record)]
    found = sorted({name for session in sittings for name in session["versions"]})
    return {
        "runs": len(records),
        "specification": digest(sorted(record["key"] for record in records)),
        "device": _distinct(session["device"] for session in sittings),
        "threads": _distinct(session["threads"] for session in sittings),
        "versions": {
            name: _distinct(each["versions"].get(name) for each in sittings) for name in found
        },
        "changed": [changes for record in records if (changes := changed(record))],
    }


def _sittings(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(record.get("sittings", [record]))


def changed(record: Mapping[str, Any]) -> dict[str, Any]:
    """What changed from one session of a run to the next: versions, threads, device.

    Returns: the values by name, `run`, and `from`, the iterations that later sittings began with;
    empty for a run that was made in one go or always on the same.
    """
    sittings = _sittings(record)
    facts = [
        {"device": each["device"], "threads": each["threads"], **each["versions"]}
        for each in sittings
    ]
    values = {name: list(dict.fromkeys(each.get(name) for each in facts)) for name in facts[-1]}
    differing = {name: found for name, found in values.items() if len(found) > 1}
    if not differing:
        return {}
    spec = record["spec"]
    run = f"{spec['experiment']}/n{spec['n']}/init{spec['init_seed']}-subset{spec['subset_seed']}"
    return {"run": run, "from": [each["from_iteration"] for each in sittings[1:]], **differing}


def _distinct(values: Iterable[Any]) -> list[Any]:
    return sorted(set(values), key=str)


def verify_runs(folders: Iterable[Path], places: Sequence[str] = (DECOMPOSITION,)) -> None:
    """Compare each run's trajectory and its measured snapshots with their checksums.

    `places` are the folders of measurements below a run's. Where a file is damaged, a note is
    left beside the list that vouches for it (see `eosflow.storage.damage`); nothing is deleted.

    Raises: UserError naming all damaged files.
    """
    damaged: list[Path] = []
    for folder in folders:
        damaged += _noted(folder, "manifest.json", lambda content: [content["trajectory"]])
        for place in places:
            found = _noted(folder / place, "index.json", lambda content: content["snapshots"])
            damaged += found or _foreign(folder, place)
    if damaged:
        raise UserError(
            "These files are missing or do not match their checksums:\n  "
            + "\n  ".join(map(str, damaged))
            + "\nThis is noted beside them. Start the workflow again: they are made anew."
        )


def _noted(folder: Path, name: str, entries: Callable[[Any], list[dict[str, Any]]]) -> list[Path]:
    """The damaged ones among the files in a list, or the list itself, after noting them."""
    try:
        listed = [(entry["file"], entry["sha256"]) for entry in entries(read_json(folder / name))]
    except (OSError, ValueError, KeyError, TypeError):
        damaged = [name]
        reason = f"{name} is missing or cannot be read"
    else:
        damaged = [file for file, expected in listed if not _is_whole(folder / file, expected)]
        reason = f"they are missing or do not match the checksums in {name}"
    if damaged:
        note_damage(folder, damaged, reason)
    return [folder / file for file in damaged]


def _foreign(folder: Path, place: str) -> list[Path]:
    """The index of a place, after noting it, where it is not of the snapshots of this run."""
    index, snapshots = readable(folder / place / "index.json"), readable(folder / "manifest.json")
    if index is None or snapshots is None:
        return []
    if "of" in index:
        own = index["of"] == digest(snapshots["snapshots"])
    else:  # from before an index said so: by what is in the records
        entries = {entry["iteration"]: entry for entry in snapshots["snapshots"]}
        records = [read_json(folder / place / each["file"]) for each in index["snapshots"]]
        own = all(_agree(record, entries.get(record["iteration"])) for record in records)
    if own:
        return []
    note_damage(folder / place, ["index.json"], "it is not of the snapshots of this run")
    return [folder / place / "index.json"]


def _agree(record: Mapping[str, Any], entry: Mapping[str, Any] | None) -> bool:
    """Whether a measured snapshot is that of a manifest's entry, by its flow time and its loss."""
    if entry is None or record["flow_time"] != entry["flow_time"]:
        return False
    return math.isclose(record.get("loss", entry["loss"]), entry["loss"], rel_tol=1e-6)


def _is_whole(path: Path, expected: str) -> bool:
    return path.is_file() and sha256(path) == expected


def results_manifest(results: Path, runs: Iterable[str], manifest: Path) -> None:
    """List every file of the results with its checksum and the record that tells its origin.

    Snapshots and their measurements come with the checksums taken when they were written; reading
    hundreds of gigabytes again is left to `sha256sum`. Snapshots that were deleted on purpose are
    left out.

    Raises: UserError naming a file that is missing.
    """
    files: list[dict[str, Any]] = []
    records = sorted((results / "provenance").rglob("*.json"))
    for record in records:
        for path, checksum in provenance.contents(record):
            if not path.is_file():
                raise UserError(
                    f"{path} is missing, of which {record} tells. Remove that record and start the "
                    "workflow again: both are made anew."
                )
            entry = provenance.entry(path)
            if entry["sha256"] != checksum:
                raise UserError(
                    f"{path} is damaged: it does not match the checksum in {record}. Remove both "
                    "and start the workflow again: they are made anew."
                )
            files.append({**entry, "record": str(record)})
    for path in sorted((results / "data" / "subsets").glob("*")):
        if path.suffix in (".npz", ".json"):
            files.append({**provenance.entry(path), "record": str(path.with_suffix(".json"))})
    for run in runs:
        files.extend(_files_of_run(results / run))
    content = {
        "eosflow": __version__,
        "commit": provenance.commit(),
        "sources": [provenance.entry(record) for record in records],
        "files": files,
    }
    write_json(manifest, content)


def _files_of_run(folder: Path) -> list[dict[str, Any]]:
    record = folder / "run.json"
    manifest = read_json(folder / "manifest.json")
    own = [record, folder / "manifest.json"]
    snapshots = manifest["snapshots"]
    if (folder / CLEANED).exists():
        own.append(folder / CLEANED)
    if deleted(folder):
        snapshots = [entry for entry in snapshots if (folder / entry["file"]).exists()]
    known = _known(own[1], [*snapshots, manifest["trajectory"]])
    for place in (DECOMPOSITION, "measurements/*"):
        for index in sorted(folder.glob(f"{place}/index.json")):
            own.append(index)
            known += _known(index, read_json(index)["snapshots"])
    files = [*map(provenance.entry, own), *known]
    return [{**file, "record": str(record)} for file in files]


def _known(vouching: Path, entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Files with their checksums, as the list `vouching` beside them holds them."""
    files = []
    for entry in entries:
        path = vouching.parent / entry["file"]
        if not path.is_file():
            raise UserError(
                f"{path} is missing, which {vouching} lists. Put it back, or remove {vouching} and "
                "start the workflow again: what is missing is made anew."
            )
        size = path.stat().st_size
        files.append({"file": str(path), "sha256": entry["sha256"], "bytes": size})
    return files

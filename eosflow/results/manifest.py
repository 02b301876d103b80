"""The manifest of results: the runs behind them, and the checksum of every file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from eosflow import __version__
from eosflow.runs import whole
from eosflow.runs.records import Index, Manifest
from eosflow.storage import provenance
from eosflow.storage.digests import digest
from eosflow.storage.errors import UserError
from eosflow.storage.files import set_aside, write_json
from eosflow.storage.records import Listed, Record

R = TypeVar("R", bound=Record)


def of_runs(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The records of several runs in one: for each fact a list of the values that occur.

    Returns: `runs` (how many), `specification` (digest of all their keys), `device`, `threads`, and
    for each of their versions the values that occur, in any session of a run; `changed`, the runs
    whose sittings differ, with what does.
    """
    records = list(records)
    sittings = [session for record in records for session in _sittings(record)]
    packages = sorted({name for session in sittings for name in session["versions"]})
    return {
        "runs": len(records),
        "specification": digest(sorted(record["key"] for record in records)),
        "device": _distinct(session["device"] for session in sittings),
        "threads": _distinct(session["threads"] for session in sittings),
        "versions": {
            name: _distinct(each["versions"].get(name) for each in sittings) for name in packages
        },
        "changed": [changes for record in records if (changes := changed(record))],
    }


def _sittings(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(record["sittings"])


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
    differing = {name: several for name, several in values.items() if len(several) > 1}
    if not differing:
        return {}
    spec = record["spec"]
    run = f"{spec['experiment']}/n{spec['n']}/init{spec['init_seed']}-subset{spec['subset_seed']}"
    return {"run": run, "from": [each["from_iteration"] for each in sittings[1:]], **differing}


def _distinct(values: Iterable[Any]) -> list[Any]:
    return sorted(set(values), key=str)


def results_manifest(
    results: Path, records: Iterable[str], runs: Iterable[Path], manifest: Path
) -> None:
    """List every file of the results with its checksum and the record that tells its origin.

    `records` are those of what was made, below the results, and `runs` the folders of the runs.
    Snapshots and their measurements come with the checksums taken when they were written;
    `eosflow verify` reads them again. Snapshots that were deleted on purpose are left out.

    Raises: UserError naming a file that is missing or damaged; a damaged record is moved aside.
    """
    files: list[dict[str, Any]] = []
    records = sorted(records)
    for name in records:
        made = provenance.verify(results, name).made
        files += [_line(entry, "", name) for entry in made]
    for path in sorted((results / "data" / "subsets").glob("*")):
        if path.suffix in (".npz", ".json"):
            name = path.relative_to(results).as_posix()
            files.append(_line(Listed.of(results, name), "", str(Path(name).with_suffix(".json"))))
    for run in runs:
        files += _files_of_run(run, run.relative_to(results).as_posix())
    for line in files:
        line["file"], line["record"] = (str(results / line[name]) for name in ("file", "record"))
    content = {
        "eosflow": __version__,
        "commit": provenance.commit(),
        "sources": [Listed.of(results, name).model_dump() for name in records],
        "files": files,
    }
    write_json(manifest, content)


def _files_of_run(folder: Path, prefix: str) -> list[dict[str, Any]]:
    """Those of a run, with all that is measured of it, by their paths below the results."""
    lists = ["manifest.json", *(str(p.relative_to(folder)) for p in folder.glob("*/index.json"))]
    notes = [name for name in ("run.json", whole.CLEANED) if (folder / name).exists()]
    lines = [_line(Listed.of(folder, name), prefix, f"{prefix}/run.json") for name in notes + lists]
    manifest, gone = _read(Manifest, folder / "manifest.json"), whole.deleted(folder)
    known = [manifest.trajectory, *(s for s in manifest.snapshots if s.file not in gone)]
    lines += _known(folder, known, prefix)
    for name in lists[1:]:
        inner = Path(name).parent
        entries = _read(Index, folder / name).snapshots
        lines += _known(folder / inner, entries, f"{prefix}/{inner}")
    return lines


def _read(kind: type[R], path: Path) -> R:
    try:
        return kind.read(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing. {provenance.AGAIN}") from None
    except ValueError as error:
        set_aside(path, "record")
        raise UserError(f"{path} is damaged: {error}. {provenance.AGAIN}") from None


def _known(folder: Path, entries: Iterable[Listed], prefix: str) -> list[dict[str, Any]]:
    entries = list(entries)
    for damage in whole.of_files(folder, entries):
        raise UserError(f"{damage}: its run lists it. {provenance.AGAIN}")
    run = "/".join(prefix.split("/")[:2])
    return [_line(entry, prefix, f"{run}/run.json") for entry in entries]


def _line(entry: Listed, prefix: str, record: str) -> dict[str, Any]:
    file = f"{prefix}/{entry.file}" if prefix else entry.file
    return {"file": file, "sha256": entry.sha256, "bytes": entry.bytes, "record": record}

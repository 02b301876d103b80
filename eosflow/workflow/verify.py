"""Read every byte of a results folder and say what is damaged. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from eosflow.runs import whole
from eosflow.runs.names import run_folders
from eosflow.runs.records import RunRecord
from eosflow.storage.files import readable, sha256
from eosflow.storage.provenance import Origin


def verify(results: Path) -> Iterator[str]:
    """A line for each file that is not as it was written."""
    for home in run_folders(results):
        yield from _run(home)
    subsets = (results / "data" / "subsets").glob("*.npz")
    archives = (path.with_suffix("") for path in (results / "data" / "archives").glob("*.json"))
    yield from _data({path: path.with_suffix(".json") for path in sorted(subsets)})
    yield from _data({path: path.with_name(f"{path.name}.json") for path in sorted(archives)})
    for record_file in sorted((results / "provenance").rglob("*.json")):
        try:
            made = Origin.read(record_file).made
        except ValueError as error:
            yield f"{record_file} ({error})"
            continue
        yield from map(str, whole.of_files(results, made, deep=True))


def _data(records: Mapping[Path, Path]) -> Iterator[str]:
    """Files that are not as the records beside them say."""
    for path, beside in records.items():
        record = readable(beside)
        if record is None:
            yield f"{beside} (missing or damaged)"
        elif not path.is_file() or sha256(path) != record.get("sha256"):
            yield f"{path} (missing, or not the file that {beside.name} describes)"


def _run(home: Path) -> Iterator[str]:
    record = RunRecord.readable(home / "run.json")
    begun = not any((home / name).exists() for name in ("run.json", "manifest.json"))
    if begun or (record is not None and record.status == "running"):
        return  # what is unfinished is checked when it goes on
    manifest, damages = whole.of_run(home, home.name, deep=True)
    yield from map(str, damages)
    if manifest is None:
        return
    for index in sorted(home.glob("*/index.json")):
        yield from map(str, whole.of_measurement(index.parent, manifest, deep=True))

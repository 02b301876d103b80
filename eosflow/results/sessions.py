"""With what runs were trained, in one go or several, as the records of results say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from eosflow.storage.digests import digest


def of_runs(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The records of several runs in one: for each fact a list of the values that occur.

    Returns: `runs` (how many), `specification` (digest of all their keys), `device`, `threads`, and
    for each of their versions the values that occur, in any session of a run; `changed`, the runs
    whose sittings differ, with what does.
    """
    records = list(records)
    sittings = [session for record in records for session in record["sittings"]]
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


def changed(record: Mapping[str, Any]) -> dict[str, Any]:
    """What changed from one session of a run to the next: versions, threads, device.

    Returns: the values by name, `run`, and `from`, the iterations that later sittings began with;
    empty for a run that was made in one go or always on the same.
    """
    sittings = record["sittings"]
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

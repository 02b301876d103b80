"""With what runs were trained, in one go or several, as the records of results say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from eosflow.storage.digests import digest


def of_runs(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The records of several runs in one: for each fact a list of the values that occur.

    Returns: `runs` (how many), `specification` (digest of all their keys), `device`, `threads`, and
    for each of their versions the values that occur, in any session of a run; `changed`, what
    differs between the sittings of a run, by its key.
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
        "changed": {record["key"]: words for record in records if (words := changed(record))},
    }


def changed(record: Mapping[str, Any]) -> str | None:
    """What changed from one session of a run to the next: versions, threads, device.

    Returns: such as `torch: 2.12.0, 2.13.0 from iteration 300`; None for a run that was made in one
    go or always on the same.
    """
    sittings = record["sittings"]
    facts = pd.DataFrame(
        {"device": each["device"], "threads": each["threads"], **each["versions"]}
        for each in sittings
    ).astype(str)
    parts = [
        f"{name}: {', '.join(facts[name].unique())}" for name in facts if facts[name].nunique() > 1
    ]
    later = ", ".join(str(each["from_iteration"]) for each in sittings[1:])
    return f"{'; '.join(parts)} from iteration {later}" if parts else None


def _distinct(values: Iterable[Any]) -> list[Any]:
    return sorted(set(values), key=str)

"""What became of faults: torn files, starts until all is made, numbers that are right or wrong."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pyarrow import parquet

from eosflow.storage.files import read_json
from eosflow.storage.tensors import load_tensors
from fuzzing.faults import Fault, fingerprint
from fuzzing.stores import Store, different, numbers

Expected = dict[str, dict[str, str]]
# Most starts that may be needed, and one more for each fault.
STARTS = 3
TRACEBACK = "Traceback (most recent call last)"
ENDS = {".html": b"</html>", ".pdf": b"%%EOF\n", ".png": b"IEND\xaeB`\x82"}
# Files that nothing is made of any more once all is made; `verify` does not read them.
IDLE = ("checkpoint", "configuration", "view", "note of deletion")


@dataclass
class Verdict:
    """How a round went: its faults and, if it did not go well, why."""

    faults: list[Fault]
    bad: str | None = None
    said: str = ""
    outcomes: list[tuple[Fault, str]] = field(default_factory=list)


def torn(results: Path, faults: Sequence[Fault]) -> Iterator[Path]:
    """Files under their final names that are not whole, but for those that were harmed."""
    harmed = {fault.path for fault in faults}
    for path in sorted(results.rglob("*")):
        inside = path.relative_to(results)
        if not path.is_file() or path.resolve() in harmed or _beside(inside):
            continue
        try:
            _read(path)
        except FileNotFoundError:  # an orphan has replaced it
            continue
        except Exception:
            yield path


def _beside(inside: Path) -> bool:
    """Logs, and what is being written or was moved aside."""
    special = inside.parts[0] in ("logs", "benchmarks") and inside.suffix != ".json"
    return special or inside.name.startswith(".") or ".damaged-" in str(inside)


def _read(path: Path) -> None:
    match path.suffix:
        case ".json":
            read_json(path)
        case ".parquet":
            parquet.read_metadata(path)
        case ".safetensors":
            load_tensors(path)
        case ".npz":
            with np.load(path) as arrays:
                dict(arrays)
        case end if end in ENDS:
            if not path.read_bytes().rstrip().endswith(ENDS[end].rstrip()):
                raise ValueError("cut off")


def heal(store: Store, faults: Sequence[Fault]) -> tuple[str | None, str]:
    """Start the same command until it ends well, doing what messages say; why not, and the words.

    If a message says to move something away, this is done. If it names a damaged file, the file is
    deleted, but only after a second start with the same message.
    """
    said, last = "", ""
    for _ in range(STARTS + len(faults)):
        status, output = store.make().end()
        said += output
        if TRACEBACK in output:
            return "traceback", said
        if status == 0:
            return None, said
        for fault in faults:
            in_the_way = fault.how == "hold" and "move it away" in output
            if fault.path and fault.path.name in output and (in_the_way or _gist(output) == last):
                _delete(fault.path)
        last = _gist(output)
    return "stuck", said


def _defect(output: str) -> bool:
    """Whether a traceback of this program is there, by another end than a signal's.

    If Ctrl-C comes while Snakemake begins, it prints a traceback itself; that does not count.
    """
    for part in output.split(TRACEBACK)[1:]:
        end = re.search(r"^\S.*$", part, re.MULTILINE)
        if end and "eosflow/" in part[: end.start()] and not end[0].startswith("KeyboardInt"):
            return True
    return False


def _gist(output: str) -> str:
    """What was said, without times and numbers of jobs."""
    return re.sub(r"\d+", "", output)


def _delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def judge(store: Store, faults: list[Fault], expected: Expected, said: str = "") -> Verdict:
    """Heal the store, compare its numbers, and look at what became of each fault."""
    verdict = Verdict(faults, said=said)
    if _defect(said):
        verdict.bad = "traceback"
        return verdict
    if cut := list(torn(store.results, faults)):
        verdict.bad, verdict.said = "torn", f"{said}\nnot whole: {', '.join(map(str, cut))}"
        return verdict
    verdict.bad, words = heal(store, faults)
    verdict.said += words
    if verdict.bad:
        return verdict
    found = numbers(store.results, store.config)
    wrong = [n for n in different(found, expected[store.config]) if not _unread(store, n, faults)]
    if wrong:
        verdict.bad, verdict.said = "wrong", f"{verdict.said}\nother numbers: {', '.join(wrong)}"
        return verdict
    status, words = store.start("eosflow", "verify", "results").end()
    for fault in faults:
        verdict.outcomes.append((fault, _outcome(fault, verdict.said, words)))
    if any(outcome == "missed" for _, outcome in verdict.outcomes):
        verdict.bad = "missed"
    elif status not in (0, 1) or TRACEBACK in words:
        verdict.bad = "traceback"
    verdict.said += words
    return verdict


def _unread(store: Store, name: str, faults: Sequence[Fault]) -> bool:
    """Whether a file of a run is as a fault left it: nobody reads it, until `verify` does."""
    path = (store.results / name).resolve()
    left = (f for f in faults if f.path == path and fingerprint(path) == f.after)
    return name.startswith("runs/") and any(left)


def _outcome(fault: Fault, said: str, found: str) -> str:
    if fault.path is None:
        return "healed"
    if fault.before == fault.after:
        return "harmless"
    now = fingerprint(fault.path)
    if now != fault.after:
        return "healed"
    if fault.path.name in said or fault.path.name in found:
        return "noticed"
    if now is None and fault.kind == "subset":
        return "harmless"  # finished runs need it no more
    gone = not fault.path.parents[0].exists() or ".damaged-" in str(fault.path)
    return "harmless" if gone or fault.kind in IDLE else "missed"

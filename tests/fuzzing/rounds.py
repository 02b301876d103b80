"""Rounds of the fuzz: each does several faults to one store, and judges what became of them."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from eosflow.storage.files import read_json
from fuzzing.faults import (
    Fault,
    damage,
    fill,
    forget,
    replace_subset,
    step_clock,
    strike,
)
from fuzzing.judging import TRACEBACK, Expected, Verdict, judge
from fuzzing.stores import NOBODY, Store, Working, kept_numbers

Round = Callable[[Store, Expected, random.Random], Verdict]


def harm(store: Store, expected: Expected, chance: random.Random) -> Verdict:
    """Damage files of a finished store, some of which must then be read."""
    faults = damage(store, chance, chance.randint(1, 6))
    if chance.random() < 0.3:
        faults.append(step_clock(store, chance))
    if chance.random() < 0.7:
        faults += forget(store, chance)
    return judge(store, faults, expected)


def kill(store: Store, expected: Expected, chance: random.Random) -> Verdict:
    """Kill jobs and Snakemake again and again while results are made, with damage in between."""
    store.config = chance.choice([config for config in expected if config != "second"])
    faults, said = forget(store, chance), ""
    for _ in range(chance.randint(1, 4)):
        work = store.make()
        fault = strike(store, work, chance)
        said += work.end()[1]
        if fault is None:
            break
        faults.append(fault)
        faults += damage(store, chance, chance.randint(0, 2))
    return judge(store, faults, expected, said)


def full(store: Store, expected: Expected, chance: random.Random) -> Verdict:
    """Make results while there is little room, then make room."""
    faults = [*forget(store, chance), fill(store, chance)]
    try:
        status, said = store.make().end()
        if status == 0:
            faults.pop()  # there was room enough
        elif "the disk is full" not in said:
            return Verdict(faults, "not named", said)
    finally:
        del store.environment["FUZZ_SIZE"]
    return judge(store, faults, expected, said)


def two(store: Store, expected: Expected, chance: random.Random) -> Verdict:
    """Work with two configurations on one store, one after the other, killed in between."""
    faults = [*damage(store, chance, chance.randint(0, 2)), *forget(store, chance)]
    for config in chance.choice((("second", "first"), ("second", "passing"), ("second",))):
        store.config, said = config, ""
        if chance.random() < 0.5:
            work = store.make()
            if fault := strike(store, work, chance):
                faults.append(fault)
            said = work.end()[1]
        verdict = judge(store, faults, expected, said)
        if verdict.bad:
            return verdict
    return verdict


def commands(store: Store, expected: Expected, chance: random.Random) -> Verdict:
    """Delete snapshots and keep evidence, killed and of damaged results, then work on."""
    faults = damage(store, chance, chance.randint(0, 3))
    clean = store.start("eosflow", "clean", "results", "--keep-tables", "--yes")
    faults += _perhaps_kill(clean, "clean", chance, 0.15)
    verdict = judge(store, faults, expected, clean.end()[1])
    if verdict.bad:
        return verdict
    keep = store.start("eosflow", "evidence", "keep", "results", "kept")
    killed = _perhaps_kill(keep, "evidence keep", chance, 2.0)
    verdict.said += keep.end()[1]
    for _ in range(1 + len(faults)):  # what to do is said of one file at a time
        status, words = store.start("eosflow", "evidence", "keep", "results", "kept").end()
        if status == 0:
            break
        named = re.search(r"Make it again by its name: snakemake (\S+)", words)
        if named or "Start the workflow again" in words:
            verdict.said += words + store.make(*named.groups() if named else ()).end()[1]
    keeping, verdict.said = words, verdict.said + words
    if status or kept_numbers(store.kept) != store.evidence:
        verdict.bad = "wrong evidence"
    faults += killed
    verdict.outcomes += [(fault, "healed") for fault in killed]
    if TRACEBACK in keeping:
        verdict.bad = "traceback"
    return verdict


def rivals(store: Store, expected: Expected, chance: random.Random) -> Verdict:
    """Start a second Snakemake and `clean` while the first works, and perhaps kill that."""
    faults = [*forget(store, chance), Fault("Snakemake", "second at once")]
    first = store.make()
    time.sleep(chance.uniform(0, 3))
    store.config = chance.choice(("first", "second"))
    second = store.make()
    clean = store.start("eosflow", "clean", "results", "--keep-tables", "--yes")
    if chance.random() < 0.3 and (fault := strike(store, first, chance)):
        faults.append(fault)
    said = "".join(work.end()[1] for work in (first, second, clean))
    store.config = "first"
    return judge(store, faults, expected, said)


def user(store: Store, expected: Expected, chance: random.Random) -> Verdict:
    """Let another user work with the results, who may write there or not."""
    faults = [*forget(store, chance), Fault("user", "second, who may not write")]
    if shared := chance.random() < 0.6:
        faults[-1] = Fault("user", "second, who may write")
        for path in (store.results, *store.results.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o777 if path.is_dir() else 0o666)
    work = store.make(user=NOBODY)
    if shared and chance.random() < 0.5 and (fault := strike(store, work, chance)):
        faults.append(fault)
    status, said = work.end()
    named = any(words in said for words in ("write to", "you write", "Write-protected"))
    if not shared and (status != 1 or not named):
        return Verdict(faults, "not named", said)
    return judge(store, faults, expected, said)


def _perhaps_kill(work: Working, name: str, chance: random.Random, within: float) -> list[Fault]:
    if chance.random() < 0.5:
        return []
    time.sleep(chance.uniform(0, within))
    if work.ended:
        return []
    number = chance.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(work.pid, number)
    return [Fault(name, number.name)]


def replaced(store: Store, expected: Expected, chance: random.Random) -> Verdict:
    """Replace a subset between kill and resume; then put the former back, as the message says."""
    run, faults, said = _cut_off(store, chance)
    if run is None:
        return judge(store, faults, expected, said)
    subset = store.results / "data" / "subsets" / "dice-subset0.npz"
    before = {path: path.read_bytes() for path in (subset, subset.with_suffix(".json"))}
    faults.append(replace_subset(subset))
    for _ in range(2):
        status, words = store.make().end()
        said += words
        if status == 0 or "Put the former file back" not in words:
            return Verdict(faults, "not named", said)
    for path, content in before.items():
        path.write_bytes(content)
    return judge(store, faults, expected, said)


def confused(store: Store, expected: Expected, chance: random.Random) -> Verdict:
    """Put what a killed run has left in the place of another, on the same examples if there is."""
    run, faults, said = _cut_off(store, chance)
    if run is not None:
        of = {path.name: read_json(path / "run.json")["spec"]["n"] for path in _runs(store)}
        others = [path for path in _runs(store) if path != run]
        place = chance.choice([p for p in others if of[p.name] == of[run.name]] or others)
        shutil.rmtree(place)
        shutil.copytree(run, place)
        faults.append(Fault("run", "take for another"))
    return judge(store, faults, expected, said)


def _runs(store: Store) -> list[Path]:
    return sorted(path for path in store.results.glob("runs/*") if path.is_dir())


def _cut_off(store: Store, chance: random.Random) -> tuple[Path | None, list[Fault], str]:
    """Kill everything while a run is made again: the run, unless it has finished, and the words."""
    run = chance.choice(_runs(store))
    shutil.rmtree(run)
    work = store.make()
    while not (work.ended or (run / "checkpoint.safetensors").exists()):
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.2))  # two runs begin with the same weights
    with contextlib.suppress(ProcessLookupError):
        os.killpg(work.pid, signal.SIGKILL)
    said = work.end()[1]
    finished = (run / "manifest.json").exists()
    return None if finished else run, [Fault("everything", "SIGKILL")], said


ROUNDS: tuple[Round, ...] = (
    *(harm, harm, harm, kill, kill, kill, full, two, commands, rivals, user, replaced, confused),
)

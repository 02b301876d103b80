"""The faults: damage to files, ends of processes, full disks, clocks that are wrong."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eosflow.storage.files import read_json, sha256, write_json
from fuzzing.stores import Store, Working

KINDS = {
    "run record": "runs/*/run.json",
    "run manifest": "runs/*/manifest.json",
    "trajectory": "runs/*/trajectory.parquet",
    "snapshot": "runs/*/snapshots/*.safetensors",
    "checkpoint": "runs/*/checkpoint.safetensors",
    "measured snapshot": "runs/*/*-*/step*.json",
    "index": "runs/*/*-*/index.json",
    "note of deletion": "runs/*/cleaned.json",
    "view": "*/n*/*/*.json",
    "subset": "data/subsets/*.npz",
    "subset record": "data/subsets/*.json",
    "Dice parameters": "data/*.parquet",
    "frame": "*.parquet",
    "frame of a measurement": "measurements/*.parquet",
    "table": "*.csv",
    "figure": "figures/*.p*",
    "table of a study": "studies/*/*.csv",
    "page": "*.html",
    "provenance": "provenance/**/*.json",
    "configuration": "logs/**/*.json",
}


@dataclass
class Fault:
    """What was done: `kind` of thing, `how`, and to which file, with its bytes before and after."""

    kind: str
    how: str
    path: Path | None = None
    before: str | None = None
    after: str | None = None

    def __str__(self) -> str:
        return f"{self.how} {self.kind}" + (f" {self.path}" if self.path else "")


def flip(path: Path, chance: random.Random) -> None:
    """Flip one bit."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def cut(path: Path, chance: random.Random) -> None:
    """Cut the file off somewhere."""
    os.truncate(path, chance.randrange(path.stat().st_size))


def remove(path: Path, chance: random.Random) -> None:
    """Delete the file."""
    path.unlink()


def digit(path: Path, chance: random.Random) -> None:
    """Change one digit of a text; elsewhere flip a bit."""
    content = bytearray(path.read_bytes())
    places = [at for at, byte in enumerate(content) if byte in b"0123456789"]
    if path.suffix not in (".json", ".csv") or not places:
        flip(path, chance)
        return
    at = chance.choice(places)
    content[at] = chance.choice([each for each in b"0123456789" if each != content[at]])
    path.write_bytes(content)


def nest(path: Path, chance: random.Random) -> None:
    """Put lists within lists there, more than a parser can hold."""
    path.write_text("[" * 100_000)


def swap(path: Path, chance: random.Random) -> None:
    """Put another file of its kind there, whole and of something else."""
    others = [p for p in path.parent.parent.rglob(f"*{path.suffix}") if p.is_file() and p != path]
    shutil.copyfile(chance.choice(sorted(others)), path) if others else cut(path, chance)


def hold(path: Path, chance: random.Random) -> None:
    """Put a folder there."""
    path.unlink()
    (path / "inside").mkdir(parents=True)


HARMS: tuple[Callable[[Path, random.Random], None], ...] = (
    *(flip, digit, digit, cut, remove, nest, swap, hold),
)


def fingerprint(path: Path) -> str | None:
    """What tells the contents of a file from others; None if there is none."""
    if not path.is_file():
        return "folder" if path.is_dir() else None
    return hashlib.sha256(path.read_bytes()).hexdigest()


def damage(store: Store, chance: random.Random, count: int) -> list[Fault]:
    """Damage so many files, of the kinds and in the ways that the store is to suffer."""
    faults: list[Fault] = []
    harms = [harm for harm in HARMS if harm.__name__ in store.harms] or HARMS
    for _ in range(count):
        kind = chance.choice(store.kinds or sorted(KINDS))
        found = sorted(p for p in store.results.glob(KINDS[kind]) if p.is_file())
        harmed = {fault.path for fault in faults}
        # A link in a view is harmed as the file that it leads to.
        left = [p for p in found if p.resolve() not in harmed and p.stat().st_size]
        if not left:
            continue
        path, harm = chance.choice(left).resolve(), chance.choice(harms)
        before = fingerprint(path)
        harm(path, chance)
        faults.append(Fault(kind, harm.__name__, path, before, fingerprint(path)))
    return faults


def forget(store: Store, chance: random.Random) -> list[Fault]:
    """Take results away that are then made again, so that what they are made of is read."""
    runs = sorted(path for path in store.results.glob("runs/*") if path.is_dir())
    measured = [path for run in runs for path in sorted(run.glob("*-*"))]
    frames = sorted(store.results.glob("*.parquet"))
    gone = [chance.choice(each) for each in (runs, measured, frames) if chance.random() < 0.5]
    for path in gone or [chance.choice(runs)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return [Fault("several results", "remove")]


def replace_subset(path: Path) -> Fault:
    """Put other examples under the name of a subset, record and all."""
    with np.load(path) as arrays:
        other = {key: arrays[key] for key in arrays.files}
    np.savez(path, **(other | {"inputs": other["inputs"][::-1], "labels": other["labels"][::-1]}))
    record = path.with_suffix(".json")
    write_json(record, read_json(record) | {"sha256": sha256(path)})
    return Fault("subset", "replace between kill and resume")


def step_clock(store: Store, chance: random.Random) -> Fault:
    """Set the time of each file at random, up to a day before or after now."""
    for path in sorted(store.results.rglob("*")):
        when = time.time() + chance.uniform(-86400, 86400)
        os.utime(path, (when, when), follow_symlinks=False)
    return Fault("clock", "step")


def strike(store: Store, work: Working, chance: random.Random) -> Fault | None:
    """End a job, Snakemake or both, at some moment; None if all had ended before.

    The moment is a short while after one of the next jobs has begun, or after the start.
    """
    seen, wanted = set[int](), chance.randint(0, 5)
    jobs: list[tuple[int, str]] = []
    while len(seen) < wanted and not work.ended:
        jobs = list(store.nursery.jobs(work.pid))
        seen.update(pid for pid, _ in jobs)
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.6))
    if work.ended:
        return None
    name = chance.choice(("SIGKILL", "SIGTERM", "SIGINT"))
    number, whom = getattr(signal, name), chance.choice(("job", "job", "Snakemake", "all"))
    jobs = list(store.nursery.jobs(work.pid))
    with contextlib.suppress(ProcessLookupError):
        if whom == "job" and jobs:
            pid, kind = chance.choice(jobs)
            os.kill(pid, number)
            return Fault(f"job {kind}", name)
        if whom == "Snakemake":
            os.kill(work.pid, number)
            return Fault("Snakemake alone", name)
        os.killpg(work.pid, number)
        return Fault("everything", name)
    return None


def fill(store: Store, chance: random.Random) -> Fault:
    """Let no file grow beyond some size, so that some writer meets what a full disk does to it."""
    store.environment["FUZZ_SIZE"] = str(chance.choice((300, 600, 1_000, 3_000, 10_000, 100_000)))
    return Fault("disk", "full")

"""Do harm to a small results folder for some minutes, start the workflow again, and count.

Not a test of the suite: `make fuzz`, or `python tests/fuzz.py MINUTES [SEED]`. Each round damages
one file of a finished results folder, or kills the workflow at a random time while it makes what
was taken away. Then the same command is started until it ends well. The tables must be those of an
undisturbed run to the bit.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from project import Project

TARGETS = ("results/table1.csv", "results/table2.csv", "results/claims.csv")
FRAMES = ("decomposition.parquet", "runs.parquet")
# Most starts that any damage may take.
STARTS = 5
KINDS = {
    "run record": "runs/*/run.json",
    "run manifest": "runs/*/manifest.json",
    "trajectory": "runs/*/trajectory.parquet",
    "snapshot": "runs/*/snapshots/*.safetensors",
    "measured snapshot": "runs/*/decomposition-*/step*.json",
    "index": "runs/*/decomposition-*/index.json",
    "subset": "data/subsets/*.npz",
    "subset record": "data/subsets/*.json",
    "frame": "*.parquet",
    "table": "*.csv",
    "provenance": "provenance/*.json",
}


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


HARMS: tuple[Callable[[Path, random.Random], None], ...] = (flip, flip, cut, remove)


def forget(project: Project, chance: random.Random) -> None:
    """Take away something that is then made again, so that what it is made from is read."""
    if chance.random() < 0.5:
        shutil.rmtree(chance.choice(sorted(project.results.glob("runs/*/decomposition-*"))))
    if chance.random() < 0.7:
        (project.results / "decomposition.parquet").unlink()


def kill(project: Project, chance: random.Random) -> str:
    """Take a run away and kill everything while it is made again."""
    shutil.rmtree(chance.choice(sorted(project.results.glob("runs/*"))))
    process = project.start("--cores", "2", *TARGETS)
    time.sleep(chance.uniform(1, 15))
    name = chance.choice(("SIGKILL", "SIGINT"))
    if process.poll() is None:
        os.killpg(process.pid, getattr(signal, name))
    process.communicate()
    return name


def numbers(results: Path) -> list[str]:
    """All numbers of tables and frames as they are written, but the times that a run took."""
    tables = [pd.read_csv(results / Path(name).name, dtype=str) for name in TARGETS]
    frames = [pd.read_parquet(results / name) for name in FRAMES]
    told = ["seconds", "changed", "commit"]
    return [each.drop(columns=told, errors="ignore").to_csv() for each in (*tables, *frames)]


def outcome(project: Project, expected: list[str]) -> tuple[str, str]:
    """How it went: healed, noticed first, wrong, stuck; and what was said."""
    said = ""
    for start in range(STARTS):
        process = project.start("--cores", "2", *TARGETS)
        output, _ = process.communicate()
        said += output
        if "Traceback" in output:
            return "traceback", said
        if process.returncode == 0:
            if numbers(project.results) != expected:
                return "wrong", said
            return ("noticed, then healed" if start else "healed at once"), said
    return "stuck", said


def main(minutes: float, seed: int) -> int:
    chance = random.Random(seed)
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        whole = Project(Path(folder) / "whole")
        whole.make(*TARGETS)
        expected = numbers(whole.results)
        project = Project(Path(folder) / "harmed")
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            shutil.rmtree(project.results, ignore_errors=True)
            shutil.rmtree(project.root / ".snakemake", ignore_errors=True)
            project.adopt(whole.results)
            what = kind = chance.choice((*KINDS, "kill"))
            if kind == "kill":
                kind = f"kill by {kill(project, chance)}"
            else:
                path = chance.choice(sorted(project.results.glob(KINDS[kind])))
                harm = chance.choice(HARMS)
                forget(project, chance)
                if not path.exists():
                    continue
                harm(path, chance)
                what = f"{harm.__name__} {path.relative_to(project.results)}"
            found, said = outcome(project, expected)
            counts[kind, found] += 1
            if found not in ("healed at once", "noticed, then healed"):
                print(f"{what}: {found}\n{said[-3000:]}", flush=True)
    for (kind, found), count in sorted(counts.items()):
        print(f"{kind:20} {found:22} {count}")
    totals: Counter[str] = Counter()
    for (_, found), count in counts.items():
        totals[found] += count
    sums = ", ".join(f"{count} {found}" for found, count in totals.items())
    print(f"{totals.total()} faults, seed {seed}: {sums}")
    return int(any(totals[bad] for bad in ("wrong", "stuck", "traceback")))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main(float(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0))

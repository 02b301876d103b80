"""Do harm to small results folders for some minutes, start the workflow again, and count.

Not a test of the suite: `make fuzz`, or `python tests/fuzz.py MINUTES [SEED]`. One store for each
core is harmed in rounds: files damaged, swapped and replaced, jobs and Snakemake killed,
disks full, clocks wrong, other users and other Snakemakes at work, several of these at once, with
one configuration or two, while runs are trained, measured, collected, deleted and kept as evidence.
Then the same command is started until it ends well. All numbers must be those of an undisturbed run
to the bit, no file may be half-written under its final name, and what is still damaged must be
named by `eosflow verify`.
"""

from __future__ import annotations

import math
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from fuzzing.judging import Verdict
from fuzzing.mutations import MUTATIONS, Mutation
from fuzzing.nursery import Nursery
from fuzzing.rounds import ROUNDS
from fuzzing.stores import OVERLAYS, Program, Store, kept_numbers, numbers

WORKERS = len(os.sched_getaffinity(0))
COLUMNS = ("tried", "healed", "noticed", "harmless", "wrong", "stuck")
MOST = 30  # rounds until a bug must be found; most are in one or two
MEMORY = Path("/dev/shm")  # syncing a file costs nothing there


class Fuzz:
    """Whole results to begin from, and the counts of what became of faults."""

    def __init__(
        self, folder: Path, nursery: Nursery, program: Program, seed: int, configs: Iterable[str]
    ) -> None:
        self.folder, self.seed = folder, seed
        self._nursery, self._program, self._lock = nursery, program, threading.Lock()
        self.counts: Counter[tuple[str, str]] = Counter()
        self.rounds = self.bad = 0
        whole = self.store("whole")
        self.expected = {}
        for config in configs:  # the last stays
            whole.reset(None)
            whole.config = config
            status, said = whole.make().end()
            assert status == 0, said
            self.expected[config] = numbers(whole.results, config)
        status, said = whole.start("eosflow", "evidence", "keep", "results", "kept").end()
        assert status == 0, said
        self.whole, self.evidence = whole.results, kept_numbers(whole.kept)

    def store(self, name: str) -> Store:
        """A new store."""
        return Store(self.folder / name, self._program, self._nursery)

    @contextmanager
    def mutated(self, name: str) -> Iterator[Store]:
        """A store with a bug in its program, and with the files to damage that may show it."""
        bug, self.rounds, self.bad = MUTATIONS[name], 0, 0
        program = Program(self.folder / f"{name}-program")
        program.edit(bug.file, bug.right, bug.wrong)
        with Nursery(program.root, self.folder / f"{name}-nursery") as nursery:
            store = Store(self.folder / name, program, nursery)
            store.kinds, store.harms = bug.kinds, bug.harms
            yield store

    def work(self, store: Store, end: float = math.inf, bug: Mutation | None = None) -> None:
        """One round after another, until some time or, with a bug, until it is found."""
        store.evidence = self.evidence
        while time.monotonic() < end and not (bug and (self.bad or self.rounds == MOST)):
            with self._lock:
                number, self.rounds = self.rounds, self.rounds + 1
            chance = random.Random(f"{self.seed} {number}")
            act = chance.choice([each for each in ROUNDS if not bug or each.__name__ == bug.act])
            started = time.monotonic()
            try:
                store.reset(self.whole)
                verdict = act(store, self.expected, chance)
            except Exception:
                verdict = Verdict([], "the fuzz itself", traceback.format_exc())
            with self._lock:
                self._count(verdict)
                took = f"{time.monotonic() - started:.0f} s"
                right = f"right, {', '.join(map(str, verdict.faults))}"
                print(f"{number} {act.__name__} {took}: {verdict.bad or right}", flush=True)
        store.reset(None)

    def _count(self, verdict: Verdict) -> None:
        for fault in verdict.faults:
            self.counts[fault.kind, "tried"] += 1
            if verdict.bad:
                self.counts[fault.kind, "stuck" if verdict.bad == "stuck" else "wrong"] += 1
        if verdict.bad:
            self.bad += 1
            print(verdict.said[-6000:], *map(str, verdict.faults), sep="\n  ")
        else:
            for fault, outcome in verdict.outcomes:
                self.counts[fault.kind, outcome] += 1

    def table(self) -> str:
        """All counts, by kind of fault."""
        kinds = sorted({kind for kind, _ in self.counts})
        rows = [f"{'':24}" + "".join(f"{column:>10}" for column in COLUMNS)]
        for kind in kinds:
            rows.append(f"{kind:24}" + "".join(f"{self.counts[kind, c]:10}" for c in COLUMNS))
        sums = [sum(self.counts[kind, column] for kind in kinds) for column in COLUMNS]
        return "\n".join([*rows, f"{'all':24}" + "".join(f"{each:10}" for each in sums)])


@contextmanager
def ready(seed: int = 0, configs: Iterable[str] = reversed(OVERLAYS)) -> Iterator[Fuzz]:
    """A fuzz with all that it begins from."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        folder = Path(name)
        folder.chmod(0o755)  # for the second user
        program = Program(folder / "program")
        with Nursery(program.root, folder / "nursery") as nursery:
            yield Fuzz(folder, nursery, program, seed, configs)


def main(minutes: float, seed: int = 0) -> int:
    """Returns the exit status."""
    with ready(seed) as fuzz, ThreadPoolExecutor(WORKERS) as pool:
        end = time.monotonic() + 60 * minutes
        stores = [fuzz.store(f"harmed{number}") for number in range(WORKERS)]
        for done in [pool.submit(fuzz.work, store, end) for store in stores]:
            done.result()
    print(fuzz.table())
    print(f"{fuzz.rounds} rounds, seed {seed}: {fuzz.bad} went wrong")
    return int(bool(fuzz.bad))


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), *map(int, sys.argv[2:3])))

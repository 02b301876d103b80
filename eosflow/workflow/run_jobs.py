"""What the jobs of a run wait for, and what is deleted when all is measured of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from eosflow.runs.names import place_of
from eosflow.runs.progress import time_left
from eosflow.storage import settings
from eosflow.storage.damage import CLEANED, deleted
from eosflow.storage.digests import canonical_json
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json, readable
from eosflow.workflow.sizes import listed

if TYPE_CHECKING:
    from eosflow.workflow.plan import Plan


class RunJobs:
    """The jobs of the runs of a plan: training, measuring, and deleting snapshots."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._stale, self._results = plan, plan.stale, plan.results

    def before_training(self, folder: str) -> list[str]:
        """The inputs of training: the subset if it must be drawn, and a request if there is one."""
        self._plan.run(folder)
        target = f"{folder}/manifest.json"
        return self._subset(folder, target) + self._stale.request(target, self._stale.run(folder))

    def together(self) -> dict[tuple[str, ...], list[str]]:
        """The measurements that one job takes of a run, and the experiments that it does so for.

        Several beside the decomposition, which has a job of its own: adding a measurement to a
        run's then leaves it alone.
        """
        found: dict[tuple[str, ...], list[str]] = {}
        for experiment in dict.fromkeys(run.experiment for run in self._plan.runs.values()):
            names = tuple(n for n in self._plan.measured_by(experiment) if n != "decomposition")
            if len(names) > 1:
                found.setdefault(names, []).append(experiment)
        return found

    def beside(self, folder: str) -> list[str]:
        """The places of a run's measurements beside the decomposition."""
        names = self._plan.measured_of(folder)
        return [place_of(name) for name in names if name != "decomposition"]

    def measured(self, folder: str, places: Iterable[str]) -> list[str]:
        """The measurements of some places of a run, as JSON for their job."""
        wanted = [self._plan.measurement(folder, place) for place in places]
        return [canonical_json(settings.record(each)) for each in wanted]

    def benchmark(self, folder: str, name: str) -> str:
        """The file with the time that the job took that measured `name` of a run."""
        several = name != "decomposition" and len(self.beside(folder)) > 1
        place = "measurements" if several else place_of(name)
        return f"benchmarks/measure/{folder}/{place}.tsv"

    def before_measuring(self, folder: str, places: Iterable[str]) -> list[str]:
        """The same of measurements of all snapshots; `places` are folders below the run's."""
        needed = (file for place in places for file in self._before_one(folder, place))
        return list(dict.fromkeys(needed))

    def _before_one(self, folder: str, place: str) -> list[str]:
        target = f"{folder}/{place}/index.json"
        measurement = self._plan.measurement(folder, place)
        reason = self._stale.measured(folder, measurement)
        subsets = self._subset(folder, target, reason)
        if measurement.held_out_examples:
            subsets += self._subset(folder, target, reason, held_out=True)
        return subsets + self._stale.request(target, reason)

    def before_one_snapshot(self, folder: str, place: str, step: str) -> list[str]:
        """The same of one snapshot. Raises: UserError where the run has no such snapshot."""
        measurement = self._plan.measurement(folder, place)
        self._check_step(folder, place, step)
        target = f"{folder}/{place}/step{step}.json"
        wants_more = measurement.held_out_examples > 0
        more = self._subset(folder, target, held_out=True) if wants_more else []
        return self._subset(folder, target) + more

    def _subset(
        self, folder: str, target: str, reason: str | None = None, held_out: bool = False
    ) -> list[str]:
        """The run's subset, or the held-out examples, if to be drawn before `target` can be made.

        A finished run does not depend on its subset: a larger one begins with the same rows, and
        other settings give the run another key. Snakemake's `ancient` says nearly that, but where
        an ancient input is made again, Snakemake forgets what else its dependents need.
        """
        run = self._plan.run(folder)
        done = Path(self._results, target).exists() and not (reason or self._stale.run(folder))
        seed = None if held_out else run.subset_seed
        drawn = self._plan.data.stale(run.dataset, seed) is None
        return (
            []
            if done or drawn
            else [f"{self._results}/{self._plan.data.subset(run.dataset, seed)}"]
        )

    def measured_files(self, folder: str) -> list[str]:
        """The lists of all that is measured of a run, for which its snapshots are kept."""
        return [f"{self._results}/{index}" for index in self._plan.indices(folder)]

    def discarded(self, folders: Iterable[str]) -> list[str]:
        """The notes of deleted snapshots, one for each run; none where snapshots are kept."""
        kept = self._plan.config["keep_snapshots"] or self._plan.config["finished_only"]
        return [] if kept else [f"{folder}/{CLEANED}" for folder in folders]

    def _check_step(self, folder: str, place: str, step: str) -> None:
        if self._stale.run(folder) is not None:
            return
        try:
            record = read_json(Path(self._results, folder, "manifest.json"))
        except (OSError, ValueError):  # it is trained first
            return
        known = sorted(int(entry["iteration"]) for entry in record["snapshots"])
        if int(step) not in known:
            raise UserError(
                f"{self._results}/{folder} has no snapshot of iteration {int(step)}. It has "
                f"those of iterations {listed(known)}."
            )
        target = Path(self._results, folder, place, f"step{step}.json")
        if deleted(Path(self._results, folder)) and not target.exists():
            raise UserError(
                f"{target} is not there, and the weight snapshots of {self._results}/{folder} were "
                f"deleted when all was measured that was asked for then. {self.cost([folder])} To "
                "have it all the same, move that folder away: the run is then trained again."
            )

    def cost(self, folders: list[str]) -> str:
        """How long the runs that are there took to train."""
        records = (readable(Path(self._results, folder, "run.json")) for folder in folders)
        seconds = [record["seconds"] for record in records if record and "seconds" in record]
        each = "Its training" if len(folders) == 1 else f"The training of {len(seconds)} of them"
        return f"{each} took {time_left(sum(seconds))}." if seconds else ""

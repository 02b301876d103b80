"""The datasets of a plan: their archives, their subset files, and whether those serve."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from eosflow.datasets.base import SUBSET_VERSION, DatasetSettings, SubsetRecord, subset_file
from eosflow.storage import settings
from eosflow.storage.errors import UserError
from eosflow.workflow import expand, resources
from eosflow.workflow.plan import Plan


class Data:
    """The datasets of one configuration, by the names it gives them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._sizes = expand.subset_sizes(plan.config)
        self._held_out_sizes = expand.held_out_sizes(plan.config)

    def all(self) -> Iterator[tuple[str, int | None]]:
        """The subsets that runs of the plan use, each by its dataset and its seed."""
        runs = self._plan.runs.values()
        yield from dict.fromkeys((run.dataset, run.subset_seed) for run in runs)
        for dataset in dict.fromkeys(run.dataset for run in runs):
            if dataset in self._held_out_sizes:
                yield dataset, None

    @functools.cache  # noqa: B019  (there is one in a process)
    def settings(self, dataset: str) -> DatasetSettings:
        """A dataset by its name."""
        return expand.dataset(self._plan.config, dataset)

    def archives(self, dataset: str) -> list[str]:
        """The downloads that a dataset is made of."""
        names = [item.name for item in self.settings(dataset).facts.archives]
        return [f"{self._plan.results}/data/archives/{name}" for name in names]

    def path(self, dataset: str, seed: int | None) -> str:
        """A subset file; None as seed: that of the held-out examples."""
        return f"{self._plan.results}/data/subsets/{subset_file(dataset, seed)}"

    def size(self, dataset: str, seed: int | None = 0) -> int:
        """Rows of a dataset's subset files. Raises: UserError if nothing uses it."""
        sizes = self._held_out_sizes if seed is None else self._sizes
        if dataset not in sizes:
            what = "measurement wants held-out" if seed is None else "experiment uses the dataset"
            raise UserError(f"No {what} {dataset} of this configuration.")
        return sizes[dataset]

    def memory(self, dataset: str) -> int:
        """Megabytes that drawing a subset takes."""
        return resources.subset_memory(self.settings(dataset), self.size(dataset))

    @functools.cache  # noqa: B019  (there is one in a process)
    def why_not(self, dataset: str, seed: int | None) -> str | None:
        """Why a subset must be drawn, or drawn again; None if it serves."""
        path, wanted = Path(self.path(dataset, seed)), self.settings(dataset)
        if not path.exists():
            return "it is missing"
        record = SubsetRecord.readable(path.with_suffix(".json"))
        if record is None:
            return "its record is missing or damaged"
        if (record.dataset, record.subset_seed) != (dataset, seed):
            return "it is the subset of another dataset or seed"
        if not settings.same(wanted, record.settings):
            return "its dataset has other settings"
        if record.size < (size := self.size(dataset, seed)):
            return f"it has {record.size} rows, {size} are needed"
        if record.subset_version != SUBSET_VERSION:
            return "it was made by another version"
        return None

    def before_drawing(self, dataset: str, seed: int | None) -> list[str]:
        """The inputs of drawing a subset: archives, if it is to be drawn, or a user's own file."""
        self.size(dataset, seed)
        needed = self.archives(dataset) if self.why_not(dataset, seed) else []
        return [*needed, *self.settings(dataset).sources()]


def seed_of(which: str) -> int | None:
    """The seed in the name of a subset, such as `subset3`; None for `held-out` examples."""
    return None if which == "held-out" else int(which.removeprefix("subset"))

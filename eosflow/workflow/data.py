"""The datasets of a configuration: their archives, their subset files, and whether those serve."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from eosflow.datasets import ARCHIVES
from eosflow.datasets.base import DatasetSettings, subset_file
from eosflow.storage import settings
from eosflow.storage.errors import UserError
from eosflow.workflow import expand, resources
from eosflow.workflow.stale import Stale


class Data:
    """The datasets of one configuration, by the names it gives them."""

    def __init__(self, config: Mapping[str, Any], results: str, stale: Stale) -> None:
        self._config = config
        self._results = results
        self._stale = stale
        self._sizes = expand.subset_sizes(config)

    @functools.cache  # noqa: B019  (there is one in a process)
    def settings(self, dataset: str) -> DatasetSettings:
        """A dataset by its name."""
        return expand.dataset(self._config, dataset)

    def record(self, dataset: str) -> dict[str, Any]:
        """A dataset's kind and settings as a record, for its job."""
        return settings.record(self.settings(dataset))

    def archive(self, name: str) -> str:
        """The name of an archive, if there is such a one. Raises: UserError naming all archives."""
        if name not in ARCHIVES:
            raise UserError(f"There is no archive {name}; known are {', '.join(ARCHIVES)}.")
        return name

    def checksum(self, archive: str) -> str:
        """The option that passes on the SHA-256 that the config holds of an archive, if any."""
        known = self._config["checksums"].get(archive)
        return f"--sha256 {known}" if known else ""

    def archives(self, dataset: str) -> list[str]:
        """The downloads that a dataset is made of."""
        names = [item.name for item in self.settings(dataset).facts.archives]
        return [f"{self._results}/data/archives/{name}" for name in names]

    def subset(self, dataset: str, seed: int | None) -> str:
        """A subset file, below the results; None as seed: that of the held-out examples."""
        return f"data/subsets/{subset_file(dataset, seed)}"

    def size(self, dataset: str, seed: int | None = 0) -> int:
        """Rows of a dataset's subset files. Raises: UserError where no experiment uses it."""
        if seed is None:
            return self._held_out_size(dataset)
        if dataset not in self._sizes:
            raise UserError(f"No experiment of the configuration uses the dataset {dataset}.")
        return self._sizes[dataset]

    def _held_out_size(self, dataset: str) -> int:
        sizes = expand.held_out_sizes(self._config)
        if dataset not in sizes:
            raise UserError(f"No measurement of the configuration wants held-out {dataset}.")
        return sizes[dataset]

    def memory(self, dataset: str) -> int:
        """Megabytes that drawing a subset takes."""
        return resources.subset_memory(self.settings(dataset), self.size(dataset))

    @functools.cache  # noqa: B019  (there is one in a process)
    def stale(self, dataset: str, seed: int | None) -> str | None:
        """Why a subset must be drawn, or drawn again; None where it serves."""
        wanted = self.settings(dataset)
        return self._stale.subset(self.subset(dataset, seed), wanted, self.size(dataset, seed))

    def before_drawing(self, dataset: str, seed: int | None) -> list[str]:
        """The inputs of drawing a subset: archives, a file of the user's, and a request if any."""
        reason = self.stale(dataset, seed)
        target = self.subset(dataset, seed)
        needed = self.archives(dataset) if reason else []
        own = self.settings(dataset).sources()
        return [*needed, *own, *self._stale.request(target, reason)]

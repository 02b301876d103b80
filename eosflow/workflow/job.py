"""What a job of the workflow is given, and how it vouches for what it makes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eosflow.storage import provenance
from eosflow.workflow.plan import Plan
from eosflow.workflow.products import Product, products


@dataclass(frozen=True)
class Job:
    """What a job is given: the plan, the rule's wildcards, GPUs to hold and threads to use."""

    plan: Plan
    words: tuple[str, ...]
    gpus: int
    threads: int

    @property
    def root(self) -> Path:
        """The results folder."""
        return Path(self.plan.results)

    @functools.cached_property
    def products(self) -> dict[str, Product]:
        """All products of the plan, by name."""
        return products(self.plan)

    def seal(self, name: str, *packages: str, runs: dict[str, Any] | None = None) -> None:
        """Write the record of a product that has been made."""
        of = self.products[name]
        where = self.root, of.record, of.made, of.made_of, of.sources
        provenance.seal(*where, runs=runs, packages=packages)

    @contextlib.contextmanager
    def reading(self, archives: Iterable[str]) -> Iterator[list[Path]]:
        """The files of fetched archives, verified, to be read inside. Raises: UserError."""
        from eosflow.datasets import ARCHIVES
        from eosflow.datasets.download import verified

        paths = [self.root / "data" / "archives" / name for name in archives]
        checksums = self.plan.config["checksums"]
        with contextlib.ExitStack() as held:
            for path in paths:
                known = ARCHIVES[path.name], path, checksums.get(path.name)
                held.enter_context(verified(*known))
            yield paths

    def verified(self, *names: str) -> None:
        """Compare products with their records. Raises: UserError if one is damaged."""
        for name in names:
            provenance.verify(self.root, self.products[name].record)

"""What a study is: a folder that holds all of it. Standard library and YAML only."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from eosflow.analysis.claims import Claim
    from eosflow.studies.runs import StudyRun

# The name of a claim, its number of each seed (or a Sample), and their settings in words.
Sampled = tuple[str, Any, str]

ROOM = Path(__file__).parent

# Methods by the names that they have in the tables of several studies.
FLOW, DESCENT = "gradient flow", "gradient descent"
CENTRAL, SHAKEN = "central flow", "gradient descent with noise"


@dataclass(frozen=True)
class Study:
    """One study, by the package of its folder. Its modules are imported when they are asked for.

    The folder holds `words.yaml`. A study with `measurements` is made of trained runs, those of the
    experiments that name it, which must have these: its table has a row for each snapshot that was
    measured, unless `table.py` has a `table(runs)`. Any other has `rows.py`, whose `rows()` yields
    the rows of a fixed problem; it gets the files of `archives`, the names of downloads, and
    `options`. There may be `claims.py`, whose `samples(frame)` yields the numbers that its claims
    are judged by, one per seed, each with the claim's name and the settings in words, and
    `figure.py`, whose `draw(frame, title)` draws it. Neither of these two imports torch. Modules
    and words that the folder lacks are taken from the folder `like`. Raise `version` when the
    table's numbers or columns, or the figure, change: only this study is then made again.
    """

    package: str
    version: int
    measurements: tuple[str, ...] = ()
    like: str = ""
    archives: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    experiment: ClassVar[None] = None  # its figure is of no experiment

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return self.package.rsplit(".", 1)[-1]

    @property
    def name(self) -> str:
        """What the configuration and the files call it."""
        return self.folder.replace("_", "-")

    @property
    def of_runs(self) -> bool:
        """Whether it is made of trained and measured runs."""
        return bool(self.measurements)

    @property
    def by_snapshot(self) -> bool:
        """Whether its table has a row for each measured snapshot, with all that was measured."""
        return self.of_runs and not self._home("table")

    @property
    def judged(self) -> bool:
        """Whether there are verdicts on what its sources say."""
        return bool(self._home("claims"))

    @property
    def drawn(self) -> bool:
        """Whether it has a figure, which has its name."""
        return bool(self._home("figure"))

    @property
    def data(self) -> str:
        """The path of its table in the results folder."""
        return f"studies/{self.name}/table.csv"

    @property
    def record(self) -> str:
        """The path of the record of how its table came about."""
        return f"provenance/studies/{self.name}/table.json"

    @property
    def claims(self) -> str:
        """The path of its verdicts, if it is judged."""
        return f"studies/{self.name}/claims.csv"

    @functools.cached_property
    def words(self) -> dict[str, Any]:
        """Its title, caption, text, claims and columns, of `words.yaml`."""
        own = _words(self.folder)
        return _words(self.like) | own if self.like else own

    @functools.cached_property
    def statements(self) -> dict[str, Claim]:
        """What is said of it, by name, of `words.yaml`."""
        from eosflow.analysis import claims

        return claims.read(self.words["claims"])

    @property
    def title(self) -> str:
        """The title of its figure."""
        return str(self.words["title"])

    @property
    def caption(self) -> str:
        """What is drawn in its figure, and what to see in it."""
        return str(self.words["caption"])

    def rows(self, *archives: Path) -> list[dict[str, Any]]:
        """The rows of its table, computed; of a study with a fixed problem."""
        from eosflow.storage.progress import count_progress

        rows: list[dict[str, Any]] = []
        with count_progress(self.name, None, " rows") as progress:
            for row in self._module("rows").rows(*archives, **self.options):
                rows.append(row)
                progress.update()
        return rows

    def table(self, runs: Sequence[StudyRun]) -> pd.DataFrame:
        """Its table, made of its runs. Raises: UserError if one lacks one of `measurements`."""
        for run in runs:
            for name in self.measurements:
                run.measurement(name)
        if self.by_snapshot:
            from eosflow.studies.runs import by_snapshot

            return by_snapshot(runs)
        return cast("pd.DataFrame", self._module("table").table(runs))

    def judge(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The verdicts on what its sources say, from its table."""
        from eosflow.analysis.claims import table

        samples = self._module("claims").samples(frame)
        said = self.statements
        return table(said[name].judged(values, settings) for name, values, settings in samples)

    def draw(self, table: Path | str) -> Figure:
        """Its figure, from the CSV of its table."""
        import pandas as pd

        return cast("Figure", self._module("figure").draw(pd.read_csv(table), self.title))

    def _home(self, module: str) -> str:
        """The folder that has a module for it; empty if none does."""
        homes = (self.folder, self.like)
        return next((home for home in homes if (ROOM / home / f"{module}.py").is_file()), "")

    def _module(self, name: str) -> Any:
        return importlib.import_module(f"eosflow.studies.{self._home(name)}.{name}")


def each(
    measures: Mapping[str, Callable[[Any], float | None]], groups: Iterable[tuple[str, list[Any]]]
) -> Iterator[Sampled]:
    """Samples of all claims, by their measures, in each group: its settings and its seeds."""
    for settings, seeds in groups:
        for name, measure in measures.items():
            yield name, map(measure, seeds), settings


def _words(folder: str) -> dict[str, Any]:
    import yaml

    words = yaml.safe_load((ROOM / folder / "words.yaml").read_text("utf-8"))
    return cast("dict[str, Any]", words)

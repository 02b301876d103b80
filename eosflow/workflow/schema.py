"""What a config may say. Each plug-in says itself what its settings may be."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, ValidationError, create_model
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from eosflow.datasets import ARCHIVES, DATASETS
from eosflow.measurements import MEASUREMENTS
from eosflow.networks import NETWORKS
from eosflow.objectives import CRITERIA
from eosflow.optimizers import OPTIMIZERS
from eosflow.optimizers.batches import BATCHES
from eosflow.runs.snapshots import SNAPSHOTS
from eosflow.runs.spec import Stop
from eosflow.storage.refusals import not_one_of, refusals, unknown_key
from eosflow.storage.settings import UNIQUE, Plugin, Settings, partial, requires
from eosflow.studies import OF_RUNS, STUDIES
from eosflow.workflow.places import TAKEN, strange

# What names a plug-in, what holds the settings, and what there is.
SECTIONS: dict[str, tuple[str, Mapping[str, type[Plugin]]]] = {
    "network": ("networks", NETWORKS),
    "optimizer": ("optimizers", OPTIMIZERS),
    "batch": ("batches", BATCHES),
    "snapshot": ("snapshots", SNAPSHOTS),
    "measure": ("measurements", MEASUREMENTS),
}


class OneOf:
    """The names of a registry, for a text."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return core_schema.literal_schema(self._names)


class Table:
    """A table of settings by the names of plug-ins. Any may be left out: what must be given is
    asked for where the plug-in is used, see `eosflow.workflow.cross_checks`.
    """

    def __init__(self, registry: Mapping[str, type[Plugin]]) -> None:
        self.registry = registry

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._read, handler(source))

    def _read(self, given: dict[str, Any]) -> dict[str, Any]:
        read, lines = {}, list[str]()
        for name, values in given.items():
            try:
                read[name] = as_json(self.model(name, values).model_validate(values))
            except KeyError as error:
                lines.append(error.args[0])
            except ValidationError as error:
                lines += refusals(self.model(name, values), error, name)
        if lines:
            refused = [PydanticCustomError("refused", "{line}", {"line": line}) for line in lines]
            details = [InitErrorDetails(type=each, loc=(), input=None) for each in refused]
            raise ValidationError.from_exception_data("table", details)
        return read

    def model(self, name: str, values: Any) -> type[Settings]:
        """What an entry may be. Raises: KeyError with words, if there is no such entry."""
        if name not in self.registry:
            raise KeyError(unknown_key(name, name, self.registry))
        return partial(self.registry[name])


class Datasets(Table):
    """The table of datasets, in which a name of the user's own has a `kind`."""

    def model(self, name: str, values: Any) -> type[Settings]:
        """What a dataset may be. Raises: KeyError with words, if there is none such."""
        if isinstance(values, Mapping) and "kind" in values:
            kind = values["kind"]
            if not isinstance(kind, str) or kind not in self.registry:
                raise KeyError(not_one_of(f"{name}.kind", kind, self.registry))
            plugin = self.registry[kind]
            return create_model(plugin.__name__, __base__=partial(plugin), kind=(str, kind))
        known = [kind for kind, plugin in self.registry.items() if not requires(plugin)]
        if name not in known:
            line = unknown_key(name, name, known)
            raise KeyError(f"{line} Data of your own say what they are with `kind: table`.")
        return partial(self.registry[name])


def as_json(model: Settings) -> dict[str, Any]:
    """What was given, as JSON has it."""
    return model.model_dump(mode="json", exclude_unset=True)


def _scalars(values: list[Any]) -> list[Any]:
    if not all(isinstance(value, str | int | float) for value in values):
        raise ValueError("they must be numbers, texts, true or false")
    return values


def _nameable(folder: str) -> str:
    if why_not := strange(folder):
        raise ValueError(why_not)
    return os.path.expanduser(folder)  # noqa: PTH111  (this never raises)


def _free(experiment: str) -> str:
    if experiment in TAKEN:
        raise ValueError(f"the results have folders called {', '.join(TAKEN)}")
    return experiment


Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Seeds = Annotated[list[Seed], Field(min_length=1, description="seeds, one run each"), UNIQUE]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
# What the keys of these tables are called.
DatasetName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$",
        description="name of a dataset; up to 80 letters, digits, points, hyphens and underscores",
    ),
]
ExperimentName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9.-]{0,79}$",
        description="name of an experiment; up to 80 small letters, digits and hyphens",
    ),
    AfterValidator(_free),
]


class SeedsOfRuns(Settings):
    """The seeds that runs differ by."""

    initialization: Seeds
    subset: Seeds


class Choices(Settings):
    """What is used and with which settings: of all experiments, or of one alone."""

    network: Annotated[str, OneOf(NETWORKS)] = Field(
        description="the network to train; settings below `networks`"
    )
    networks: Annotated[dict[str, Any], Table(NETWORKS)] = Field(
        description="settings of networks, by their names"
    )
    optimizer: Annotated[str, OneOf(OPTIMIZERS)] = Field(
        description="the optimizer; settings below `optimizers`"
    )
    optimizers: Annotated[dict[str, Any], Table(OPTIMIZERS)] = Field(
        description="settings of optimizers, by their names"
    )
    batch: Annotated[str, OneOf(BATCHES)] = Field(
        description="the examples of a step; settings below `batches`"
    )
    batches: Annotated[dict[str, Any], Table(BATCHES)] = Field(
        description="settings of batches, by their names"
    )
    measure: Annotated[list[Annotated[str, OneOf(MEASUREMENTS)]], UNIQUE] = Field(
        description="the measurements of each snapshot; settings below `measurements`. In an "
        "experiment: only of a study"
    )
    measurements: Annotated[dict[str, Any], Table(MEASUREMENTS)] = Field(
        description="settings of measurements, by their names"
    )
    snapshot: Annotated[str, OneOf(SNAPSHOTS)] = Field(
        description="when to store a weight snapshot; settings below `snapshots`"
    )
    snapshots: Annotated[dict[str, Any], Table(SNAPSHOTS)] = Field(
        description="settings of the schedules of snapshots, by their names"
    )
    stop: Stop = Field(description="when a run ends")


if TYPE_CHECKING:

    class _OwnChoices(Choices): ...

    class _OwnSeeds(SeedsOfRuns): ...
else:
    _OwnChoices, _OwnSeeds = partial(Choices), partial(SeedsOfRuns)


class Experiment(_OwnChoices):
    """Runs on one dataset; what is named here counts for these runs alone."""

    dataset: str = Field(description="the dataset, a name below `datasets`")
    criterion: Annotated[str, OneOf(CRITERIA)] = Field(description="loss of one example")
    n: Annotated[list[Annotated[int, Field(ge=1)]], UNIQUE] = Field(
        description="numbers of training examples", min_length=1
    )
    title: str = Field("", description="name of the experiment in tables and figures", min_length=1)
    target_loss: float = Field(0.0, description="training loss at which a run stops", gt=0)
    study: Annotated[str, OneOf(OF_RUNS)] = Field(
        "", description="the study whose table has these runs, instead of the paper's tables"
    )
    grid: dict[str, Annotated[list[Any], Field(min_length=1), UNIQUE, AfterValidator(_scalars)]] = (
        Field(
            {},
            description="one experiment for each combination of values; the keys are paths of keys",
            min_length=1,
        )
    )
    seeds: _OwnSeeds | None = Field(None, description="the seeds of this experiment only")
    skip_without_archive: bool = Field(
        False, description="leave the experiment out if its archive is missing"
    )


class Figures(Settings):
    """How figures are drawn."""

    against: Literal["iteration", "flow_time"] = Field(description="horizontal axis of the curves")


class Config(Choices):
    """The whole configuration."""

    results_dir: Annotated[str, AfterValidator(_nameable)] = Field(
        description="folder of all results", min_length=1
    )
    mirror: Annotated[str, AfterValidator(os.path.expanduser)] | None = Field(
        description="folder or base URL with the archives under their official names"
    )
    checksums: dict[Annotated[str, OneOf(ARCHIVES)], Sha256] = Field(
        description="SHA-256 of archives, 64 hexadecimal digits, by their names"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        description="device of training and measuring; auto uses a free GPU if there is one"
    )
    keep_snapshots: bool = Field(
        description="keep a run's weight snapshots after all measurements; false deletes them"
    )
    threads: int = Field(description="CPU threads of one training or measuring job", ge=1, le=1024)
    select: Annotated[list[str], UNIQUE] = Field(
        description="the experiments of tables, figures and report; empty for only the studies"
    )
    seeds: SeedsOfRuns = Field(description="the seeds that runs differ by")
    datasets: Annotated[dict[DatasetName, Any], Datasets(DATASETS)] = Field(
        description="settings of datasets, by their names"
    )
    experiments: dict[ExperimentName, Experiment] = Field(
        description="the experiments, by their names", min_length=1
    )
    studies: Annotated[list[Annotated[str, OneOf(STUDIES)]], UNIQUE] = Field(
        description="the studies to make (docs/studies.md)"
    )
    figures: Figures = Field(description="how figures are drawn")

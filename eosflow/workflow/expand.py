"""The runs that a config asks for; the config has been checked before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eosflow.datasets import configured
from eosflow.datasets.base import DatasetSettings
from eosflow.measurements import MEASUREMENTS
from eosflow.measurements.base import Measurement
from eosflow.networks import NETWORKS
from eosflow.optimizers import OPTIMIZERS
from eosflow.optimizers.batches import BATCHES
from eosflow.runs.snapshots import SNAPSHOTS
from eosflow.runs.spec import RunSpec, Stop
from eosflow.storage import settings
from eosflow.storage.errors import UserError
from eosflow.studies import OF_RUNS


def names(config: Mapping[str, Any], experiment: Mapping[str, Any], section: str) -> list[str]:
    """What an experiment takes of a section, such as `optimizer`: its own, or the config's."""
    chosen = experiment.get(section, config[section])
    return list(chosen) if isinstance(chosen, list) else [chosen]


def given(
    config: Mapping[str, Any], experiment: Mapping[str, Any], table: str, kind: str
) -> dict[str, Any]:
    """The settings of a plug-in: the config's, and on top of them the experiment's own."""
    return {**config[table].get(kind, {}), **experiment.get(table, {}).get(kind, {})}


def dataset(config: Mapping[str, Any], name: str) -> DatasetSettings:
    """A dataset of the config by its name. Raises: UserError for one that it does not have."""
    if name not in config["datasets"]:
        raise UserError(f"datasets: {name!r} was given; allowed: {', '.join(config['datasets'])}.")
    return configured(name, config["datasets"][name])


def measurements(config: Mapping[str, Any], experiment: Mapping[str, Any]) -> list[Measurement]:
    """What is to be measured of each snapshot of an experiment's runs; of `{}`: of the config's."""
    return [
        settings.make(MEASUREMENTS, kind, given(config, experiment, "measurements", kind))
        for kind in names(config, experiment, "measure")
    ]


def of_studies(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """The experiments of each study of the config that is made of runs."""
    by_study: dict[str, list[str]] = {study: [] for study in config["studies"] if study in OF_RUNS}
    for name, experiment in config["experiments"].items():
        if experiment.get("study") in by_study:
            by_study[experiment["study"]].append(name)
    return by_study


def chosen(config: Mapping[str, Any]) -> list[str]:
    """The experiments to run: those of `select`, then those of the studies."""
    return [*config["select"], *(name for names in of_studies(config).values() for name in names)]


class Parts:
    """What one experiment of the config is made of."""

    def __init__(self, config: Mapping[str, Any], name: str) -> None:
        experiment = config["experiments"][name]

        def part(section: str, table: str, registry: Mapping[str, type[Any]]) -> Any:
            kind = names(config, experiment, section)[0]
            return settings.make(registry, kind, given(config, experiment, table, kind))

        self.data = dataset(config, experiment["dataset"])
        self.network = part("network", "networks", NETWORKS)
        self.optimizer = part("optimizer", "optimizers", OPTIMIZERS)
        self.batch = part("batch", "batches", BATCHES)
        self.snapshots = part("snapshot", "snapshots", SNAPSHOTS)
        self.measurements = measurements(config, experiment)
        target = experiment.get("target_loss")
        self.target_loss = None if target is None else float(target)
        self.seeds = {**config["seeds"], **experiment.get("seeds", {})}
        limits = {**config["stop"], **experiment.get("stop", {})}
        self.stop = Stop.model_validate(limits)


def expand(config: Mapping[str, Any]) -> dict[str, RunSpec]:
    """Every run of the chosen experiments, by its folder (`EXP/nN/RUN`), in the paper's order."""
    runs: dict[str, RunSpec] = {}
    for name in chosen(config):
        experiment, parts = config["experiments"][name], Parts(config, name)
        for n in experiment["n"]:
            for init_seed in parts.seeds["initialization"]:
                for subset_seed in parts.seeds["subset"]:
                    spec = RunSpec(
                        experiment=name,
                        dataset=experiment["dataset"],
                        data=parts.data,
                        criterion=experiment["criterion"],
                        n=int(n),
                        init_seed=int(init_seed),
                        subset_seed=int(subset_seed),
                        network=parts.network,
                        optimizer=parts.optimizer,
                        batch=parts.batch,
                        target_loss=parts.target_loss,
                        stop=parts.stop,
                        snapshots=parts.snapshots,
                    )
                    runs[str(spec.folder)] = spec
    return runs


def held_out_sizes(config: Mapping[str, Any]) -> dict[str, int]:
    """Rows of each dataset's file of held-out examples, the most that a measurement takes."""
    sizes: dict[str, int] = {}
    for experiment in config["experiments"].values():
        for measurement in measurements(config, experiment):
            if size := measurement.held_out_examples:
                sizes[experiment["dataset"]] = max(sizes.get(experiment["dataset"], 0), size)
    return sizes


def subset_sizes(config: Mapping[str, Any]) -> dict[str, int]:
    """N_max of each dataset: the rows its subset files hold, the largest N that an experiment uses.

    All experiments count, selected or not, so that selecting one leaves the files as they are.
    """
    sizes: dict[str, int] = {}
    for experiment in config["experiments"].values():
        name = experiment["dataset"]
        sizes[name] = max(sizes.get(name, 0), *(int(n) for n in experiment["n"]))
    return sizes

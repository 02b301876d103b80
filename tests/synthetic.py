"""Runs made of formulas: the identities of the method hold exactly, and a and b are known.

Each run rises from iteration 10 to a peak at 0.8 of its length and then falls a little. Between
the two every factor moves along a straight line in its logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from eosflow.results import collect, paper
from eosflow.results.collect import VERSIONED
from eosflow.runs.records import Index, Manifest, Measured, RunRecord, StepRecord
from eosflow.storage.digests import digest
from eosflow.storage.records import Listed

LAYERS = 6
START = 3e-4  # A_1 at iteration 10, of every run
EXPERIMENTS = {
    "dice-ce": ("dice", "cross_entropy", (468, 937, 1875, 3750)),
    "cifar10-ce": ("cifar10", "cross_entropy", (390, 781, 1562, 3125)),
    "cifar10-mse": ("cifar10", "squared_error", (390, 781, 1562)),
    "atrialfibrillation-ce": ("atrialfibrillation", "cross_entropy", (60, 120, 240, 480)),
    "sst-ce": ("sst", "cross_entropy", (461, 922, 1844)),
}
# Experiments that are not the paper's, on its datasets or on a user's own.
OWN = {
    "my-conv": ("cifar10", "cross_entropy", (390, 781, 1562)),
    "iris-gd": ("iris", "squared_error", (30, 60, 120)),
}
SPECIFICATION = {
    "dataset_title": None,
    "network": "6 affine layers of width 64, elu",
    "optimizer": "exponential Euler with steps of at most 0.01, eigenpairs in float32",
    "batch": "all examples",
    "target_loss": 0.01,
}
# What a network that is no chain of layers has none of, by the start of the name.
OF_CHAINS = (
    *("activation_", "preactivation_", "jacobian_", "alignment_"),
    "residual_jacobian",
)
GRADIENT_DESCENT = {"optimizer": "gradient descent, learning rate 0.02"}
# What runs.parquet holds of a run whose optimizer takes no eigenpairs.
UNSEEN = {
    "negative_dominant_iterations": 0,
    "iterations_after_transient": 0,
    "max_sharpness": np.nan,
    "max_residual": np.nan,
}
# Growth from iteration 10 to the peak of what is not alignment: known answers for the tests.
CRITERION_GROWTH = 0.9
JACOBIAN_GROWTH = 1.1  # of each of the five
RATIO_GROWTH = 1.2
OVERLAP_GROWTH = 1.3


def step_name(iteration: int) -> str:
    """The name of a snapshot's file, without its ending."""
    return f"step{iteration:06d}"


def progress(iteration: int, length: int) -> float:
    """0 at iteration 10, 1 at the peak, 0.95 at the end; −0.2 in the transient."""
    peak = 0.8 * length
    if iteration < 10:
        return -0.2
    if iteration <= peak:
        return (iteration - 10) / (peak - 10)
    return 1 - 0.05 * (iteration - peak) / (length - peak)


def snapshot(iteration: int, length: int, peak_alignment: float) -> dict[str, Any]:
    """One decomposition record with the identities E5, E8 (bound), E10 and E12."""
    s = progress(iteration, length)
    alignment = [(START * (peak_alignment / START) ** s) ** (1 / (LAYERS - 1))] * (LAYERS - 1)
    jacobian = [6.0 * JACOBIAN_GROWTH**s] * (LAYERS - 1)
    criterion = 0.5 * CRITERION_GROWTH**s
    record: dict[str, Any] = {
        "iteration": iteration,
        "flow_time": 0.01 * iteration,
        "loss": 1.5 * (0.01 / 1.5) ** (iteration / length),
    }
    layers = []
    for layer in range(1, LAYERS + 1):
        ratio = 0.8 * RATIO_GROWTH**s
        activation = 40.0 / layer
        cumulative = math.prod(alignment[layer - 1 :])
        preactivation = criterion * math.prod(jacobian[layer - 1 :]) * cumulative
        layers.append(ratio * activation * preactivation)
        record[f"activation_ratio_{layer}"] = ratio
        record[f"activation_norm2_{layer}"] = activation
        record[f"preactivation_norm2_{layer}"] = preactivation
        record[f"layer_norm2_{layer}"] = layers[-1]
        if layer < LAYERS:
            record[f"activation_growth_{layer}"] = 1.0 / layer
            record[f"jacobian_norm2_{layer}"] = jacobian[layer - 1]
            record[f"alignment_{layer}"] = alignment[layer - 1]
    record["criterion_norm2"] = criterion
    record["alignment_product"] = math.prod(alignment)
    record["m_norm2"] = 0.9 * sum(layers)
    record["overlap"] = 0.4 * OVERLAP_GROWTH**s
    record["sharpness_gauss_newton"] = record["m_norm2"] * record["overlap"]
    record["sharpness_hessian"] = 1.02 * record["sharpness_gauss_newton"]
    record["sharpness_residual"] = 0.03 * record["sharpness_hessian"]
    record["smallest_eigenvalue_residual"] = -0.02 * record["sharpness_hessian"]
    names = ("hessian", "gauss_newton", "residual", "smallest")
    record |= {f"residual_{name}": 1e-5 for name in names}
    return record


def run(
    experiment: str,
    n: int,
    init_seed: int = 0,
    subset_seed: int = 0,
    noise: float = 0.0,
    stopped: str = "target_loss",
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The snapshots and the row of `runs` of one run; peak A_1 = a·N^b·exp(noise)."""
    dataset, criterion, _ = (EXPERIMENTS | OWN)[experiment]
    laws = {each.key: (each.a, each.b) for each in paper.EXPERIMENTS.values()}
    a, b = laws.get((dataset, criterion), (0.001, 0.4))
    # The peak is itself a snapshot: lengths are multiples of 500 iterations.
    length = 500 * (1 + init_seed % 2 + round(math.log2(n) / 4))
    identity = {
        "experiment": experiment,
        "dataset": dataset,
        "criterion": criterion,
        "n": n,
        "init_seed": init_seed,
        "subset_seed": subset_seed,
    }
    peak = a * n**b * math.exp(noise)
    iterations = [0, 10, *range(100, length + 1, 100)]
    rows = [{**identity, **snapshot(i, length, peak)} for i in iterations]
    row = {
        **identity,
        "parameters": 1000,
        "stopped": stopped,
        "iterations": length,
        "flow_time": 0.01 * length,
        "final_loss": 0.0099,
        "seconds": 2.0 * n,
        "block_products": 2 * length,
        "device": "cpu",
        "threads": 1,
        "key": digest([experiment, n, init_seed, subset_seed]),
        **SPECIFICATION,
        "rejected_steps": 0,
        "unconverged_iterations": 0,
        "negative_dominant_iterations": 2,
        "negative_dominant_after_transient": 0,
        "iterations_after_transient": length - 10,
        "max_sharpness": max(r["sharpness_hessian"] for r in rows if r["iteration"] >= 10),
        "max_residual": 0.005,
        "version_eosflow": "0.1.0",
        "version_python": "3.11.2",
        "version_torch": "2.13.0",
        "version_numpy": "2.4.6",
        "commit": None,
        "changed": None,
    }
    return rows, row


def frames(
    experiments: Iterable[str] = tuple(EXPERIMENTS),
    seeds: int = 2,
    noise: float = 0.0,
    stopped: str = "target_loss",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(decomposition, runs) of all sizes of some experiments, `seeds`² runs each."""
    random = np.random.default_rng(0)
    rows, runs = [], []
    for experiment in experiments:
        for n in (EXPERIMENTS | OWN)[experiment][2]:
            for init in range(seeds):
                for subset in range(seeds):
                    scatter = noise * random.standard_normal()
                    more, one = run(experiment, n, init, subset, scatter, stopped)
                    rows += more
                    runs.append(one)
    return pd.DataFrame(rows), pd.DataFrame(runs)


def without_chains(decomposition: pd.DataFrame, layers: int = 3) -> pd.DataFrame:
    """The snapshots of a network that is no chain, of fewer layers: only what it has is left."""
    deeper = [f"layer_norm2_{layer}" for layer in range(layers + 1, LAYERS + 1)]
    chains = [name for name in decomposition if name.startswith(OF_CHAINS)]
    return decomposition.drop(columns=[*chains, *deeper])


def mixed(seeds: int = 2, noise: float = 0.01) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Dice as in the paper, a convolutional network on CIFAR-10, and gradient descent on own data.

    The last has perceptrons of three layers, and the optimizer looks at no eigenvalues.
    """
    dice, dice_runs = frames(["dice-ce"], seeds, noise)
    conv, conv_runs = frames(["my-conv"], seeds, noise)
    iris, iris_runs = frames(["iris-gd"], seeds, noise)
    shallow = iris.drop(columns=[n for n in iris if n[-2:] in ("_4", "_5", "_6")])
    shallow = shallow.drop(columns=[n for n in shallow if n.endswith("_3") and "layer_" not in n])
    shallow["activation_ratio_3"] = iris["activation_ratio_3"]
    shallow["alignment_product"] = shallow["alignment_1"] * shallow["alignment_2"]
    iris_runs = iris_runs.assign(**GRADIENT_DESCENT, **UNSEEN, dataset_title="Iris flowers")
    conv_runs = conv_runs.assign(network="3 convolutions, relu")
    decomposition = pd.concat([dice, without_chains(conv), shallow], ignore_index=True)
    return decomposition, pd.concat([dice_runs, conv_runs, iris_runs], ignore_index=True)


def describe(record: RunRecord) -> tuple[str, str, str]:
    """Network, optimizer and batch of a run that `write_run_folder` wrote, in words."""
    parts = (record.spec[name] for name in ("network", "optimizer", "batch"))
    network, optimizer, batch = (part["words"] for part in parts)
    return network, optimizer, batch


def described() -> AbstractContextManager[Any]:
    """Within it, `collect` understands the specifications of `write_run_folder`."""
    return mock.patch.object(collect, "describe", describe)


def write_run_folder(
    folder: Path, rows: list[dict[str, Any]], row: dict[str, Any], eigenpairs: bool = True
) -> None:
    """Write the files of one run as training and decomposition leave them.

    Without `eigenpairs` the trajectory is that of an optimizer that takes none.
    """
    identity = ("experiment", "dataset", "criterion", "n", "init_seed", "subset_seed")
    record = {
        name: row[name]
        for name in (
            *("parameters", "stopped", "iterations", "flow_time", "final_loss", "seconds"),
            *("block_products", "device", "threads", "key"),
        )
    }
    dataset = {"name": row["dataset"]}
    if row["dataset_title"] is not None:
        dataset["title"] = row["dataset_title"]
    spec = {name: row[name] for name in (*identity, "target_loss")} | {"dataset": dataset}
    for part, name in (("network", "mlp"), ("optimizer", "exponential-euler"), ("batch", "full")):
        spec[part] = {"name": name, "words": row[part]}
    versions = {name: row[f"version_{name}"] for name in VERSIONED} | {"commit": None}
    sitting = {"device": row["device"], "threads": row["threads"], "versions": versions}
    record |= {
        "spec": spec,
        "trajectory_key": row["key"],
        "status": "finished",
        "versions": versions,
        "sittings": [{"from_iteration": 0, **sitting}],
        "subset": {},
    }
    steps = np.arange(row["iterations"])
    trajectory = pd.DataFrame(
        {
            "iteration": steps,
            "flow_time": 0.01 * steps,
            "step_size": 0.01,
            "loss": 1.5 * (0.01 / 1.5) ** (steps / row["iterations"]),
        }
    )
    if eigenpairs:
        trajectory = trajectory.assign(
            eigenvalue_1=np.where(steps < 10, 1e6, row["max_sharpness"] - steps / 1e6),
            residual=row["max_residual"],
            converged=steps != 3,
            rejected_steps=(steps == 1) * 4,
            negative_dominant=(steps < 2) | (steps == 50),
        )
    else:
        trajectory = trajectory.assign(learning_rate=0.01, gradient_norm=1.0)
    folder.mkdir(parents=True, exist_ok=True)
    trajectory.to_parquet(folder / "trajectory.parquet")
    entry = Listed.of(folder, "trajectory.parquet")
    facts = {"key": row["key"], "stopped": row["stopped"], "trajectory": entry, "snapshots": []}
    manifest = Manifest.model_validate(facts)
    manifest.write(folder / "manifest.json")
    RunRecord.model_validate({**record, "manifest": manifest.model_dump(mode="json")}).write(
        folder / "run.json"
    )
    flat = [{key: value for key, value in r.items() if key not in identity} for r in rows]
    write_measurement(folder, "decomposition", flat)


def write_measurement(folder: Path, place: str, rows: list[dict[str, Any]]) -> None:
    """Write one measurement of a run's snapshots, and its index."""
    entries = []
    for values in rows:
        name = f"{step_name(values['iteration'])}.json"
        record = {"flow_time": 0.0, **values, "key": "0" * 16, "version": 1, "made_with": {}}
        StepRecord.model_validate(record).write(folder / place / name)
        entries.append(Measured.of(folder / place, name, iteration=values["iteration"]))
    manifest = Manifest.read(folder / "manifest.json")
    facts = {"run": manifest.key, "of": manifest.digest, "made_with": [], "snapshots": entries}
    Index.model_validate(facts).write(folder / place / "index.json")

"""How much of the peak alignment is numerics? One small run, other steps and tolerances."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from problems import begun, objective_of, paper_spec
from torch import Tensor

from eosflow.measurements.factors import layerwise
from eosflow.objectives.mlp import MLPObjective
from eosflow.optimizers.flow import ExponentialEuler
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState, follow
from eosflow.runs.spec import RunSpec
from eosflow.storage.files import replacing

WIDTH, EXAMPLES, TRANSIENT = 64, 60, 10
BASE = ExponentialEuler(max_step_size=0.02, eigen_tolerance=0.003, eigen_dtype="float64")
VARIANTS: list[dict[str, Any]] = [
    {},
    {"max_step_size": 0.04},
    {"max_step_size": 0.01},
    {"max_step_size": 0.005},
    {"eigen_tolerance": 0.01},
    {"eigen_tolerance": 0.001},
    {"eigen_tolerance": 0.0001, "max_block_products": 60},
    {"eigen_dtype": "float32"},
    {"eigen_dtype": "float32", "dtype": "float32"},
]


def run(spec: RunSpec, objective: MLPObjective) -> dict[str, Any]:
    """Train to the target loss; peak A_1 beyond the transient, where it was, and the work."""
    every, peak, where, work = 10, 0.0, 0, 0
    train_state = begun(spec, objective)

    def observe(train_state: TrainState, current: Iteration) -> None:
        nonlocal peak, where, work
        work += int(current.step.facts["power_iterations"]) if current.step else 0
        if train_state.iteration >= TRANSIENT and (
            train_state.iteration % every == 0 or not current.step
        ):
            alignment = layerwise(objective, train_state.theta)["alignment_product"]
            if alignment > peak:
                peak, where = alignment, train_state.iteration

    assert spec.target_loss is not None
    until = StopCriteria(spec.target_loss, spec.stop.max_iterations)
    stopped = follow(objective, spec.optimizer, spec.batch, train_state, until, observe)
    return {
        "peak_alignment": peak,
        "peak_iteration": where,
        "iterations": train_state.iteration,
        "flow_time": train_state.flow_time,
        "block_products": work,
        "stopped": stopped,
        "theta": train_state.theta.double(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("results/studies/sensitivity"))
    parser.add_argument("--experiment", default="atrialfibrillation-ce")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    n = {arguments.experiment: {"n": [EXAMPLES]}}
    narrow = {"mlp": {"width": WIDTH}}
    base = paper_spec(arguments.experiment, EXAMPLES, networks=narrow, experiments=n)
    rows: list[dict[str, Any]] = []
    reference: Tensor | None = None
    for variant in VARIANTS:
        knobs = {name: value for name, value in variant.items() if name != "dtype"}
        dtype = variant.get("dtype", "float64")
        optimizer = BASE.model_copy(update=knobs)
        spec = dataclasses.replace(base, optimizer=optimizer)
        objective, source = objective_of(spec)
        if dtype == "float32":
            single = objective.inputs.float()
            network, targets = objective.network, objective.targets
            objective = MLPObjective(network, spec.criterion, single, targets)
        result = run(spec, objective)
        theta = result.pop("theta")
        first = rows[0] if rows else result
        if reference is None:
            reference = theta
        change = result["peak_alignment"] / first["peak_alignment"] - 1
        rows.append(
            {
                "experiment": spec.experiment,
                "n": spec.n,
                "width": WIDTH,
                "data": source,
                "max_step_size": optimizer.max_step_size,
                "eigen_tolerance": optimizer.eigen_tolerance,
                "eigen_dtype": optimizer.eigen_dtype,
                "dtype": dtype,
                **result,
                "change": change,
                "weights_apart": ((theta - reference).norm() / reference.norm()).item(),
            }
        )
        print({**variant, **rows[-1]}, flush=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    with replacing(arguments.output / "sensitivity.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


if __name__ == "__main__":
    main()

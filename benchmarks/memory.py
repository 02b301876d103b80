"""Peak resident memory (GiB) of one training step at the shape of EXPERIMENT N, synthetic data."""

from __future__ import annotations

import sys

import torch
from peak import peak_gibibytes
from problems import begun, mlp, paper_spec, synthetic, vectors_of

from eosflow.objectives.mlp import MLPObjective
from eosflow.optimizers.flow import ExponentialEuler


def main() -> None:
    torch.set_num_threads(1)
    experiment, n = sys.argv[1:]
    # One block product takes as much memory as any other; the basis is written to in full, as if
    # it had needed all its products.
    spec = paper_spec(experiment, int(n))
    assert isinstance(spec.optimizer, ExponentialEuler)
    optimizer = spec.optimizer.model_copy(update={"max_block_products": 1})
    network = mlp(spec).build(spec.shape, spec.outputs)
    objective = MLPObjective(network, spec.criterion, *synthetic(spec))
    state = begun(spec, objective)
    start = vectors_of(state.optimizer, "start")
    state.optimizer = {"start": start, "previous": torch.zeros_like(start), "steps": 1}
    workspace = optimizer.workspace(objective, start)
    workspace.vectors.zero_()
    workspace.images.zero_()
    evaluation = objective.evaluate(state.theta)
    assert optimizer.step(evaluation, state.optimizer) is not None
    print(peak_gibibytes())


if __name__ == "__main__":
    main()

"""The peer: stable-solvers 0.1, a later solver of the paper's first author, on our problems."""

from __future__ import annotations

import itertools
import time
from typing import Any

import stable_solvers
import torch
from torch import Tensor

from eosflow.objectives.mlp import MLPObjective
from eosflow.optimizers.flow import ExponentialEuler
from eosflow.runs.spec import RunSpec

NAME = "stable-solvers 0.1"
Operator = stable_solvers.operators.LossHessian


class Peer:
    """Its exponential Euler on the data of an objective, from θ (P,), with its steps counted.

    eigenvectors: (P, K+1) to start from, in place of noise, as it has it by itself.
    """

    def __init__(
        self,
        spec: RunSpec,
        objective: MLPObjective,
        theta: Tensor,
        eigenvectors: Tensor | None = None,
    ) -> None:
        assert isinstance(spec.optimizer, ExponentialEuler)
        layers: list[torch.nn.Module] = []
        for into, out in itertools.pairwise(objective.network.dimensions):
            layers += [torch.nn.Linear(into, out, dtype=torch.float64), torch.nn.ELU()]
        data = torch.utils.data.TensorDataset(objective.inputs, objective.targets)
        loss = stable_solvers.LossFunction(
            data,
            torch.nn.CrossEntropyLoss(),
            torch.nn.Sequential(*layers[:-1]),
            batch_size=len(data),
        )
        self.solver = stable_solvers.ExponentialEulerSolver(
            theta.clone(), loss, spec.optimizer.max_step_size, spec.outputs
        )
        self.solver.eigvecs = eigenvectors
        self.objective = objective
        self.seconds: list[float] = []
        self.products: list[int] = []  # block products of a step
        self.sizes: list[float] = []

    def step(self) -> Tensor:
        """One step; returns θ (P,) before it."""
        before = self.solver.params.clone()
        product = Operator.forward
        taken = 0

        def counted(*arguments: Any) -> Tensor:
            nonlocal taken
            taken += 1
            return product(*arguments)

        Operator.forward = counted
        try:
            start = time.process_time()
            report = self.solver.step()
            self.seconds.append(time.process_time() - start)
        finally:
            Operator.forward = product
        self.products.append(taken)
        self.sizes.append(report.dt)
        return before

    def residual(self, theta: Tensor) -> float:
        """Relative residual of the eigenvectors that its step from θ used."""
        evaluation = self.objective.evaluate(theta)
        vectors = self.solver.eigvecs
        images = evaluation.hessian(vectors)
        values = (vectors * images).sum(0)
        return float(((images - vectors * values).norm(dim=0) / values[0]).max())

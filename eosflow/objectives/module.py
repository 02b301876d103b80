"""The loss of any network by automatic differentiation, in chunks of examples."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.func import grad, jacrev, jvp, vjp, vmap

from eosflow.networks.module import ModuleNetwork, to_like
from eosflow.objectives.base import WORKSPACE_BYTES, Evaluation, Matrix, Objective, PerExampleGrams
from eosflow.objectives.criteria import Criterion, accuracy, square_root

# Copies of a network's numbers that one product holds: forward and backward, each with its tangent.
COPIES = 6


class ModuleObjective(Objective):
    """𝓛(θ) = E[ℓ(z, y)] over N examples of a network that is a torch module (E0).

    Examples are taken in chunks that fit `workspace_bytes`, and may lie on another device than θ:
    each chunk is moved when it is its turn.

    Raises: ValueError for a criterion that there is not, or one that the targets do not fit.
    """

    network: ModuleNetwork

    def __init__(
        self,
        network: ModuleNetwork,
        criterion: str | Criterion,
        inputs: Tensor,
        targets: Tensor,
        workspace_bytes: int = WORKSPACE_BYTES,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(network, criterion, inputs, targets, workspace_bytes, weight_decay)
        self._numbers = network.numbers()

    def evaluate(self, theta: Tensor) -> ModuleEvaluation:
        return ModuleEvaluation(self, theta)

    @torch.no_grad()
    def loss(self, theta: Tensor) -> float:
        """𝓛 at θ (P,), by a forward pass."""
        total = 0.0
        for inputs, targets in self.chunks(theta):
            outputs = self.network.outputs(theta, inputs)
            total += self.criterion.value(outputs, targets).sum().item()
        return total / self.examples + self.penalty(theta)

    def batch(self, rows: Tensor) -> ModuleObjective:
        chosen = rows.to(self.inputs.device)
        data = self.inputs[chosen], self.targets[chosen]
        kind, decay = type(self), self.weight_decay
        return kind(self.network, self.criterion, *data, self._workspace_bytes, decay)

    def examples_at_once(self, theta: Tensor) -> int:
        """Examples, each with one tangent, that fit the workspace in θ's dtype; at least one."""
        return max(1, self._workspace_bytes // (COPIES * self._numbers * theta.element_size()))

    def chunks(self, theta: Tensor, columns: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of so many examples as fit, in θ's dtype and on its device.

        `columns` is how many tangents each of them carries.
        """
        length = max(1, min(self.examples, self.examples_at_once(theta) // columns))
        for start in range(0, self.examples, length):
            part = slice(start, start + length)
            yield to_like(self.inputs[part], theta), self.targets[part].to(theta.device)

    def per_example_grams(self, theta: Tensor, start: int, stop: int) -> PerExampleGrams:
        """M_l M_lᵀ from the Jacobians of single examples. Implements: E4."""
        inputs = to_like(self.inputs[start:stop], theta)
        jacobians = self._jacobians(theta, inputs)
        with torch.no_grad():
            outputs = self.network.outputs(theta, inputs)
        targets = self.targets[start:stop].to(theta.device)
        m = square_root(self.criterion.hessian(outputs, targets)) @ jacobians
        grams = [m[..., group] @ m[..., group].mT for group in self.network.groups]
        return PerExampleGrams(outputs, torch.stack(grams))

    def _jacobians(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """∂z/∂θ (n, C, P) of each example, of all at once."""

        def outputs_of(parameters: Tensor, example: Tensor) -> Tensor:
            return self.network.outputs(parameters, example[None])[0]

        jacobians: Tensor = vmap(jacrev(outputs_of), in_dims=(None, 0))(theta, inputs)
        return jacobians

    def per_example_numbers(self) -> int:
        """Two Jacobians, and what the network holds for each output."""
        theta = torch.zeros(self.network.parameters, dtype=torch.float64, device=self.inputs.device)
        outputs = self.network.outputs(theta, to_like(self.inputs[:1], theta)).shape[1]
        return outputs * (2 * self.network.parameters + 2 * self._numbers)


class ModuleEvaluation(Evaluation):
    """𝓛 of a module at one θ, see `Evaluation`."""

    objective: ModuleObjective

    def __init__(self, objective: ModuleObjective, theta: Tensor) -> None:
        self.objective = objective
        self.theta = theta
        self.gradient = torch.zeros_like(theta)
        total, correct = 0.0, 0.0
        for inputs, targets in objective.chunks(theta):
            # Plain autograd: the same numbers, and for a small network in 0.4 of torch.func's time.
            with torch.enable_grad():
                variable = theta.detach().requires_grad_()
                outputs = objective.network.outputs(variable, inputs)
                value = objective.criterion.total(outputs, targets)
                (gradient,) = objective.network.run(
                    variable, functools.partial(torch.autograd.grad, value, variable)
                )
            self.gradient += gradient
            total += value.item()
            correct += accuracy(outputs.detach(), targets) * len(inputs)
        self.gradient /= objective.examples
        self.loss = total / objective.examples + objective.penalty(theta)
        self.accuracy = correct / objective.examples
        if decay := objective.weight_decay:
            self.gradient.add_(theta, alpha=decay)

    def _add_product(self, matrix: Matrix, rows: Tensor, result: Tensor) -> None:
        """All rows at once: what they share is computed once.

        Implements: E1 by the derivative of the gradient along each row; E2 as Jᵀ H_ℓ J v; E3 as
        the Hessian of Σ_c g_c z_c with g = ∂ℓ/∂z frozen.
        """
        theta = self.theta.to(rows.dtype)
        at_once = self.objective.examples_at_once(theta)
        for inputs, targets in self.objective.chunks(theta, len(rows)):
            apply = self._linear(matrix, theta, inputs, targets)
            result += vmap(apply, chunk_size=at_once)(rows)
        result /= self.objective.examples

    def _linear(
        self, matrix: Matrix, theta: Tensor, inputs: Tensor, targets: Tensor
    ) -> Callable[[Tensor], Tensor]:
        """v ↦ the product with the sum over these examples, for v (P,)."""
        network, criterion = self.objective.network, self.objective.criterion

        def outputs_of(parameters: Tensor) -> Tensor:
            return network.outputs(parameters, inputs)

        if matrix == "gauss_newton":
            outputs, back = vjp(outputs_of, theta)  # type: ignore[misc]

            def gauss_newton(vector: Tensor) -> Tensor:
                tangent: Tensor = jvp(outputs_of, (theta,), (vector,))[1]
                weighted = criterion.hessian_product(outputs, tangent[None], targets)[0]
                product: Tensor = back(weighted)[0]
                return product

            return gauss_newton
        with torch.no_grad():
            fixed = criterion.gradient(outputs_of(theta), targets)

        def value(parameters: Tensor) -> Tensor:
            outputs = outputs_of(parameters)
            if matrix == "residual":
                return (fixed * outputs).sum()
            return criterion.total(outputs, targets)

        def second(vector: Tensor) -> Tensor:
            product: Tensor = jvp(grad(value), (theta,), (vector,))[1]
            return product

        return second

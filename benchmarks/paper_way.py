"""A snapshot's decomposition the direct way: Jacobians example by example, LOBPCG on 𝓗, G and R."""

from __future__ import annotations

import time

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, lobpcg
from torch import Tensor
from torch.func import grad, jacrev, jvp

from eosflow.objectives.criteria import square_root
from eosflow.objectives.mlp import MLPObjective

TOLERANCE = 1e-4  # relative residual of the eigenvalues, as ours


class PaperWay:
    """The same quantities by automatic differentiation, none of them in closed form."""

    def __init__(self, objective: MLPObjective, theta: Tensor) -> None:
        self.objective, self.theta = objective, theta
        self.sharpness = float("nan")
        self.summary = ""

    def seconds(self, examples: int) -> float:
        """Processor time for all N examples, from a sample of them, and for the eigenvalues."""
        start = time.process_time()
        for index in range(examples):
            self._example(self.objective.inputs[index : index + 1])
        per_example = (time.process_time() - start) / examples
        start = time.process_time()
        products = sum(self._largest(matrix) for matrix in ("gauss_newton", "residual", "hessian"))
        spectra = time.process_time() - start
        count = self.objective.examples
        self.summary = (
            f"{count} × {per_example:.3g} s an example, {spectra:.3g} s for {products} products"
        )
        return count * per_example + spectra

    def _example(self, x: Tensor) -> None:
        """Operator norms of M, M_l, H_ℓ^{1/2} ∂z_L/∂z_l and ∂z_{l+1}/∂z_l of one example."""
        network = self.objective.network
        jacobian = jacrev(lambda theta: _outputs(network.layers(theta), x)[0])(self.theta)  # [C, P]
        root = square_root(self.objective.criterion.hessian(network.outputs(self.theta, x)))[0]
        m = root @ jacobian
        torch.linalg.eigvalsh(m @ m.T)
        for weight, bias in network.layers(m):
            block = torch.cat([weight.flatten(1), bias], 1)
            torch.linalg.eigvalsh(block @ block.T)
        layers = network.layers(self.theta)
        state = torch.addmm(layers[0][1], x, layers[0][0].T)[0]
        backward: list[Tensor] = []
        for weight, bias in layers[1:]:

            def onward(z: Tensor, weight: Tensor = weight, bias: Tensor = bias) -> Tensor:
                return weight @ torch.nn.functional.elu(z) + bias

            backward.append(jacrev(onward)(state))
            torch.linalg.matrix_norm(backward[-1], 2)
            state = onward(state)
        product = root
        for jacobian in reversed(backward):
            product = product @ jacobian
            torch.linalg.matrix_norm(product, 2)

    def _largest(self, matrix: str) -> int:
        """λ_1 by LOBPCG; returns how many products that took."""
        inputs, targets = self.objective.inputs, self.objective.targets
        network, criterion = self.objective.network, self.objective.criterion

        def loss(outputs: Tensor) -> Tensor:
            return criterion.value(outputs, targets).mean()

        def outputs(theta: Tensor) -> Tensor:
            return _outputs(network.layers(theta), inputs)

        calls = 0

        def product(vector: np.ndarray) -> np.ndarray:
            nonlocal calls
            calls += 1
            tangent = torch.from_numpy(np.ascontiguousarray(vector.ravel()))
            hessian = jvp(grad(lambda t: loss(outputs(t))), (self.theta,), (tangent,))[1]
            if matrix == "hessian":
                return hessian.numpy()
            z, dz = jvp(outputs, (self.theta,), (tangent,))
            bent = jvp(grad(loss), (z,), (dz,))[1]
            gauss_newton = torch.func.vjp(outputs, self.theta)[1](bent)[0]
            return (gauss_newton if matrix == "gauss_newton" else hessian - gauss_newton).numpy()

        size = len(self.theta)
        operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
        start = np.random.default_rng(0).standard_normal((size, 1))
        scale = np.linalg.norm(product(start / np.linalg.norm(start)))
        # LOBPCG's tolerance is absolute; it is set once λ_1 is roughly known.
        values, vectors = lobpcg(operator, start, tol=max(scale, 1e-30), maxiter=5)
        values, _ = lobpcg(operator, vectors, tol=TOLERANCE * abs(values[0]), maxiter=300)
        if matrix == "hessian":
            self.sharpness = float(values[0])
        return calls


def _outputs(layers: list[tuple[Tensor, Tensor]], inputs: Tensor) -> Tensor:
    """The network without in-place operations, which torch.func cannot see through."""
    state = inputs
    for weight, bias in layers[:-1]:
        state = torch.nn.functional.elu(torch.nn.functional.linear(state, weight, bias))
    return torch.nn.functional.linear(state, *layers[-1])

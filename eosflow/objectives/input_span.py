"""An MLP whose inputs have more dimensions than there are examples, in the span of the inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from eosflow.networks.perceptron import MLP
from eosflow.objectives.base import Objective
from eosflow.objectives.mlp import MLPObjective


class InputSpan:
    """An MLP's loss with the first layer's weights in coordinates of the span of the inputs.

    Implements: W₁x = (W₁Q)c for inputs X = CQᵀ (N, D), Q (D, N) orthonormal, C (N, N). Gradients
    and images of 𝓗, G and R have their first layer's rows in that span, so eigenvalues, norms and
    the path of the gradient flow are those of the whole, with N columns in W₁ where there were D.
    """

    def __init__(self, whole: MLPObjective) -> None:
        basis, triangle = torch.linalg.qr(whole.inputs.T)
        self._basis = basis
        self._whole = whole.network
        dimensions = (basis.shape[1], *self._whole.dimensions[1:])
        network = MLP(dimensions, self._whole.activation_name, self._whole.gain)
        self.objective = MLPObjective(
            network, whole.criterion.name, triangle.T.contiguous(), whole.targets
        )

    def project(self, theta: Tensor) -> Tensor:
        """The parameters (P',) of the smaller network from those of the whole (P,)."""
        (weight, _), *_ = self._whole.layers(theta)
        return torch.cat([(weight @ self._basis).reshape(-1), theta[weight.numel() :]])

    def lift(self, theta: Tensor, start: Tensor) -> Tensor:
        """The parameters of the whole (P,) from those of the smaller network (P',).

        Implements: W₁ = W₁'Qᵀ + W₁(0)(1 − QQᵀ), with what `start` (P,), where the path began, has
        outside the span: it moves no output, and no gradient moves it.
        """
        (smaller, _), *_ = self.objective.network.layers(theta)
        (first, _), *_ = self._whole.layers(start)
        weight = first + (smaller - first @ self._basis) @ self._basis.T
        return torch.cat([weight.reshape(-1), theta[smaller.numel() :]])


def input_span(objective: Objective) -> InputSpan | None:
    """For an MLP whose inputs have more dimensions than there are examples; None otherwise.

    Made once for an objective: Q costs about 4DN² operations, up to those of a few products with 𝓗.
    """
    # A monitor has another class: its searches begin at vectors like the whole θ.
    if type(objective) is not MLPObjective:
        return None
    # Weight decay acts outside the span too.
    if objective.inputs.shape[1] <= objective.examples or objective.weight_decay:
        return None
    return objective.scratch("input span", lambda: InputSpan(objective))

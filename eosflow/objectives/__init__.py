"""The training loss as a function of the parameters: value, gradient, curvature products.

Standard library alone: torch is imported when an objective is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.networks.base import Network
    from eosflow.objectives.base import Objective

# The names of `eosflow.objectives.criteria.LOSSES`, and what tables call them.
CRITERIA: dict[str, str] = {
    "cross_entropy": "CE",
    "squared_error": "MSE",
    "mean_squared_error": "MSE, mean of outputs",
    "half_squared_error": "MSE, halved",
}
# Those whose targets must be classes.
OF_CLASSES = ("cross_entropy",)


def make(network: Network, criterion: str, inputs: Tensor, targets: Tensor) -> Objective:
    """𝓛 of a network on data: in closed form for an MLP, by torch.func for any other.

    Raises: ValueError for a criterion that there is not, or one that the targets do not fit;
    UserError for inputs that the network cannot read.
    """
    from eosflow.networks.module import ModuleNetwork
    from eosflow.networks.perceptron import MLP
    from eosflow.objectives.mlp import MLPObjective
    from eosflow.objectives.module import ModuleObjective

    if isinstance(network, MLP):
        return MLPObjective(network, criterion, inputs, targets)
    assert isinstance(network, ModuleNetwork), "a network is an MLP or a torch module"
    network.check_inputs(inputs)
    return ModuleObjective(network, criterion, inputs, targets)

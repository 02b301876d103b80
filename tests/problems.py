"""Small random problems for the oracles: a few hundred parameters, ragged chunks, float64."""

from __future__ import annotations

import torch
from torch import Tensor

from eosflow.network import Network
from eosflow.objective import Objective

DIMENSIONS = (5, 6, 7, 6, 4)
CRITERIA = ("cross_entropy", "squared_error")
# Everything at once; three examples at a time, 13 = 4·3 + 1; one at a time.
WORKSPACES = {"whole": 2**28, "ragged": 5800, "single": 1}


def small_problem(
    criterion: str, examples: int = 13, workspace: str = "whole", seed: int = 0
) -> tuple[Objective, Tensor]:
    """An objective and a point θ away from its initialisation (biases are not zero)."""
    stream = torch.Generator().manual_seed(seed)
    network = Network(DIMENSIONS)
    inputs = torch.randn(examples, DIMENSIONS[0], generator=stream, dtype=torch.float64)
    labels = torch.randint(0, DIMENSIONS[-1], (examples,), generator=stream)
    objective = Objective(network, criterion, inputs, labels, WORKSPACES[workspace])
    noise = torch.randn(network.parameters, generator=stream, dtype=torch.float64)
    return objective, network.initialize(seed, 2**0.5) + 0.1 * noise

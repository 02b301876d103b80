"""Small random problems for the oracles: a few hundred parameters, ragged chunks, float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eosflow.networks.mlp import Network
from eosflow.objectives.mlp import Objective

DIMENSIONS = (5, 6, 7, 6, 4)
CRITERIA = ("cross_entropy", "squared_error", "mean_squared_error")
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


def write_noise_subset(path: Path, seed: int) -> Path:
    """Thirty 4×4 images of noise with random labels, in the form of a subset file."""
    numbers = np.random.Generator(np.random.PCG64(seed))
    np.savez(
        path,
        inputs=numbers.integers(0, 256, (30, 16), dtype=np.uint8),
        labels=numbers.integers(0, 6, 30),
        indices=np.arange(30),
        scale=np.float64(1 / 255),
    )
    return path

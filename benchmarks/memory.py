"""Peak resident memory (GiB) of one training step at the shape of EXPERIMENT N, synthetic data."""

from __future__ import annotations

import dataclasses
import re
import resource
import sys
from pathlib import Path

import torch
from problems import _synthetic, paper_spec

from eosflow.networks.mlp import Network
from eosflow.objectives.mlp import Objective
from eosflow.runs.train import advance, initial_state, prepare
from eosflow.spectra.eigenpairs import Workspace


def main() -> None:
    torch.set_num_threads(1)
    experiment, n = sys.argv[1:]
    # One block product takes as much memory as any other; the basis is written to in full, as if
    # it had needed all its room.
    spec = dataclasses.replace(paper_spec(experiment, int(n)), max_block_products=1)
    objective = Objective(Network(spec.dimensions), spec.criterion, *_synthetic(spec))
    state = initial_state(spec, objective)
    state.iteration, state.previous = 1, torch.zeros_like(state.start)
    workspace = Workspace(len(state.theta), state.start.shape[1], state.start)
    workspace.vectors.zero_()
    workspace.images.zero_()
    point = objective.linearize(state.theta)
    pairs = prepare(spec, state, point, workspace)
    following, _, _ = advance(spec, state, objective, point, pairs)
    assert following is not None
    pairs.warm_start(state.previous, out=state.start)
    print(peak_gibibytes())


def peak_gibibytes() -> float:
    """Peak resident memory of this process.

    Not what Linux's getrusage says, which for a new program starts at the peak of the process that
    started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30  # bytes on macOS


if __name__ == "__main__":
    main()

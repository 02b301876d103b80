"""The adaptive flow beside the peer: processor time to the same flow time at no larger error."""

from __future__ import annotations

import dataclasses
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from peer import NAME, Peer
from problems import MachineRate, objective_of, paper_spec
from torch import Tensor

from eosflow.objectives.mlp import MLPObjective
from eosflow.optimizers.batches import FullBatch
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState, begin, follow
from eosflow.optimizers.rosenbrock import ExponentialRosenbrock
from eosflow.runs.spec import RunSpec
from eosflow.spectra.eigenpairs import random_start, top_eigenpairs

# Loosest first: the one that is taken is the first whose error is no larger than the peer's.
TOLERANCES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
REFERENCE_TOLERANCE = 1e-5  # Krylov vectors are float64 there
PAIR_RESIDUAL = 1e-3  # of the eigenvectors that the peer starts from, about what its own have
TURNS = 3


@dataclass
class Path:
    """Where the adaptive flow has led, and what that took."""

    train_state: TrainState
    seconds: float = 0.0
    products: int = 0  # of single vectors
    gradients: int = 1
    rejected: int = 0

    def count(self, _: TrainState, current: Iteration) -> None:
        """Observe an iteration."""
        if current.step is not None:
            self.products += int(current.step.facts["power_iterations"])
            self.gradients += int(current.step.facts["gradients"])
            self.rejected += int(current.step.facts["rejected_steps"])


def flow(objective: MLPObjective, start: TrainState, tolerance: float, length: float) -> Path:
    """Go on from a state by so much flow time."""
    path = Path(dataclasses.replace(start, iteration=0, flow_time=0.0))
    optimizer, until = ExponentialRosenbrock(tolerance=tolerance), StopCriteria(flow_time=length)
    clock = time.process_time()
    reason = follow(objective, optimizer, FullBatch(), path.train_state, until, path.count)
    path.seconds = time.process_time() - clock
    assert reason == "flow_time", reason
    return path


class Beginning:
    """Where both sides start: at the initialisation, or under way at the flow time `since`.

    Under way the flow knows its step size, and the peer is given eigenvectors; it has none at the
    initialisation, where its first steps take up to a hundred products.
    """

    def __init__(self, spec: RunSpec, objective: MLPObjective, since: float) -> None:
        theta = objective.network.initialize(spec.init_seed).to(objective.inputs)
        self.train_state = begin(
            objective, ExponentialRosenbrock(), FullBatch(), theta, spec.init_seed
        )
        self.eigenvectors = None
        if since:
            self.train_state = flow(objective, self.train_state, TOLERANCES[0], since).train_state
            evaluation = objective.evaluate(self.train_state.theta)
            noise = random_start(len(theta), spec.outputs + 1, theta, spec.init_seed)
            pairs = top_eigenpairs(evaluation.hessian, noise, PAIR_RESIDUAL, 200)
            self.eigenvectors = pairs.vectors.clone()


def flow_row(experiment: str, n: int, since: float, length: float, target: float) -> dict[str, Any]:
    """From one place on the flow, at `since`, on by about `length` of flow time, by both.

    The peer goes first; where its last step ended, the other lands to the last bit. Errors are
    distances to the reference, relative to the distance that the reference went.
    """
    spec = paper_spec(experiment, n)
    objective, source = objective_of(spec)
    start = Beginning(spec, objective, since)
    torch.manual_seed(0)  # where the peer has no eigenvectors, it starts from noise
    peer = Peer(spec, objective, start.train_state.theta, start.eigenvectors)
    rate = MachineRate()
    while sum(peer.sizes) < length * (1 - 1e-9):
        rate.sample()
        peer.step()
    end = sum(peer.sizes)
    exact = flow(objective, start.train_state, REFERENCE_TOLERANCE, end).train_state.theta
    distance = (exact - start.train_state.theta).norm()

    def error(theta: Tensor) -> float:
        return float((theta - exact).norm() / distance)

    peer_error = error(peer.solver.params)
    for tolerance in TOLERANCES:
        path = flow(objective, start.train_state, tolerance, end)
        if error(path.train_state.theta) <= peer_error:
            break
    else:
        raise RuntimeError(f"no tolerance leads as close to the flow as the peer: {peer_error:.1e}")
    seconds = []
    for _ in range(TURNS):
        rate.sample()
        seconds.append(flow(objective, start.train_state, tolerance, end).seconds)
    row: dict[str, Any] = {
        "what": "flow at the peer's error"
        + (f", from time {since:g}" if since else ", from the initialisation"),
        "case": experiment,
        "n": n,
        "data": source,
        "machine_gflops": rate.median / 1e9,
        "ours_seconds": statistics.median(seconds),
        "peer_seconds": sum(peer.seconds),
        "ratio": sum(peer.seconds) / statistics.median(seconds),
        "low": sum(peer.seconds) / max(seconds),
        "high": sum(peer.seconds) / min(seconds),
        "target": target,
        "peer": NAME,
        "flow_time": end,
        "tolerance": tolerance,
        "ours_error": error(path.train_state.theta),
        "peer_error": peer_error,
        "ours_steps": path.train_state.iteration,
        "peer_steps": len(peer.sizes),
        "ours_products": path.products,  # single vectors, as the peer's here
        "peer_products": sum(peer.products) * (spec.outputs + 1),
    }
    print(
        "  {case} N = {n}, flow time {flow_time:.4g}: {ours_steps} steps and {ours_products} "
        "products with one vector at tolerance {tolerance:g} to error {ours_error:.1e}; the peer's "
        "{peer_steps} and {peer_products} to {peer_error:.1e}".format(**row),
        flush=True,
    )
    return row

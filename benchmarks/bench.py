"""Speed and memory against the targets: prints a table and writes results/benchmarks.csv.

Everything that is compared is measured in one run, in turns, one thread each, in seconds of
processor time, so that a busy machine slows both sides alike. Rates are given as a fraction of what
large matrix products reach on the machine in the same run.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from flow import flow_row
from paper_way import PaperWay
from peer import NAME, Peer
from problems import (
    MachineRate,
    begun,
    objective_of,
    paper_spec,
    product_operations,
    vectors_of,
)
from torch import Tensor

from eosflow.measurements.factors import decompose
from eosflow.objectives.mlp import MLPEvaluation, MLPObjective
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState, follow
from eosflow.runs.spec import RunSpec
from eosflow.storage.files import replacing

# Beyond the transient, where a step takes as many products as in the rest of the run.
SETTLED = {60: 80, 390: 30, 1562: 40}
ROUNDS, STEPS = {60: 5, 390: 3, 1562: 2}, {60: 8, 390: 2, 1562: 2}
# At this tolerance our residuals are no larger than the peer's, which takes none from its user.
PEER_TOLERANCE = 0.001
# (experiment, N, where on the flow, how far): as far as the peer comes in some minutes.
FLOWS = (
    ("atrialfibrillation-ce", 60, 1.0, 1.0),
    ("atrialfibrillation-ce", 240, 1.0, 0.5),
    ("cifar10-ce", 390, 1.0, 0.2),
)
FLOW_TARGET = 50
MEMORY_LIMITS = {("cifar10-ce", 6250): 4.0, ("sst-ce", 3689): 8.0}  # GiB


class Ours:
    """Training, driven a few steps at a time; what a step costs and how good its pairs are."""

    def __init__(
        self, spec: RunSpec, objective: MLPObjective, train_state: TrainState | None = None
    ) -> None:
        self.spec, self.objective = spec, objective
        self.train_state = train_state or begun(spec, objective)
        self.seconds: list[float] = []
        self.residuals: list[float] = []
        self.products: list[int] = []

    def steps(self, count: int, record: bool = True) -> None:
        """Advance; a step's time is what passes between two observations."""
        clock: list[float] = []

        def observe(_: TrainState, current: Iteration) -> None:
            clock.append(time.process_time())
            if record and current.step is not None:
                self.residuals.append(current.step.facts["residual"])
                self.products.append(int(current.step.facts["power_iterations"]))

        until = StopCriteria(iterations=self.train_state.iteration + count)
        parts = self.objective, self.spec.optimizer, self.spec.batch
        follow(*parts, self.train_state, until, observe)
        if record:
            # The last interval ends after a step that is not taken, without its eigenpairs.
            self.seconds += [after - before for before, after in itertools.pairwise(clock[:-1])]


def step_rows(experiment: str, n: int, target: float) -> tuple[list[dict[str, Any]], Ours]:
    """A step and a block product at (experiment, N), beside the peer's step."""
    spec = paper_spec(experiment, n)
    objective, source = objective_of(spec)
    ours = Ours(spec, objective)
    ours.steps(SETTLED[n], record=False)
    tolerant = spec.optimizer.model_copy(update={"eigen_tolerance": PEER_TOLERANCE})
    tight = Ours(
        dataclasses.replace(spec, optimizer=tolerant),
        objective,
        dataclasses.replace(ours.train_state),
    )
    tight.steps(2, record=False)
    state = ours.train_state.optimizer
    eigenvectors = vectors_of(state, "previous" if "previous" in state else "start").T.double()
    peer = Peer(spec, objective, ours.train_state.theta, eigenvectors)
    share = ProductShare(ours)
    peer.step()
    peer.seconds.clear()
    peer.products.clear()
    residuals = []
    for _ in range(ROUNDS[n]):
        ours.steps(STEPS[n])
        tight.steps(STEPS[n])
        residuals.append(peer.residual(peer.step()))
        share.measure()
    case = {"case": experiment, "n": n, "data": source, "machine_gflops": share.rate.median / 1e9}
    rows = []
    for what, mine in (
        ("exponential Euler step", ours),
        ("exponential Euler step, residual as the peer's", tight),
    ):
        rows.append(
            {
                **case,
                **compare(what, mine.seconds, peer.seconds, target),
                "peer": NAME,
                "ours_residual": max(mine.residuals),
                "peer_residual": max(residuals),
                "ours_products": statistics.mean(mine.products),
                "peer_products": statistics.mean(peer.products),
            }
        )
        print(
            f"  {experiment} N = {n}: {statistics.mean(mine.products):.2f} block products a step "
            f"to residual {max(mine.residuals):.1e}, the peer's "
            f"{statistics.mean(peer.products):.2f} to {max(residuals):.1e}",
            flush=True,
        )
    rows.append({**case, **share.row(), "target": 0.6 if n == 60 else 0.85})
    return rows, ours


class ProductShare:
    """A float64 block product with 𝓗 as a share of the machine's rate, sampled around it."""

    def __init__(self, ours: Ours) -> None:
        self.spec, self.objective = ours.spec, ours.objective
        self.theta = ours.train_state.theta
        self.vectors = vectors_of(ours.train_state.optimizer, "start").double().T
        self.out = torch.empty_like(self.vectors)
        self.rate = MachineRate()
        self.seconds: list[float] = []
        self.measure()  # touches the memory
        self.seconds.clear()

    def measure(self) -> None:
        """Once."""
        evaluation = self.objective.evaluate(self.theta)
        self.rate.sample()
        start = time.process_time()
        evaluation.hessian(self.vectors, self.out)
        self.seconds.append(time.process_time() - start)
        self.rate.sample()

    def row(self) -> dict[str, Any]:
        """Median share and its range."""
        flops = product_operations(self.spec, self.vectors.shape[1])
        shares = [flops / seconds / self.rate.median for seconds in self.seconds]
        return {
            "what": "float64 block product, of the machine's rate",
            "ours_seconds": statistics.median(self.seconds),
            "ratio": statistics.median(shares),
            "low": min(shares),
            "high": max(shares),
        }


def compare(what: str, ours: list[float], peer: list[float], target: float) -> dict[str, Any]:
    """Ratio of medians; its widest spread, from the peer's best over our worst to the reverse."""
    mine, theirs = statistics.median(ours), statistics.median(peer)
    return {
        "what": what,
        "ours_seconds": mine,
        "peer_seconds": theirs,
        "ratio": theirs / mine,
        "low": min(peer) / max(ours),
        "high": max(peer) / min(ours),
        "target": target,
    }


def decomposition_row(ours: Ours, examples: int = 4) -> dict[str, Any]:
    """The decomposition of a snapshot, beside Jacobians by example (a sample) and LOBPCG."""
    objective, theta = ours.objective, ours.train_state.theta
    counted = CountedObjective(objective)
    rate = MachineRate()
    rate.sample()
    start = time.process_time()
    record = decompose(counted, theta)
    mine = time.process_time() - start
    way = PaperWay(objective, theta)
    theirs = way.seconds(examples)
    rate.sample()
    block = len(vectors_of(ours.train_state.optimizer, "start"))
    one = product_operations(ours.spec, block)
    print(
        f"  decomposition: {counted.vectors} single-vector products, "
        f"{mine * rate.median / one:.1f} block products of {block} in time; "
        f"the paper's way: {way.summary}; λ₁(𝓗) {record['sharpness_hessian']:.6g} here, "
        f"{way.sharpness:.6g} there"
    )
    return {
        "case": ours.spec.experiment,
        "n": objective.examples,
        "machine_gflops": rate.median / 1e9,
        **compare("decomposition of a snapshot", [mine], [theirs], 50),
        "peer": "torch.func Jacobians and LOBPCG",
        "ours_products": mine * rate.median / one,
    }


class CountedObjective(MLPObjective):
    """An objective that counts the vectors its products are asked for."""

    def __init__(self, objective: MLPObjective) -> None:
        data = objective.inputs, objective.targets
        super().__init__(objective.network, objective.criterion.name, *data)
        self.vectors = 0

    def evaluate(self, theta: Tensor) -> MLPEvaluation:
        """As of any objective."""
        evaluation = super().evaluate(theta)
        product: Callable[..., Tensor] = evaluation.product

        def counted(matrix: Any, block: Tensor, out: Tensor | None = None) -> Tensor:
            self.vectors += block.shape[1]
            return product(matrix, block, out)

        evaluation.product = counted  # type: ignore[method-assign]
        return evaluation


def memory_row(experiment: str, n: int, limit: float) -> dict[str, Any]:
    """Peak memory of a process that takes one training step, with every buffer in use."""
    command = [sys.executable, str(Path(__file__).with_name("memory.py")), experiment, str(n)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    gibibytes = float(output.split()[-1])
    return {"case": experiment, "n": n, "what": "peak memory, GiB", "ratio": gibibytes} | {
        "target": limit
    }


class Table:
    """Rows as they come, in a file after each, so that a run that is cut off leaves what it had."""

    SHOWN = ("what", "case", "n", "ratio", "low", "high", "target", "ours_seconds", "peer_seconds")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Write the file anew with more rows."""
        self.rows += rows
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as temporary:
            pd.DataFrame(self.rows).to_csv(temporary, index=False)
        for row in rows:
            print(f"  {row['what']}: {row['ratio']:.3g} (target {row['target']:g})", flush=True)

    def print(self) -> None:
        """The table that the targets ask for."""
        frame = pd.DataFrame(self.rows).reindex(columns=list(self.SHOWN))
        print(frame.to_string(index=False, float_format="{:.3g}".format, na_rep=""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks.csv"))
    parser.add_argument(
        "--large",
        action="store_true",
        help="CIFAR-10 at N = 1562 and the peer's first steps too, twenty minutes more",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Loss has increased")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    table = Table(arguments.output)
    rows, _ = step_rows("atrialfibrillation-ce", 60, 15)
    table.add(rows)
    rows, small = step_rows("cifar10-ce", 390, 10)
    table.add(rows)
    table.add([decomposition_row(small)])
    for way in FLOWS:
        table.add([flow_row(*way, FLOW_TARGET)])
    table.add([memory_row(*case, limit) for case, limit in MEMORY_LIMITS.items()])
    if arguments.large:
        rows, _ = step_rows("cifar10-ce", 1562, 10)
        table.add(rows)
        table.add([flow_row("atrialfibrillation-ce", 60, 0.0, 0.5, FLOW_TARGET)])
    table.print()
    print(f"load of the machine: {os.getloadavg()[0]:.1f}; all of it in {arguments.output}")


if __name__ == "__main__":
    main()

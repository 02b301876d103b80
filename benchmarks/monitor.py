"""What a monitor costs a loop: python benchmarks/monitor.py prints a table for each problem.

An MLP of about 100,000 parameters, trained by gradient descent on all its examples; λ₁ at every
tenth step. One problem has random inputs; with the archive of CIFAR-10 in EOSFLOW_REAL_DATA two
have its first 5,000 photographs, one of which comes to its edge half way, the other early. One
thread, in seconds of processor time: with a monitor, and with one that is made to forget where it
last found the eigenvectors. Measurements are set beside the steps of the same run, on a machine
that other work slows down now and then.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from problems import archives
from torch import Tensor, nn

import eosflow
from eosflow.datasets.base import Resources
from eosflow.datasets.cifar import CIFAR10

STEPS, EVERY = 2000, 10
PARTS = ((0, 100), (100, 500), (100, 1000), (1000, STEPS), (100, STEPS), (0, STEPS))  # of the steps
TOLERANCE = 1e-2  # of a residual: λ₁ is off by its square over the gap


class Setup(NamedTuple):
    """A problem: inputs (N, D) with their labels, the width of two hidden layers, and η."""

    name: str
    inputs: Tensor
    labels: Tensor
    width: int
    rate: float


def setups() -> list[Setup]:
    """The problems, as many as there is data for."""
    torch.manual_seed(0)
    inputs = torch.randn(1024, 100)
    labels = (inputs @ torch.randn(100, 10)).argmax(1)
    chosen = [Setup("random inputs", inputs, labels, 256, 0.3)]
    if folder := archives():
        settings = CIFAR10(scaling="standardised")
        archive = folder / settings.facts.archives[0].name
        with tempfile.TemporaryDirectory() as cache:
            pool = settings.open(Resources(archive, Path(cache)))
            rows = torch.from_numpy(pool.inputs(np.arange(5000)) * pool.scale).float()
        labels = torch.from_numpy(pool.labels[:5000])
        chosen += [Setup("CIFAR-10", rows.flatten(1), labels, 32, rate) for rate in (0.02, 0.05)]
    return chosen


class Loop:
    """The same training each time."""

    def __init__(self, setup: Setup) -> None:
        torch.manual_seed(0)
        width = setup.width
        self.module = nn.Sequential(
            *(nn.Linear(setup.inputs.shape[1], width), nn.Tanh()),
            *(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 10)),
        )
        self.inputs, self.labels = setup.inputs, setup.labels
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=setup.rate)
        self.loss = nn.CrossEntropyLoss()

    def monitor(self) -> eosflow.Monitor:
        data = self.inputs, self.labels
        measure = [eosflow.TopEigenvalues(k=1, every=EVERY, tolerance=TOLERANCE)]
        return eosflow.Monitor(
            self.module, self.loss, data, optimizer=self.optimizer, measure=measure
        )

    def run(self, look: Callable[[], object]) -> pd.DataFrame:
        """Seconds of each step, and of what comes after it."""
        seconds = []
        for _ in range(STEPS):
            started = time.process_time()
            self.optimizer.zero_grad()
            self.loss(self.module(self.inputs), self.labels).backward()
            self.optimizer.step()
            stepped = time.process_time()
            look()
            seconds.append((stepped - started, time.process_time() - stepped))
        return pd.DataFrame(seconds, columns=["step", "measurement"])


def cold(monitor: eosflow.Monitor) -> Callable[[], object]:
    """A step of a monitor that begins each search anew."""

    def step() -> object:
        assert monitor._problem is not None
        monitor._problem.forget()
        return monitor.step()

    return step


def error(setup: Setup) -> float:
    """The largest relative difference of a measurement from `eigenpairs`."""
    loop, worst = Loop(setup), 0.0
    monitor = loop.monitor()

    def look() -> None:
        nonlocal worst
        if monitor.step():
            problem = eosflow.Problem(loop.module, loop.loss, (loop.inputs, loop.labels))
            exact = eosflow.eigenpairs(problem, k=1).values[0].item()
            found = monitor.latest["top-eigenvalues/eigenvalue_1"]
            worst = max(worst, abs(found / exact - 1))

    loop.run(look)
    return worst


def compare(setup: Setup) -> None:
    """Print what a monitor adds to the steps of each part, with warm starts and without."""
    size = sum(p.numel() for p in Loop(setup).module.parameters())
    examples = len(setup.labels)
    print(f"{setup.name}, η = {setup.rate}: {size} parameters, {examples} examples", flush=True)
    taken = {}
    for name in ("warm", "cold"):
        loop = Loop(setup)
        monitor = loop.monitor()
        seconds = loop.run(monitor.step if name == "warm" else cold(monitor))
        taken[name] = seconds, monitor.frames["top-eigenvalues"]
    for start, stop in PARTS:
        for name, (seconds, found) in taken.items():
            own, more = seconds[start:stop].sum()
            rows = found[start // EVERY : stop // EVERY]
            at_edge = (rows["over_edge"] >= 1).mean()
            print(
                f"steps {start + 1} to {stop}: {name} {own:6.2f} s and {more:6.2f} s more, "
                f"{more / own:+7.1%}  {rows['products'].mean():4.1f} products each, "
                f"{at_edge:.0%} of them beyond the edge",
                flush=True,
            )
    print(f"largest error of λ₁ against eigenpairs: {error(setup):.1e}", flush=True)


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for setup in setups():
        compare(setup)


if __name__ == "__main__":
    main()

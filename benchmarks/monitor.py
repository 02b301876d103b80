"""What a monitor costs a loop: python benchmarks/monitor.py prints a table.

An MLP of 100,000 parameters, trained by gradient descent on all its examples towards the edge of
stability; λ₁ at every tenth step. In turns, one thread, in seconds of processor time: with a
monitor, and with one that is made to forget where it last found the eigenvectors. Looks are set
beside the steps of the same run, on a machine that other work slows down now and then; the first
100 steps, in which the curvature changes fastest, those after them, and all.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable

import pandas as pd
import torch
from torch import nn

import eosflow

EXAMPLES, STEPS, EVERY, ROUNDS = 1024, 2000, 10, 2
PARTS = ((0, 100), (100, 500), (0, 500), (100, STEPS), (0, STEPS))  # of the steps
RATE = 0.3
TOLERANCE = 1e-2  # of a residual: λ₁ is off by its square over the gap


class Loop:
    """The same training each time; `watch` makes its monitor."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(
            nn.Linear(100, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 10)
        )
        self.inputs = torch.randn(EXAMPLES, 100)
        self.labels = (self.inputs @ torch.randn(100, 10)).argmax(1)
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=RATE)
        self.loss = nn.CrossEntropyLoss()

    def monitor(self) -> eosflow.Monitor:
        data = self.inputs, self.labels
        measure = [eosflow.TopEigenvalues(k=1, every=EVERY, tolerance=TOLERANCE)]
        return eosflow.Monitor(
            self.module, self.loss, data, optimizer=self.optimizer, measure=measure
        )

    def run(self, look: Callable[[], object]) -> tuple[list[float], list[float]]:
        """Seconds of each step, and of what comes after it."""
        steps, looks = [], []
        for _ in range(STEPS):
            started = time.process_time()
            self.optimizer.zero_grad()
            self.loss(self.module(self.inputs), self.labels).backward()
            self.optimizer.step()
            stepped = time.process_time()
            look()
            steps.append(stepped - started)
            looks.append(time.process_time() - stepped)
        return steps, looks


def cold(monitor: eosflow.Monitor) -> Callable[[], object]:
    """A step of a monitor that begins each search anew."""

    def step() -> object:
        assert monitor._problem is not None
        monitor._problem.forget()
        return monitor.step()

    return step


def error() -> float:
    """The largest relative difference of a look from `eigenpairs`."""
    loop, worst = Loop(), 0.0
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


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    size = sum(p.numel() for p in Loop().module.parameters())
    runs: dict[str, list[tuple[list[float], list[float]]]] = {"warm": [], "cold": []}
    products: dict[str, pd.Series] = {}
    for _ in range(ROUNDS):
        for name, taken in runs.items():
            loop = Loop()
            monitor = loop.monitor()
            taken.append(loop.run(monitor.step if name == "warm" else cold(monitor)))
            products[name] = monitor.frames["top-eigenvalues"]["products"]
    print(f"{size} parameters, {EXAMPLES} examples, λ₁ every {EVERY} steps")
    for start, stop in PARTS:
        for name, taken in runs.items():
            own, more = (
                statistics.mean(sum(run[kind][start:stop]) for run in taken) for kind in (0, 1)
            )
            looks = products[name][start // EVERY : stop // EVERY].mean()
            print(
                f"steps {start + 1} to {stop}: {name} {own:6.2f} s and {more:6.2f} s of looks, "
                f"{more / own:+7.1%}  {looks:.1f} block products a look"
            )
    print(f"largest error of λ₁ against eigenpairs: {error():.1e}")


if __name__ == "__main__":
    main()

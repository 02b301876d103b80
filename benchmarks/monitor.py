"""What a monitor costs a loop: python benchmarks/monitor.py prints a table.

An MLP of 100,000 parameters, trained by gradient descent on all its examples towards the edge of
stability; λ₁ at every tenth step. In turns, one thread, in seconds of processor time: the loop
alone, with a monitor, and with one that is made to forget where it last found the eigenvectors;
the first 100 steps, in which the curvature changes fastest, and all 500.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import nn

import eosflow

EXAMPLES, STEPS, EVERY, ROUNDS = 1024, 500, 10, 2
FIRST = 100  # of them, while the curvature changes fastest
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

    def run(self, look: Callable[[], object]) -> tuple[float, float]:
        """Seconds of the first steps, and of all."""
        started, first = time.process_time(), 0.0
        for step in range(STEPS):
            self.optimizer.zero_grad()
            self.loss(self.module(self.inputs), self.labels).backward()
            self.optimizer.step()
            look()
            if step + 1 == FIRST:
                first = time.process_time() - started
        return first, time.process_time() - started


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
    seconds: dict[str, list[tuple[float, float]]] = {"alone": [], "warm": [], "cold": []}
    products: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, times in seconds.items():
            loop = Loop()
            monitor = loop.monitor()
            look = {"alone": lambda: None, "warm": monitor.step, "cold": cold(monitor)}[name]
            times.append(loop.run(look))
            frame = monitor.frames["top-eigenvalues"]
            if len(frame):
                taken = frame["products"]
                products[name] = [taken[: FIRST // EVERY].mean(), taken.mean()]
    print(f"{size} parameters, {EXAMPLES} examples, λ₁ every {EVERY} steps")
    for part, steps in enumerate((FIRST, STEPS)):
        medians = {
            name: statistics.median(pair[part] for pair in times) for name, times in seconds.items()
        }
        for name, median in medians.items():
            looks = f"{products[name][part]:.1f} block products a look" if name in products else ""
            more = median / medians["alone"] - 1
            print(f"first {steps}: {name:6} {median:6.2f} s {more:+7.1%}  {looks}")
    print(f"largest error of λ₁ against eigenpairs: {error():.1e}")


if __name__ == "__main__":
    main()

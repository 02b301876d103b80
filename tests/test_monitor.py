"""A monitor in a loop of one's own: it leaves training as it is, and looks when it is due."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from own_loops import LOSS, Augmented, bits, every, noisy, same
from own_modules import C, D, data_of, mlp, numbers
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import eosflow
from eosflow.library import pace
from eosflow.measurements import MEASUREMENTS


def trained(watch: Callable[..., Any] | None, steps: int = 6) -> list[Any]:
    """Train on shuffled, augmented batches, with a schedule; what is left after it."""
    module = noisy()
    module[4].bias.requires_grad_(False)
    stream = torch.Generator().manual_seed(3)
    loader = DataLoader(Augmented(), batch_size=4, shuffle=True, generator=stream)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    monitor = watch(module, optimizer, loader) if watch else None
    done = 0
    while done < steps:
        for x, y in loader:
            optimizer.zero_grad()
            LOSS(module(x), y).backward()
            optimizer.step()
            schedule.step()
            done += 1
            if monitor is not None:
                monitor.step((x, y))
    if monitor is not None:
        assert all(len(frame) for frame in monitor.frames.values())
    return [*bits(module, optimizer), stream.get_state(), schedule.state_dict()]


DATA: dict[str, Callable[[Any], Any]] = {
    "a fixed set": lambda loader: data_of(),
    "the loop's own loader": lambda loader: loader,
    "the current batch": lambda loader: None,
}


@pytest.mark.parametrize("name", DATA)
def test_training_has_the_same_bits_with_a_monitor_and_without(name: str) -> None:
    def watch(module: nn.Module, optimizer: Any, loader: Any) -> eosflow.Monitor:
        # Those of a chain alone need single links, which batch norm has none of.
        kinds = [kind for n, kind in MEASUREMENTS.items() if n != "chain-factors"]
        with pytest.warns(UserWarning, match="batch norm in training mode"):
            return eosflow.Monitor(
                module,
                LOSS,
                DATA[name](loader),
                optimizer=optimizer,
                measure=[every(kind) for kind in kinds],
                held_out=data_of(seed=5),
            )

    assert same(trained(None), trained(watch))


def test_a_look_that_fails_leaves_training_as_it_was() -> None:
    module = noisy()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)

    class Broken(eosflow.Distance):
        def measure(self, *arguments: Any) -> dict[str, Any]:
            torch.rand(1)
            raise RuntimeError("broken")

    monitor = eosflow.Monitor(module, LOSS, data_of(), measure=[Broken(every=1)])
    before = copy.deepcopy(bits(module, optimizer))
    with pytest.raises(RuntimeError, match="broken"):
        monitor.step()
    assert same(before, bits(module, optimizer))


def test_weights_are_read_in_place_and_in_their_precision(monkeypatch: Any) -> None:
    data = data_of()
    for kind, expected in (
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
    ):
        seen: list[Any] = []

        class Look(eosflow.Distance):
            def measure(self, objective: Any, theta: Tensor, *rest: Any, seen: Any = seen) -> Any:
                seen.append((objective.network.module, theta.dtype, objective.inputs.dtype))
                return super().measure(objective, theta, *rest)

        module = mlp(lambda: nn.GELU("tanh")).to(kind)  # not one of the closed form
        monitor = eosflow.Monitor(module, LOSS, data, measure=[Look(every=1)])
        with monkeypatch.context() as patched:
            patched.setattr(copy, "deepcopy", None)  # the trial is over: nothing is copied
            with torch.no_grad():
                module[2].bias += 1
                monitor.step()
        assert seen == [(module, expected, expected)]
        assert monitor.latest["distance/distance"] == pytest.approx(C**0.5, rel=1e-2)


def test_wrapped_modules_are_read_through() -> None:
    module, data = mlp(), data_of()
    for wrapped in (torch.compile(module), nn.DataParallel(module)):
        monitor = eosflow.Monitor(wrapped, LOSS, data, measure=[eosflow.Distance(every=1)])
        assert monitor.module is module
        monitor.step()


def test_a_run_that_diverges_goes_on_and_says_so() -> None:
    module, data = nn.Linear(D, C), numbers()
    monitor = eosflow.Monitor(
        module, "squared_error", data, measure=[eosflow.TopEigenvalues(k=1, every=1)]
    )
    monitor.step()
    with torch.no_grad():
        module.weight.fill_(math.inf)
    monitor.step()
    frame = monitor.frames["top-eigenvalues"]
    assert frame["eigenvalue_1"].isna().tolist() == [False, True]
    assert not math.isfinite(monitor.latest["top-eigenvalues/loss"])


class Ticking:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("budget", [0.05, 0.5])
def test_the_budget_is_kept(budget: float, count: int, monkeypatch: Any) -> None:
    clock = Ticking()
    monkeypatch.setattr(pace, "clock", clock)
    spent = 0.0

    class Slow(eosflow.Distance):
        def measure(self, *arguments: Any) -> dict[str, Any]:
            nonlocal spent
            cost = 3.0 + random.Random(arguments[2]).random()
            clock.now += cost
            spent += cost
            return super().measure(*arguments)

    module = mlp()
    monitor = eosflow.Monitor(module, LOSS, data_of(), measure=[Slow()] * count, budget=budget)
    looks = []
    for _ in range(1000):
        clock.now += 1.0 + random.Random(monitor.iteration).random()
        monitor.step()
        looks.append(spent)
    training = clock.now - spent
    assert spent / training == pytest.approx(budget, rel=0.2)
    assert looks[0] > 0  # the first step is looked at
    assert looks[500] / 750 == pytest.approx(budget, rel=0.35)  # evenly, not all at the end


def test_what_is_refused() -> None:
    module, data = mlp(), data_of()
    top = eosflow.TopEigenvalues
    with pytest.raises(eosflow.UserError, match=r"TopEigenvalues has no every.*budget=0\.1"):
        eosflow.Monitor(module, LOSS, data, measure=[top()])
    with pytest.raises(eosflow.UserError, match=r"budget: -1 was given"):
        eosflow.Monitor(module, LOSS, data, measure=[top()], budget=-1)
    with pytest.raises(eosflow.UserError, match="it must be a list"):
        eosflow.Monitor(module, LOSS, data, measure=top(every=1))  # type: ignore[arg-type]
    with pytest.raises(eosflow.UserError, match=r"Accuracy needs .*held_out=\(inputs, labels\)"):
        eosflow.Monitor(module, LOSS, data, measure=[eosflow.Accuracy(every=1)])
    with pytest.raises(eosflow.UserError, match=r"keeps 7 of the held-out examples apart.*are 7"):
        held = [eosflow.Accuracy(every=1, validation=7)]
        eosflow.Monitor(module, LOSS, data, measure=held, held_out=data_of())
    with pytest.raises(eosflow.UserError, match=r"OrderedDict was given; it must be the torch"):
        eosflow.Monitor(module.state_dict(), LOSS, data)  # type: ignore[arg-type]
    with pytest.raises(eosflow.UserError, match=r"monitor\.step\(\(inputs, labels\)\)"):
        eosflow.Monitor(module, LOSS, measure=[top(every=1)]).step()
    workers = DataLoader(TensorDataset(*data), num_workers=1, persistent_workers=True)
    with pytest.raises(eosflow.UserError, match="a second loader"):
        eosflow.Monitor(module, LOSS, workers)
    with pytest.raises(eosflow.UserError, match="none of its parameters"):
        eosflow.Monitor(module, LOSS, data, optimizer=torch.optim.SGD(mlp().parameters(), lr=1))

"""A monitor in a loop of one's own: it measures what is there, and leaves training as it is."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from own_modules import C, D, data_of, mlp, numbers
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import eosflow
from eosflow.library import pace
from eosflow.measurements import MEASUREMENTS

LOSS = nn.CrossEntropyLoss()


def noisy() -> nn.Module:
    """What a look could disturb: dropout, batch norm, an activation in place."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(D, 8), nn.BatchNorm1d(8), nn.ELU(inplace=True), nn.Dropout(0.3), nn.Linear(8, C)
    )


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Each example changed by random numbers of all three kinds, whenever it is read."""

    def __init__(self) -> None:
        self.inputs, self.labels = data_of()

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        shift = random.random() + float(np.random.random())
        example = self.inputs[row]
        return example + shift * torch.randn_like(example), self.labels[row]


def bits(module: nn.Module, optimizer: torch.optim.Optimizer) -> list[Any]:
    """All that training goes on from."""
    states = [optimizer.state_dict(), module.state_dict()]
    flat = torch.utils._pytree.tree_leaves(states)
    gradients = [p.grad for p in module.parameters()]
    modes = [layer.training for layer in module.modules()]
    in_place = [vars(layer).get("inplace") for layer in module.modules()]
    generators = [torch.get_rng_state(), random.getstate(), *np.random.get_state()[1:3]]
    return [*flat, *gradients, modes, in_place, *generators]


def same(one: list[Any], other: list[Any]) -> bool:
    return all(
        torch.equal(a, b) if isinstance(a, Tensor) else np.all(a == b)
        for a, b in zip(one, other, strict=True)
    )


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


def every(kind: type[Any]) -> Any:
    return kind(every=3)


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


def stepped(monitor: eosflow.Monitor, optimizer: Any, data: Any, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        LOSS(monitor.module(data[0]), data[1]).backward()
        optimizer.step()
        monitor.step()


def test_eigenvalues_are_those_of_a_problem_made_anew_at_each_look() -> None:
    module, data = mlp(), data_of()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.5)
    measure = [
        eosflow.TopEigenvalues(k=3, every=5),
        eosflow.GradientAlignment(k=3, every=5, tolerance=1e-5),
    ]
    monitor = eosflow.Monitor(module, "cross_entropy", data, optimizer=optimizer, measure=measure)
    for _ in range(4):
        stepped(monitor, optimizer, data, 5)
        problem = eosflow.Problem(module, "cross_entropy", data)
        pairs = eosflow.eigenpairs(problem, k=3)
        latest = monitor.latest
        found = [latest[f"top-eigenvalues/eigenvalue_{m}"] for m in (1, 2, 3)]
        assert found == pytest.approx(pairs.values.tolist(), rel=1e-3)
        assert latest["top-eigenvalues/loss"] == pytest.approx(problem.loss, rel=1e-6)
        assert latest["top-eigenvalues/over_edge"] == pytest.approx(found[0] * 0.3 / 3, rel=1e-6)
        gradient = problem.objective.evaluate(problem.theta).gradient
        share = (pairs.vectors.T @ gradient).square().sum() / gradient.square().sum()
        assert latest["gradient-alignment/gradient_share"] == pytest.approx(share.item(), rel=1e-2)
    frame = monitor.frames["top-eigenvalues"]
    assert list(frame["iteration"]) == [5, 10, 15, 20]
    assert frame["converged"].all()
    # A warm start: the search that comes first is the longest.
    assert frame["products"].iloc[1:].max() < frame["products"].iloc[0]
    assert all(isinstance(value, float) for value in monitor.latest.values())


def test_another_eigenvalue_that_overtakes_is_seen() -> None:
    """A diagonal 𝓗 whose second entry grows past the first, which stays an exact eigenpair."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(6, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight

    module = Scaled()
    measure = [eosflow.TopEigenvalues(k=1, every=1)]
    monitor = eosflow.Monitor(module, "half_squared_error", None, measure=measure)
    found = []
    for second in torch.linspace(0.5, 1.5, 11):
        scale = torch.tensor([1.0, float(second), 0.3, 0.2, 0.1, 0.05], dtype=torch.float64)
        monitor.step((torch.diag(scale.sqrt()) * 6**0.5, torch.zeros(6, 6)))
        found.append(monitor.latest["top-eigenvalues/eigenvalue_1"])
    assert found == pytest.approx(np.maximum(1, np.linspace(0.5, 1.5, 11)), rel=1e-3)


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

        module = mlp().to(kind)
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


def test_frames_go_to_parquet_and_back(tmp_path: Any) -> None:
    module, data = mlp(), data_of()
    optimizer = torch.optim.Adam(module.parameters())
    measure = [every(kind) for kind in MEASUREMENTS.values()]
    monitor = eosflow.Monitor(
        module, LOSS, data, optimizer=optimizer, measure=measure, held_out=data_of(seed=5)
    )
    stepped(monitor, optimizer, data, 6)
    for name, frame in monitor.frames.items():
        frame.to_parquet(tmp_path / f"{name}.parquet")
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), frame)


def test_held_out_examples_are_those_that_are_given() -> None:
    module, data, other = mlp(), data_of(), data_of(seed=5)
    monitor = eosflow.Monitor(
        module, LOSS, data, measure=[eosflow.Accuracy(every=1)], held_out=other
    )
    monitor.step()
    outputs = module(other[0])
    latest = monitor.latest
    assert latest["accuracy/held_out_loss"] == pytest.approx(LOSS(outputs, other[1]).item())
    right = (outputs.argmax(1) == other[1]).double().mean().item()
    assert latest["accuracy/held_out_accuracy"] == pytest.approx(right)


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
    with pytest.raises(eosflow.UserError, match="loader of its own"):
        eosflow.Monitor(module, LOSS, workers)
    with pytest.raises(eosflow.UserError, match="none of its parameters"):
        eosflow.Monitor(module, LOSS, data, optimizer=torch.optim.SGD(mlp().parameters(), lr=1))

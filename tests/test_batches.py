"""Batches: each epoch sees every example once, draws are uniform, and a stored state goes on."""

from __future__ import annotations

import dataclasses
import itertools
import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from eosflow.networks.mlp import MLPSettings
from eosflow.networks.module import ModuleNetwork, he_normal
from eosflow.objectives.mlp import MLPObjective
from eosflow.objectives.module import ModuleObjective
from eosflow.optimizers.augmentation import _changes, crop_and_flip
from eosflow.optimizers.batches import Batches, Shuffled, State, WithReplacement
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.loop import StopCriteria, begin, follow
from eosflow.storage.errors import UserError


def of(examples: int) -> Any:
    """What the batches ask of an objective."""
    return SimpleNamespace(examples=examples)


RANDOM: list[Batches] = [Shuffled(size=7), WithReplacement(size=7)]


def drawn(batches: Batches, state: State, draws: int) -> tuple[list[Tensor], State]:
    found = []
    for _ in range(draws):
        rows, state = batches.draw(state)
        found.append(rows)
    return found, state


def order(examples: int, seed: int, epoch: int, size: int) -> list[int]:
    batches = Shuffled(size=size)
    per_epoch = -(-examples // size)
    _, state = drawn(batches, batches.init(of(examples), seed), epoch * per_epoch)
    found, _ = drawn(batches, state, per_epoch)
    return torch.cat(found).tolist()


@pytest.mark.parametrize("examples, size", [(30, 7), (30, 10), (30, 1), (30, 30), (1, 1)])
def test_an_epoch_sees_every_example_once(examples: int, size: int) -> None:
    batches = Shuffled(size=size)
    state = batches.init(of(examples), 5)
    per_epoch = -(-examples // size)
    for epoch in range(3):
        assert state["epoch"] == epoch
        found, state = drawn(batches, state, per_epoch)
        assert sorted(torch.cat(found).tolist()) == list(range(examples))
        assert [len(rows) for rows in found[:-1]] == [size] * (per_epoch - 1)
        assert len(found[-1]) == examples - size * (per_epoch - 1)
    assert state == {"examples": examples, "seed": 5, "epoch": 3, "position": 0}


def test_orders_differ_by_epoch_and_seed_and_not_by_size() -> None:
    orders = [order(30, seed, epoch, 7) for seed in range(4) for epoch in range(4)]
    assert all(first != second for first, second in itertools.combinations(orders, 2))
    assert order(30, 2, 1, 7) == order(30, 2, 1, 10) == orders[9]


def test_draws_with_replacement_are_uniform_and_independent() -> None:
    batches = WithReplacement(size=20)
    found, _ = drawn(batches, batches.init(of(20), 0), 2000)
    rows = torch.stack(found)
    assert chisquare(torch.bincount(rows.flatten(), minlength=20).numpy()).pvalue > 1e-3
    # Pairs within a batch, and pairs of one batch with the next, whose streams differ by a counter.
    for first, second in ((rows[:, 0], rows[:, 1]), (rows[:-1].flatten(), rows[1:].flatten())):
        pairs = torch.bincount(first * 20 + second, minlength=400)
        assert chisquare(pairs.numpy()).pvalue > 1e-3
    # A batch of 20 of 20 examples holds 20 (1 − (1 − 1/20)²⁰) = 12.8 different ones on average.
    different = sum(len(set(batch.tolist())) for batch in found) / len(found)
    assert different == pytest.approx(20 * (1 - 0.95**20), abs=0.15)


@pytest.mark.parametrize("batches", RANDOM, ids=lambda item: item.name)
@pytest.mark.parametrize("stop", [0, 1, 4, 5, 13])
def test_a_stored_state_goes_on_with_the_same_rows(batches: Batches, stop: int) -> None:
    whole, end = drawn(batches, batches.init(of(30), 11), 20)
    _, middle = drawn(batches, batches.init(of(30), 11), stop)
    kept = json.dumps(middle)
    batches.draw(middle)[0].zero_()  # a caller may overwrite the rows
    rest, other_end = drawn(batches, json.loads(kept), 20 - stop)
    assert all(map(torch.equal, whole[stop:], rest))
    assert other_end == end
    assert json.dumps(middle) == kept  # drawing left it as it was


def test_rows_are_the_same_on_every_machine() -> None:
    """The streams are part of a run: a change of them would change every stored run."""
    assert order(8, 0, 0, 8) == [5, 6, 1, 3, 7, 4, 0, 2]
    found, _ = drawn(WithReplacement(size=4), WithReplacement(size=4).init(of(8), 0), 2)
    assert torch.stack(found).tolist() == [[2, 3, 2, 1], [0, 7, 2, 1]]


@pytest.mark.parametrize("batches", RANDOM, ids=lambda item: item.name)
def test_more_examples_than_there_are_is_an_error(batches: Batches) -> None:
    batches.init(of(7), 0)
    with pytest.raises(UserError, match=r"size is 7, .* only 6 examples"):
        batches.init(of(6), 0)


def test_a_crop_and_a_flip_are_those_of_slices() -> None:
    # Every pixel of the first channel is its own number, by which an image tells its offsets.
    height, width, examples = 6, 5, 40
    pixels = torch.arange(1.0, 1 + height * width).reshape(1, 1, height, width)
    images = pixels * torch.tensor([1.0, -1.0])[:, None, None]
    changed = crop_and_flip(images.expand(examples, -1, -1, -1), torch.arange(examples), 40, 3, 0)
    padded = torch.nn.functional.pad(images[0], (4,) * 4)
    places = set()
    for new in changed:
        found = [
            (down, right, flipped)
            for down, right, flipped in itertools.product(range(9), range(9), (False, True))
            if torch.equal(
                new.flip(2) if flipped else new,
                padded[:, down : down + height, right : right + width],
            )
        ]
        places.add(found[0])  # of several, where little or nothing of the image is left
    down, right, flipped = map(set, zip(*places, strict=True))
    assert len(down) > 3 and len(right) > 3 and flipped == {False, True}
    extremes = _changes(20_000, 0, 0).aminmax(dim=0)
    assert torch.stack(extremes).tolist() == [[0, 0, 0], [8, 8, 1]]


def test_what_happens_to_an_image_depends_on_seed_epoch_and_row() -> None:
    images = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    rows, some = torch.arange(12), torch.tensor([7, 2, 9])
    whole = crop_and_flip(images, rows, 12, 5, 1)
    assert torch.equal(crop_and_flip(images[some], some, 12, 5, 1), whole[some])
    for seed, epoch in ((5, 2), (6, 1)):
        assert not torch.equal(crop_and_flip(images, rows, 12, seed, epoch), whole)


def test_steps_see_changed_images_and_go_on_to_the_bit() -> None:
    stream = torch.Generator().manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(32, 3)
    )
    network = ModuleNetwork(module, (1, 6, 6), he_normal(1.0))
    inputs = torch.randn(10, 36, generator=stream, dtype=torch.float64)
    targets = torch.randint(3, (10,), generator=stream)
    objective = ModuleObjective(network, "cross_entropy", inputs, targets)
    optimizer = GradientDescent(learning_rate=0.1)
    before = objective.inputs.clone()

    def trained(batches: Batches, stops: list[int]) -> tuple[Tensor, list[float]]:
        state = begin(objective, optimizer, batches, objective.network.initialize(0), 4)
        losses: list[float] = []
        for stop in stops:
            state = dataclasses.replace(state, batch=json.loads(json.dumps(state.batch)))
            follow(
                *(objective, optimizer, batches, state, StopCriteria(iterations=stop)),
                lambda _, now: now.whole or losses.append(now.evaluation.loss),
            )
        return state.theta, losses

    changed = Shuffled(size=4, augment="crop-and-flip")
    theta, losses = trained(changed, [9])
    again, _ = trained(changed, [4, 9])
    assert torch.equal(theta, again)
    assert torch.equal(objective.inputs, before)
    # The first step's loss against that of the images changed by hand.
    start = objective.network.initialize(0)
    rows, _ = changed.draw(changed.init(objective, 4))
    images = crop_and_flip(before[rows].reshape(4, 1, 6, 6), rows, 10, 4, 0)
    outputs = objective.network.outputs(start, images.reshape(4, 36))
    expected = torch.nn.functional.cross_entropy(outputs, objective.targets[rows])
    assert losses[0] == pytest.approx(expected.item(), rel=1e-12)


def test_augmentation_without_images_is_refused() -> None:
    network = MLPSettings(width=4, depth=2).build((6,), 3)
    objective = MLPObjective(network, "cross_entropy", torch.zeros(5, 6), torch.zeros(5).long())
    parts = objective, GradientDescent(learning_rate=0.1), Shuffled(size=2, augment="crop-and-flip")
    with pytest.raises(UserError, match=r"augment: crop-and-flip .* the network does not read"):
        begin(*parts, torch.zeros(network.parameters), 0)

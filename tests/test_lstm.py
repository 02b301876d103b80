"""The LSTM: that of torch with the same weights, twice differentiable, trained on phrases."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from problems import small_spec
from small_archives import sst_zip
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from eosflow import objectives
from eosflow.datasets import sst
from eosflow.datasets.base import Resources
from eosflow.datasets.sst import SST
from eosflow.datasets.subsets import load_subset, write_subset
from eosflow.measurements.accuracy import Accuracy
from eosflow.networks.base import NetworkSettings
from eosflow.networks.lstm import LSTMSettings
from eosflow.networks.module import ModuleNetwork
from eosflow.objectives.base import Objective
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.batches import Shuffled
from eosflow.optimizers.gradient import GradientDescent
from eosflow.runs.measure import measure_run
from eosflow.runs.names import measured_folder
from eosflow.runs.train import train
from eosflow.storage.files import read_json
from eosflow.storage.tensors import load_tensors

SHAPE = (6, 3)  # six positions, three numbers each
LENGTHS = (6, 4, 1, 5)


def problem(hidden: int = 3, outputs: int = 2) -> tuple[ModuleNetwork, Objective, Tensor]:
    """Four sequences of different lengths, with zeros after the last vector."""
    stream = torch.Generator().manual_seed(0)
    network = LSTMSettings(hidden=hidden, layers=2).build(SHAPE, outputs)
    theta = network.initialize(0)
    theta += 0.3 * torch.randn(len(theta), generator=stream, dtype=torch.float64)
    inputs = torch.randn(len(LENGTHS), *SHAPE, generator=stream, dtype=torch.float64)
    for row, length in zip(inputs, LENGTHS, strict=True):
        row[length:] = 0
    labels = torch.tensor([0, 1, 1, 0])
    return network, objectives.make(network, "cross_entropy", inputs.flatten(1), labels), theta


def torch_outputs(network: ModuleNetwork, theta: Tensor, inputs: Tensor) -> Tensor:
    """The outputs by torch.nn.LSTM on packed sequences, and torch's linear layer."""
    named = network.named(theta)
    hidden = named["layers.0.cell.recurrent.weight"].shape[1]
    reference = nn.LSTM(SHAPE[1], hidden, num_layers=2, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for layer in range(2):
            pairs = {
                f"weight_ih_l{layer}": named[f"layers.{layer}.input.weight"],
                f"weight_hh_l{layer}": named[f"layers.{layer}.cell.recurrent.weight"],
                f"bias_ih_l{layer}": named[f"layers.{layer}.input.bias"],
            }
            for name, value in pairs.items():
                getattr(reference, name).copy_(value)
            getattr(reference, f"bias_hh_l{layer}").zero_()
        packed = pack_padded_sequence(
            inputs.view(-1, *SHAPE), torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False
        )
        _, (last, _) = reference(packed)
        return nn.functional.linear(last[-1], named["output.weight"], named["output.bias"])


def test_it_is_that_of_torch_up_to_the_last_vector_of_each_sequence() -> None:
    network, objective, theta = problem(hidden=5)
    expected = torch_outputs(network, theta, objective.inputs)
    torch.testing.assert_close(
        network.outputs(theta, objective.inputs), expected, rtol=1e-12, atol=1e-14
    )


def test_its_start_is_that_of_its_source() -> None:
    network = LSTMSettings(hidden=40).build((5, 60), 3)
    named = network.named(network.initialize(0))
    recurrent = named["layers.1.cell.recurrent.weight"]
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(40, dtype=torch.float64))
    weight = named["layers.0.input.weight"]
    limit = (6 / (60 + 160)) ** 0.5  # Glorot
    assert 0.99 * limit < weight.abs().max() <= limit
    assert not any(value.any() for name, value in named.items() if name.endswith("bias"))
    # 2 × 200 cells on vectors of 200 numbers, as in the source: twice 4 · 200 · 401.
    assert LSTMSettings().parameters((20, 200), 10_000) == 2 * 4 * 200 * 401 + 201 * 10_000


def assert_learns_phrases(
    data: SST,
    network: NetworkSettings,
    optimizer: Optimizer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Six phrases of two classes are learnt, and three others measured as the weights have them."""
    monkeypatch.setattr(sst, "DISTINCT", {2: 7})
    monkeypatch.setattr(sst, "HELD_OUT", {2: 3})
    resources = Resources(sst_zip(folder / "s.zip"), folder / "cache")
    subset = folder / "sst-subset0.npz"
    write_subset("sst", data, 0, 6, resources, subset)
    write_subset("sst", data, None, 3, resources, folder / "sst-held-out.npz")
    spec = small_spec(
        dataset="sst",
        data=data,
        n=6,
        network=network,
        optimizer=optimizer,
        batch=Shuffled(size=3),
        target_loss=None,
        max_iterations=60,
        every=60,
    )
    run = folder / "run"
    train(spec, subset, run, threads=1)
    measure_run(run, subset, Accuracy(held_out=3))
    place = run / measured_folder(Accuracy(held_out=3))
    start, end = (read_json(place / f"step{step:06d}.json") for step in (0, 60))
    assert end["loss"] < 0.1 < start["loss"] and end["accuracy"] == 1
    tensors, _ = load_tensors(run / "snapshots/step000060.safetensors")
    built = network.build(data.input_shape(), 2)
    inputs, labels = load_subset(folder / "sst-held-out.npz", 3)
    outputs = built.outputs(built.flatten(tensors), torch.from_numpy(inputs))
    right = outputs.argmax(1) == torch.from_numpy(labels)
    assert end["held_out_accuracy"] == pytest.approx(right.double().mean().item())


def test_it_learns_phrases_of_sst_and_is_measured_on_held_out_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, network = SST(encoder="random", classes=2, words=4), LSTMSettings(hidden=3)
    assert_learns_phrases(data, network, GradientDescent(learning_rate=0.3), tmp_path, monkeypatch)

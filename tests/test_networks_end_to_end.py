"""Networks of images from data to measurements: trained, cut off, taken up again, measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from problems import small_spec
from test_training import assert_same_run, trajectory

from eosflow.datasets.cifar import CIFAR10
from eosflow.measurements.decomposition import Decomposition
from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.networks.base import NetworkSettings
from eosflow.networks.cnn import CNNSettings
from eosflow.networks.resnet import ResNetSettings
from eosflow.networks.vit import ViTSettings
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.flow import ExponentialEuler
from eosflow.optimizers.gradient import GradientDescent
from eosflow.runs.measure import measure_snapshot
from eosflow.runs.names import measured_folder
from eosflow.runs.spec import RunSpec
from eosflow.runs.train import train
from eosflow.storage.files import read_json
from eosflow.storage.tensors import load_tensors

EXAMPLES = 10


@pytest.fixture(scope="module")
def subset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images of noise in CIFAR-10's form."""
    path = tmp_path_factory.mktemp("data") / "cifar10-subset0.npz"
    numbers = np.random.Generator(np.random.PCG64(0))
    np.savez(
        path,
        inputs=numbers.integers(0, 256, (EXAMPLES, 3072), dtype=np.uint8),
        labels=np.arange(EXAMPLES) % 10,
        indices=np.arange(EXAMPLES),
        scale=np.float64(1 / 255),
    )
    return path


CASES = {
    "cnn": (CNNSettings(channels=4, dense=16), GradientDescent(learning_rate=0.1)),
    "resnet": (ResNetSettings(blocks=1, channels=2), GradientDescent(learning_rate=0.1)),
    "vit": (ViTSettings(patch=8, width=4, depth=1, heads=2), GradientDescent(learning_rate=0.3)),
    "cnn along the flow": (
        CNNSettings(channels=2, dense=8, activation="elu"),
        ExponentialEuler(max_step_size=0.1, eigen_tolerance=0.01),
    ),
}


def spec_of(network: NetworkSettings, optimizer: Optimizer, iterations: int) -> RunSpec:
    return small_spec(
        dataset="cifar10",
        data=CIFAR10(),
        n=EXAMPLES,
        network=network,
        optimizer=optimizer,
        target_loss=1e-6,
        max_iterations=iterations,
        every=5,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_trained_cut_off_taken_up_and_measured(name: str, subset: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(spec_of(*CASES[name], 12), subset, whole, threads=1)
    for iterations in (7, 12):
        train(spec_of(*CASES[name], iterations), subset, parts, threads=1)
    assert_same_run(whole, parts)
    losses = trajectory(whole)["loss"]
    assert losses[-1] < losses[0]

    both = Decomposition(), TopEigenvalues(k=2)
    for each in both:
        measure_snapshot(whole, 10, subset, each)
    record, eigenvalues = (
        read_json(whole / measured_folder(each) / "step000010.json") for each in both
    )
    assert record["sharpness_hessian"] == pytest.approx(eigenvalues["eigenvalue_1"], rel=1e-2)
    assert record["converged"] and 1 / EXAMPLES <= record["overlap"] <= 1
    layers = [record[key] for key in record if key.startswith("layer_norm2_")]
    assert max(layers) <= record["m_norm2"] <= sum(layers)  # E8
    tensors, metadata = load_tensors(whole / "snapshots" / "step000010.safetensors")
    assert all(tensor.dtype == torch.float64 for tensor in tensors.values())
    assert record["loss"] == pytest.approx(metadata["loss"], rel=1e-12)

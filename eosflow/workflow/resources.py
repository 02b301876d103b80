"""What a job needs: main memory, minutes, GPUs. Estimates on the safe side, without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from eosflow.datasets.base import DatasetSettings
from eosflow.networks.base import Reads, Shape
from eosflow.runs.spec import RunSpec
from eosflow.storage.errors import UserError
from eosflow.workflow import gpu

# Bytes of a job before it has read anything: Python, torch and its libraries.
BASE_MEGABYTES = 700
# Float64 operations per second that a job reaches on one CPU thread and on a GPU, on the safe side.
CPU_RATE = 1e10
GPU_RATE = 5e12
# How often an example uses a weight, by what the network reads. Of images a quarter of the pixels:
# the first convolutions see them all, but have few weights.
WEIGHT_USES: dict[Reads, Callable[[Shape], float]] = {
    "vectors": lambda shape: 1,
    "images": lambda shape: max(1, math.prod(shape[1:]) / 4),
    "sequences": lambda shape: shape[0],
    "token ids": lambda shape: shape[1],
}
# Seen so far, on the safe side: gradient-flow time to the target loss grows in proportion to N.
FLOW_TIME_PER_EXAMPLE = 0.35
# For the disk, where the safe side would ask for ten times too much: the largest that was seen.
SEEN_FLOW_TIME_PER_EXAMPLE = 0.1
# Single-vector products that the measurements of one snapshot take, at most.
PRODUCTS_PER_SNAPSHOT = 1000
# Float64 vectors (P,) that they hold at once: a search of 48 vectors in float32, and another of 9
# vectors and their images in float64.
MEASURING_VECTORS = 24 + 20
# Working memory of an objective, as in `eosflow.objectives.base`, which costs torch.
WORKSPACE_BYTES = 256 * 2**20
WORKSPACES = 4
# A longer run is cut off and goes on from its checkpoint; few clusters allow more at a time.
MOST_MINUTES = 24 * 60


def gpus(device: str, local: bool) -> int:
    """GPUs that a training or measuring job asks for.

    Jobs sent to a cluster with `device: auto` ask for what the cluster's profile says.

    Raises: UserError where a GPU is demanded that is not here.
    """
    if device == "cuda" and local and not gpu.devices():
        raise UserError(gpu.NO_DEVICE)
    if device == "cpu" or (device == "auto" and not local):
        return 0
    return int(device == "cuda" or bool(gpu.devices()))


def memory(run: RunSpec) -> int:
    """Megabytes of main memory of a training or measuring job.

    K+1 directions are pushed through a closed form at once, so that its units count K+1 times; the
    constant is that of a block product of the Hessian. Other networks see so many examples at a
    time that they, or copies of θ, fill the workspace, and what lies between takes as much again.
    """
    block = run.outputs + 1
    vectors = max(run.optimizer.vectors_held(run.outputs), MEASURING_VECTORS)
    parameters = math.ceil(run.parameters * (vectors + 8))
    dimension = math.prod(run.shape)
    units = run.network.units(run.shape, run.outputs)
    activations = 6 * block * units * run.n if units else WORKSPACES * WORKSPACE_BYTES // 8
    return BASE_MEGABYTES + math.ceil(8 * (parameters + run.n * dimension + activations) / 1e6)


def minutes(run: RunSpec, config: Mapping[str, Any], measurements: int, train: bool = True) -> int:
    """Minutes to allow for so many measurements of a run and, with `train`, for training it.

    A job that takes longer goes on when it is retried.
    """
    flow_time = FLOW_TIME_PER_EXAMPLE * run.n
    iterations, gradient = _iterations(run, flow_time), gradient_operations(run)
    snapshots = run.snapshots.count(iterations, flow_time)
    operations = measurements * snapshots * PRODUCTS_PER_SNAPSHOT * 2 * gradient
    if train:
        products = run.optimizer.products_per_step(run.outputs)
        # With batches: those of a step, and once per epoch all examples, for the loss.
        epoch = run.batch.steps_per_epoch(run.n)
        share = 2 / epoch if epoch > 1 else 1
        operations += iterations * (2 + 2 * products) * gradient * share
    rate = CPU_RATE * config["threads"] if config["device"] == "cpu" else GPU_RATE
    return min(10 + math.ceil(operations / rate / 60), MOST_MINUTES)


def disk(run: RunSpec) -> float:
    """Bytes of a run's snapshots, as many as the runs left that were seen so far.

    Nearly all that a run keeps; its checkpoint, of a few snapshots' size, goes when it ends.
    """
    flow_time = SEEN_FLOW_TIME_PER_EXAMPLE * run.n
    snapshots = run.snapshots.count(_iterations(run, flow_time), flow_time) + 1
    return 8.0 * run.parameters * snapshots


def subset_memory(data: DatasetSettings, size: int) -> int:
    """Megabytes that drawing a subset takes: the dataset as it is parsed, and the rows."""
    return 4000 + math.ceil(2 * size * math.prod(data.input_shape()) * 8 / 1e6)


def _iterations(run: RunSpec, flow_time: float) -> float:
    expected = run.optimizer.expected_steps(flow_time)
    most = run.stop.max_iterations
    return most if expected is None else min(expected, most)


def gradient_operations(run: RunSpec) -> float:
    """Floating-point operations of a gradient over all examples, three passes over each weight.

    A product with the Hessian takes twice as many.
    """
    passes = 3 * run.parameters * WEIGHT_USES[run.network.reads](run.shape)
    return 2.0 * run.n * passes

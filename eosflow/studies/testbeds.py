"""What several studies share: problems, the trajectory of an optimizer, λ₁, dense matrices."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eosflow.datasets.base import Resources
from eosflow.datasets.dice import Dice
from eosflow.datasets.subsets import write_subset
from eosflow.measurements.minibatch_gradients import GradientAlignment
from eosflow.measurements.top_eigenvalues import TopEigenvalues
from eosflow.networks.mlp import MLPSettings
from eosflow.networks.module import ModuleNetwork
from eosflow.objectives.base import Evaluation, Matrix, Objective
from eosflow.objectives.module import ModuleObjective
from eosflow.objectives.third_derivatives import CurvatureGraph
from eosflow.optimizers.base import Optimizer
from eosflow.optimizers.batches import Batches, FullBatch
from eosflow.optimizers.flow import ExponentialEuler
from eosflow.optimizers.gradient import GradientOptimizer
from eosflow.optimizers.loop import Iteration, StopCriteria, TrainState, begin, follow
from eosflow.runs.data import make_objective
from eosflow.runs.spec import RunSpec
from eosflow.spectra.eigenpairs import EigenPairs, Operator, random_start, top_eigenpairs

# The same under any configuration: problems whose flow a general solver can follow in a minute.
DICE = RunSpec(
    experiment="work-precision",
    dataset="dice",
    data=Dice(image_size=16),
    criterion="cross_entropy",
    n=60,
    init_seed=0,
    subset_seed=0,
    network=MLPSettings(width=64),
    optimizer=ExponentialEuler(eigen_dtype="float64"),
    target_loss=0.02,
)

# Thresholds, learning rates and lengths were settled on seeds 0 to 4: those count for nothing.
SEEDS = tuple(range(10, 20))
FULL = FullBatch()
MAX_PRODUCTS = 300  # block products of one search
# Two at once: a search for one alone, to a residual of 0.01, once ended at the second.
SHARPNESS = TopEigenvalues(k=2, tolerance=1e-3)


class Case(NamedTuple):
    """An optimizer by its name in the figure, and for how many steps it is followed."""

    name: str
    optimizer: GradientOptimizer
    steps: int


def cheb() -> Objective:
    """Twenty points of the Chebyshev polynomial T₄ and a network of 300 parameters, no data set.

    Linear(1, 100), tanh, Linear(100, 1) without a bias; ℓ = ½(f − y)². Source: Jeremy Cohen et al.,
    Gradient descent on neural networks typically occurs at the edge of stability, ICLR 2021.
    """
    module = nn.Sequential(nn.Linear(1, 100), nn.Tanh(), nn.Linear(100, 1, bias=False))
    inputs = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
    targets = 8 * inputs**4 - 8 * inputs**2 + 1
    network = ModuleNetwork(module, (1,), _initialize)
    return ModuleObjective(network, "half_squared_error", inputs, targets)


def drawn(spec: RunSpec, archive: Path | None = None) -> Objective:
    """The loss of a problem, on examples drawn for it, of an archive if they are read from one."""
    with tempfile.TemporaryDirectory() as folder:
        subset = Path(folder) / "subset.npz"
        resources = Resources(archive=archive, cache=Path(folder))
        name, seed, size = spec.dataset, spec.subset_seed, spec.n
        write_subset(name, spec.data, seed, size, resources, subset)
        return make_objective(spec, subset, torch.device("cpu"))


def _initialize(module: nn.Module, stream: torch.Generator) -> None:
    """Xavier normal weights, with a gain of 1.9 in the first layer; zero biases."""
    gains = iter((1.9, 1.0))
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_normal_(parameter, next(gains), generator=stream)
        else:
            parameter.zero_()


def quadratic(eigenvalues: Sequence[float]) -> ModuleObjective:
    """½ Σ λ_i θ_i², from ones: a linear map of orthogonal inputs."""

    def ones(module: nn.Module, _: torch.Generator) -> None:
        for parameter in module.parameters():
            parameter.fill_(1.0)

    size = len(eigenvalues)
    inputs = torch.diag((size * torch.tensor(eigenvalues, dtype=torch.float64)).sqrt())
    network = ModuleNetwork(nn.Linear(size, 1, bias=False), (size,), ones)
    return ModuleObjective(network, "half_squared_error", inputs, inputs.new_zeros(size, 1))


class Tracker:
    """The k largest eigenpairs along a train_state, each search begun where the last one ended.

    `tolerance` bounds the residuals relative to λ₁. For λ₁ alone take k = 2: a search for one pair
    can end at the second.
    """

    def __init__(self, k: int = 2, tolerance: float = 1e-3) -> None:
        self.k = k
        self.tolerance = tolerance
        self._last: EigenPairs | None = None

    def find(self, operator: Operator, like: Tensor) -> EigenPairs:
        """The pairs of a symmetric operator on vectors like θ (P,).

        Raises: RuntimeError where the search does not meet the tolerance.
        """
        start = self._last.warm_start() if self._last else random_start(len(like), self.k, like)
        pairs = top_eigenpairs(operator, start, self.tolerance, MAX_PRODUCTS)
        if not pairs.converged:
            raise RuntimeError(
                f"after {pairs.applications} products the residual of an eigenpair is "
                f"{pairs.relative_residual:.2g} of λ₁, above {self.tolerance:g}"
            )
        self._last = pairs
        return pairs

    def sharpness(self, operator: Operator, like: Tensor) -> dict[str, float]:
        """λ₁ of the operator, with the relative residual of its search: `sharpness`, `residual`."""
        pairs = self.find(operator, like)
        first = pairs.values[0]
        residual = (pairs.residuals[0] / first.abs()).item()
        return {"sharpness": first.item(), "residual": residual}


def initial(objective: Objective, seed: int) -> Tensor:
    """θ (P,) of an initialisation."""
    return objective.network.initialize(seed).to(objective.inputs)


def trajectory(
    objective: Objective,
    optimizer: Optimizer,
    start: Tensor,
    marks: Iterable[int | StopCriteria],
    batches: Batches = FULL,
    seed: int = 0,
    observe: Callable[[TrainState, Iteration], None] = lambda *_: None,
) -> Iterator[TrainState]:
    """The same state at each mark, iterations or ends in rising order; ends if it diverges."""
    state = begin(objective, optimizer, batches, start, seed)
    for mark in marks:
        until = mark if isinstance(mark, StopCriteria) else StopCriteria(iterations=mark)
        if follow(objective, optimizer, batches, state, until, observe) == "diverged":
            return
        yield state


def sharpness(objective: Objective, theta: Tensor, number: int, seed: int) -> dict[str, float]:
    """λ₁(𝓗) at θ (P,), with the relative residual of its search, as `sharpness` and `residual`.

    `number` and `seed` set where the search begins.
    """
    if isinstance(objective, ModuleObjective):
        # Of a small network products are cheaper from the graph of the gradient.
        graph = CurvatureGraph(objective.evaluate(theta))
        found = SHARPNESS.record(SHARPNESS.search(graph, SHARPNESS.stream(number, seed)))
    else:
        found = SHARPNESS.measure(objective, theta, number, seed)
    return {"sharpness": found["eigenvalue_1"], "residual": found["residual_1"]}


def dense(evaluation: Evaluation, matrix: Matrix) -> Tensor:
    """The matrix (P, P) itself, symmetric to the last bit."""
    whole = evaluation.product(matrix, torch.eye(len(evaluation.theta)).to(evaluation.theta))
    return (whole + whole.T) / 2


def of_matrix(matrix: Tensor) -> Operator:
    """Products with a matrix (P, P)."""
    return lambda block, out: out.copy_(matrix @ block)


def preconditioned(evaluation: Evaluation, divisor: Tensor) -> Operator:
    """P^(−½)𝓗P^(−½), P = diag(p), p (P,) > 0: symmetric, with the eigenvalues of P⁻¹𝓗."""
    scale = divisor.rsqrt()[:, None]

    def apply(block: Tensor, out: Tensor) -> Tensor:
        return evaluation.hessian((scale * block).T.contiguous().T, out).mul_(scale)

    return apply


def evaluations(
    objective: Objective,
    optimizer: Optimizer,
    start: Tensor,
    iterations: range,
    k: int,
    batches: Batches = FULL,
    seed: int = 0,
) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """θ and what is evaluated there, at each of the iterations; ends early if it diverges.

    `mean_loss` is the mean of the loss of all examples over the steps since the evaluation before.
    """
    measurement = GradientAlignment(k=k, batches=1)
    losses: list[float] = []

    def note(_: TrainState, current: Iteration) -> None:
        if current.step is not None and current.whole:
            losses.append(current.evaluation.loss)

    for state in trajectory(objective, optimizer, start, iterations, batches, seed, note):
        loss = objective.evaluate(state.theta).loss
        found = measurement.measure(objective, state.theta, state.iteration, seed)
        yield (
            state.theta,
            {
                "iteration": state.iteration,
                "loss": loss,
                "mean_loss": fmean(losses or [loss]),
                "sharpness": found["eigenvalue_1"],
                "gradient_share": found["gradient_share"],
                "residual": max(found[f"residual_{m}"] for m in range(1, k + 1)),
            },
        )
        losses.clear()

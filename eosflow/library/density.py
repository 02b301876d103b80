"""The density of the eigenvalues of a problem's curvature, and their sum, from random vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from eosflow.library.labels import one_of
from eosflow.library.memory import refuse_beyond
from eosflow.library.problem import Problem
from eosflow.library.shown import announce
from eosflow.objectives.base import Matrix
from eosflow.spectra.density import Estimate, Spectrum, spectrum
from eosflow.spectra.density import probes as random_signs
from eosflow.spectra.randomness import generator
from eosflow.storage.errors import UserError
from eosflow.storage.progress import count_progress

# A product in float32 that is further than this from the float64 one is not used.
SAME_PRODUCT = 1e-3
# Examples that this is tried on, at least.
TRIED = 8
# Probes that are multiplied at once, at least. A probe is as large as θ; a block may build a graph.
TOGETHER = 10
BLOCK_BYTES = 32 * 2**20
POINTS = 500
# Width of the normal law that each node stands for, as a share of the spectrum's range.
WIDTH = 0.01


@dataclass(frozen=True)
class Density:
    """The spectral density of a matrix by stochastic Lanczos quadrature.

    `grid` (g,) of eigenvalues; `density` (g,), which integrates to 1, and its standard `errors`
    (g,) over the probes; `nodes` and `weights` (probes, steps) of the quadratures: P Σ_j w_j f(t_j)
    of one probe, with its nodes t_j, estimates Tr f(A). Each eigenvalue counts as a normal
    distribution of standard deviation `width`.
    """

    grid: Tensor
    density: Tensor
    errors: Tensor
    nodes: Tensor
    weights: Tensor
    width: float

    def plot(self) -> Any:
        """The density and its standard errors on matplotlib axes, which are returned."""
        from eosflow import plot

        return plot.density(self)


def spectral_density(
    problem: Problem,
    matrix: Matrix = "hessian",
    probes: int = 10,
    steps: int = 60,
    *,
    seed: int = 0,
    progress: bool = False,
) -> Density:
    """The spectral density of 𝓗, G or R at the problem's weights, with standard errors.

    Implements: (1/P) Σ_i N(x; λ_i, width²) by `steps` products with each of `probes` random sign
    vectors. The products are float32 if one float64 product shows that this is accurate enough.
    Source: Ubaru, Chen & Saad 2017; Ghorbani, Krishnan & Xiao 2019.

    Returns: see `Density`. Raises: UserError for an unknown matrix, fewer than two probes or steps,
    or more memory than the machine has.

    >>> import torch, eosflow
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    >>> data = torch.randn(20, 4), torch.randint(3, (20,))
    >>> density = eosflow.spectral_density(eosflow.Problem(net, "cross_entropy", data))
    >>> round(float(torch.trapezoid(density.density, density.grid)), 2)
    1.0
    """
    found = _spectrum(problem, matrix, probes, steps, seed, progress)
    found = Spectrum(found.nodes.cpu(), found.weights.cpu(), found.squares.cpu())
    grid, width = found.grid(POINTS, WIDTH)
    return Density(grid, *found.smoothed(grid, width), found.nodes, found.weights, width)


def trace(
    problem: Problem,
    matrix: Matrix = "hessian",
    probes: int = 30,
    *,
    seed: int = 0,
    progress: bool = False,
) -> Estimate:
    """Tr 𝓗, Tr G or Tr R at the problem's weights: `value` and its standard `error`.

    Implements: the mean of vᵀAv over `probes` random sign vectors v. Source: Hutchinson 1989.

    Raises: UserError as `spectral_density`.

    >>> import torch, eosflow
    >>> line = torch.nn.Linear(2, 1, bias=False)
    >>> data = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0], [1.0]])
    >>> found = eosflow.trace(eosflow.Problem(line, "half_squared_error", data))
    >>> round(found.value, 6)  # of E[x xᵀ]
    2.5
    """
    found = _spectrum(problem, matrix, probes, 1, seed, progress)
    return found.trace(lambda nodes: nodes)


def _spectrum(
    problem: Problem, matrix: Matrix, count: int, steps: int, seed: int, progress: bool
) -> Spectrum:
    one_of("matrix", matrix, get_args(Matrix))
    for name, value in {"probes": count, "steps": steps}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name}: {value!r} was given; it must be a whole number from 1 on.")
    if count < 2:
        raise UserError(f"probes: {count} was given; it must be at least 2, for an error.")
    theta, dtype = problem.theta, problem.search_dtype
    size = len(theta)
    together = min(count, max(TOGETHER, BLOCK_BYTES // (size * dtype.itemsize)))
    refuse_beyond(
        4 * together * size * dtype.itemsize,
        f"{count} probes of {size} parameters",
        "Take fewer.",
    )
    if dtype != theta.dtype:
        first = random_signs(size, 1, theta, generator(seed, "density"))
        dtype = dtype if _good_enough(problem, matrix, first, dtype) else theta.dtype
    if progress:
        title = "density" if steps > 1 else "trace"
        announce(title, count * steps, problem.gradient_seconds(), dtype)
    bar = count_progress("products", count * steps, "") if progress else None
    evaluation, stream = problem.evaluation, generator(seed, "density")

    def apply(block: Tensor, out: Tensor) -> Tensor:
        evaluation.product(matrix, block, out)
        if bar is not None:
            bar.update(block.shape[1])
        return out

    found: list[Spectrum] = []
    try:
        for start in range(0, count, together):
            probes = min(together, count - start)
            rows = random_signs(size, probes, theta.new_empty(0, dtype=dtype), stream)
            found.append(spectrum(apply, rows, steps))
    finally:
        if bar is not None:
            bar.close()
    problem.network.check_again()
    parts = ([getattr(part, name) for part in found] for name in ("nodes", "weights", "squares"))
    return Spectrum(*map(torch.cat, parts))


def _good_enough(problem: Problem, matrix: Matrix, row: Tensor, dtype: torch.dtype) -> bool:
    """Whether a product in this precision is close to that in the problem's own.

    Of a part of the examples, evenly spaced: rounding is that of single examples.
    """
    objective = problem.objective
    count = min(objective.examples, max(TRIED, objective.examples // 16))
    part = torch.linspace(0, objective.examples - 1, count).long()
    evaluation = objective.batch(part).evaluate(problem.theta)
    exact = evaluation.product(matrix, row.T)
    rough = evaluation.product(matrix, row.to(dtype).T).to(exact)
    return bool((rough - exact).norm() <= SAME_PRODUCT * exact.norm())

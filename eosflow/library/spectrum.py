"""The largest eigenvalues and eigenvectors of the curvature of a problem."""

from __future__ import annotations

from typing import get_args

from eosflow.library.problem import Problem
from eosflow.objectives.base import Matrix
from eosflow.spectra.eigenpairs import EigenPairs, random_start, top_eigenpairs
from eosflow.storage.errors import UserError

# Relative to the first eigenvalue. An eigenvalue apart from the others is off by its square.
TOLERANCE = 1e-4
MAX_PRODUCTS = 500  # block products with k vectors


def eigenpairs(problem: Problem, k: int = 5, matrix: Matrix = "hessian") -> EigenPairs:
    """The k largest algebraic eigenpairs of 𝓗, G or R at the problem's weights (E1–E3).

    Returns: `values` (k,) descending, `vectors` (P, k) orthonormal, `residuals` (k,) = ‖Av − λv‖,
    and `converged`, whether each of them is at most 10⁻⁴ |λ_1|. Some eigenvalue lies within each
    residual of its value, converged or not.

    Raises: UserError for a matrix that there is not, or more pairs than parameters.

    >>> import torch, eosflow
    >>> line = torch.nn.Linear(2, 1, bias=False)
    >>> data = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0], [1.0]])
    >>> pairs = eosflow.eigenpairs(eosflow.Problem(line, "half_squared_error", data), k=2)
    >>> [round(value, 6) for value in pairs.values.tolist()]  # of E[x xᵀ]
    [2.0, 0.5]
    >>> pairs.converged
    True
    """
    if matrix not in get_args(Matrix):
        raise UserError(f"matrix: {matrix!r} was given; allowed: {', '.join(get_args(Matrix))}.")
    size = problem.network.parameters
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= size:
        raise UserError(f"k: {k!r} was given; it must be 1 to {size}, the number of parameters.")
    evaluation = problem.objective.evaluate(problem.theta)
    return top_eigenpairs(
        lambda block, out: evaluation.product(matrix, block, out),
        random_start(size, k, problem.theta),
        TOLERANCE,
        MAX_PRODUCTS,
    )

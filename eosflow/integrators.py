"""One step along the gradient flow θ' = −∇𝓛: pure functions, state in and state out."""

from __future__ import annotations

import torch
from torch import Tensor

from eosflow.eigen import EigenPairs


def stable_step_size(pairs: EigenPairs, max_step_size: float) -> float:
    """η = min(η_max, 1/|λ_{K+1}|), in units of flow time, from K+1 pairs. Implements: E15."""
    next_eigenvalue = abs(pairs.values[-1].item())
    return min(max_step_size, 1 / next_eigenvalue) if next_eigenvalue > 0 else max_step_size


def relaxation(eigenvalues: Tensor, step_size: float) -> Tensor:
    """r_m = min((1 − e^{−λ_m η})/λ_m, η) for each λ_m (K,); η in the limit λ_m = 0.

    Implements: E16. Negative λ_m, whose exact factor exceeds η, are clipped at η.
    """
    safe = torch.where(eigenvalues == 0, 1.0, eigenvalues)
    exact = -torch.expm1(-eigenvalues * step_size) / safe
    return torch.where(eigenvalues == 0, step_size, exact).clamp(max=step_size)


def exponential_euler(
    theta: Tensor, gradient: Tensor, pairs: EigenPairs, step_size: float
) -> Tensor:
    """θ − Σ_{m≤K} r_m c_m v_m − η w with c_m = g·v_m and w = g − Σ_m c_m v_m.

    Implements: E15–E17, for K+1 pairs, the last of which only bounds the step size. Exact along
    v_1 … v_K where the loss is quadratic; plain Euler along everything else.
    """
    stiff = pairs.vectors[:, :-1]  # [P, K]
    components = stiff.T @ gradient  # [K]
    excess = (relaxation(pairs.values[:-1], step_size) - step_size) * components
    return theta - step_size * gradient - stiff @ excess

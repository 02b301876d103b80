"""One step along the gradient flow θ' = −∇𝓛: pure functions, state in and state out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from eosflow.spectra.eigenpairs import EigenPairs
from eosflow.spectra.rows import parts

Gradient = Callable[[Tensor], Tensor]


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
    stiff, values = _stiff(pairs, theta)
    excess = (relaxation(values, step_size) - step_size) * _components(stiff, gradient)
    return _combine(theta, gradient, -step_size, stiff, excess)


def exponential_heun(
    theta: Tensor,
    gradient: Tensor,
    pairs: EigenPairs,
    step_size: float,
    gradient_at: Gradient,
) -> Tensor:
    """The exponential Euler step a, then − η φ₂(−ηΛ) ρ, ρ = ∇𝓛(a) − ∇𝓛(θ) − VΛVᵀ(a − θ).

    Of second order, for one gradient more than exponential Euler; φ₂(z) = (e^z − 1 − z)/z², 1/2
    where Λ = 0. Negative λ_m count as 0, as in E16. Source: ETD2RK of Cox & Matthews 2002.
    """
    middle = exponential_euler(theta, gradient, pairs, step_size)
    stiff, values = _stiff(pairs, theta)
    values = values.clamp(min=0)
    change = gradient_at(middle) - gradient
    components = _components(stiff, change)
    remainder = components - values * _components(stiff, middle - theta)  # Vᵀρ
    excess = step_size * (second_phi(-values * step_size) * remainder - components / 2)
    return _combine(middle, change, -step_size / 2, stiff, excess)


def _stiff(pairs: EigenPairs, theta: Tensor) -> tuple[Tensor, Tensor]:
    """V (P, K) as it is and λ (K,) in θ's dtype, for the first K of the pairs."""
    return pairs.vectors[:, :-1], pairs.values[:-1].to(theta.dtype)


def _components(vectors: Tensor, vector: Tensor) -> Tensor:
    """Vᵀ x (K,) for V (P, K) and x (P,), in x's dtype, which may be the more precise one."""
    rows = vectors.T
    total = vector.new_zeros(len(rows))
    for part in parts(rows):
        total += rows[:, part].to(vector.dtype) @ vector[part]
    return total


def _combine(
    vector: Tensor, other: Tensor, factor: float, vectors: Tensor, components: Tensor
) -> Tensor:
    """x + f y − V c for x, y (P,), V (P, K) and c (K,), in x's dtype, in one pass."""
    result, rows = torch.empty_like(vector), vectors.T
    for part in parts(rows):
        piece = torch.add(vector[part], other[part], alpha=factor, out=result[part])
        piece.addmv_(rows[:, part].to(vector.dtype).T, components, alpha=-1)
    return result


def second_phi(exponents: Tensor) -> Tensor:
    """φ₂(z) = (e^z − 1 − z)/z² for z ≤ 0, by its series near 0, where the formula cancels."""
    small = exponents.abs() < 1e-3
    safe = torch.where(small, -1.0, exponents)
    exact = (torch.expm1(safe) - safe) / safe.square()
    series = 0.5 + exponents / 6 + exponents.square() / 24 + exponents**3 / 120
    return torch.where(small, series, exact)


def runge_kutta_4(
    theta: Tensor, gradient: Tensor, step_size: float, gradient_at: Gradient
) -> Tensor:
    """The classical Runge–Kutta step of fourth order, for three gradients more than Euler's.

    Stable for step sizes up to 2.78/λ_1.
    """
    second = gradient_at(theta - step_size / 2 * gradient)
    third = gradient_at(theta - step_size / 2 * second)
    fourth = gradient_at(theta - step_size * third)
    return theta - step_size / 6 * (gradient + 2 * second + 2 * third + fourth)

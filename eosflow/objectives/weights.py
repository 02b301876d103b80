"""The weights of a loss that is a weighted mean over examples, read off its gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from eosflow.spectra.randomness import generator
from eosflow.storage.errors import UserError

# Examples whose outputs are held at once.
ROWS = 256
# mean(outputs, labels): the loss of some examples together, a number.
Mean = Callable[[Tensor, Tensor], Tensor]


def weights_of(mean: Mean, outputs: Callable[[slice], Tensor], labels: Tensor) -> Tensor | None:
    """The weights w (N,), of mean 1, in loss = Σ wᵢℓᵢ/Σ wᵢ; None if all are equal.

    Implements: wᵢ/Σw = ⟨∂loss/∂zᵢ, ∂ℓᵢ/∂zᵢ⟩/‖∂ℓᵢ/∂zᵢ‖², with ℓᵢ the loss of one example alone, at
    outputs that noise has moved away from any minimum. Examples are taken in parts, each with one
    reference example that all parts share.

    Raises: UserError if the loss is no such mean.
    """
    parts = [slice(start, start + ROWS) for start in range(0, len(labels), ROWS)]
    noisy = _Noisy(outputs)
    first = shares(mean, noisy(parts[0]), labels[parts[0]])
    even = (first - 1 / len(first)).abs().max() <= _tolerance(noisy(parts[0]))
    if even and all(_uniform(mean, noisy(part), labels[part]) for part in parts[1:]):
        return None
    reference = int(first.argmax())
    z, y = noisy(parts[0])[reference], labels[reference]
    relative = []
    for part in parts:
        rows, given = noisy(part), labels[part]
        together = shares(mean, torch.cat([rows, z[None]]), torch.cat([given, y[None]]))
        relative.append(together[:-1] / together[-1])
    weights = torch.cat(relative)
    return weights / weights.mean()


class _Noisy:
    """Outputs and, added to them, noise of their size, the same for each row at every call."""

    def __init__(self, outputs: Callable[[slice], Tensor]) -> None:
        self._outputs = outputs

    def __call__(self, part: slice) -> Tensor:
        z = self._outputs(part)
        stream = generator(part.start, "trial outputs")
        noise = torch.randn(z.shape, generator=stream, dtype=z.dtype).to(z)
        return z + 0.3 * z.std(unbiased=False).clamp(min=0.1) * noise


def shares(mean: Mean, outputs: Tensor, labels: Tensor) -> Tensor:
    """wᵢ/Σw (n,) of these examples. Raises: UserError if there are no such numbers."""
    value, whole = _slope(mean, outputs, labels)
    numbers = range(len(outputs))
    singles = [_slope(mean, outputs[i : i + 1], labels[i : i + 1]) for i in numbers]
    losses = torch.stack([single for single, _ in singles])
    slopes = torch.cat([slope for _, slope in singles])
    still = whole.flatten(1).norm(dim=1) == 0
    # An example that is ignored has no loss (0/0), and moves nothing.
    alone = torch.where(still[:, None], 0.0, slopes)
    squares = alone.square().sum(1)
    parts = torch.where(squares > 0, (whole * alone).sum(1) / squares, 0.0)
    rest = (whole - parts[:, None] * alone).norm()
    tolerance = _tolerance(outputs)
    total, count = parts.sum(), len(outputs)
    mixed = torch.where(parts > 0, parts * losses, 0.0).sum()
    of_mean = rest <= tolerance * whole.norm() and parts.min() >= 0
    if of_mean and (total - count).abs() <= tolerance * count and count > 1:
        raise UserError(
            "The loss sums over the examples, but 𝓛 is their mean: curvature would be "
            f"{count} times that of the mean. Give it reduction='mean'."
        )
    size = torch.where(parts > 0, losses, 0.0).abs().max().clamp(min=1e-30)
    off = not (mixed - value).abs() <= tolerance * size
    if not of_mean or (total - 1).abs() > tolerance or off:
        raise UserError(
            "The loss is not a weighted mean of its values for single examples, such as "
            "one of pairs of examples, or of a root of the mean: curvature per example is "
            "undefined. Use a loss that is such a mean."
        )
    return parts


def _uniform(mean: Mean, outputs: Tensor, labels: Tensor) -> bool:
    """Whether two ways to halve the examples agree that all weigh the same."""
    _, whole = _slope(mean, outputs, labels)
    numbers = torch.arange(len(outputs), device=outputs.device)
    tolerance = _tolerance(outputs) * whole.norm()
    for number in (numbers % 2 == 0, numbers < len(numbers) // 3):
        for half in (number, ~number):
            if not half.any():
                continue
            _, slope = _slope(mean, outputs[half], labels[half])
            share = int(half.sum()) / len(outputs)
            if not (whole[half] - share * slope).norm() <= tolerance:
                return False
    return True


def _slope(mean: Mean, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of some examples and its gradient in their outputs."""
    with torch.enable_grad():
        variable = outputs.detach().requires_grad_()
        value = mean(variable, labels)
        (slope,) = torch.autograd.grad(value, variable, materialize_grads=True)
    return value.detach(), slope


def _tolerance(outputs: Tensor) -> float:
    """Rounding, and no more."""
    return 1e-8 if outputs.dtype == torch.float64 else 1e-3

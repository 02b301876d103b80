"""A user's own loss as a criterion: every derivative in the outputs by reverse mode."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from eosflow.networks.module import to_like
from eosflow.objectives.criteria import Criterion
from eosflow.objectives.weights import weights_of
from eosflow.spectra.randomness import generator
from eosflow.storage.errors import UserError

# loss(outputs, labels): a mean over the examples, weighted or not, or one number for each of them.
Loss = Callable[[Tensor, Tensor], Tensor]

# A criterion that is convex in the outputs has no eigenvalue below 0, but by rounding.
ROUNDING = 1e-6


def user_criterion(
    loss: Loss,
    shape: tuple[int, ...],
    outputs: Callable[[slice], Tensor],
    labels: Tensor,
) -> tuple[Criterion, Tensor]:
    """ℓ(z, y) = loss(z, y) of one example alone, for outputs of which each has this shape.

    `outputs(part)` (n, C) are those that training starts from. The loss of several examples must be
    Σ wᵢℓᵢ/Σ wᵢ there, with weights w that depend on the labels alone: equal, as of a plain mean, or
    not, as with class weights and ignored labels.

    Returns: the criterion, and the labels as it wants them: of a weighted mean each row holds the
    example's weight, of mean 1, before its label. Raises: UserError, with the remedy, where the
    loss is no such mean, or depends on parameters.
    """
    few = outputs(slice(0, 2))
    # Its own tensors, such as class weights, in the precision of the outputs.
    settled = copy.deepcopy(loss).to(few.dtype) if isinstance(loss, nn.Module) else loss
    label_of = _labels_for(settled, few.reshape(len(few), *shape), to_like(labels[:2], few))

    def mean(z: Tensor, y: Tensor) -> Tensor:
        # In one precision, whatever that of a product: a loss may hold tensors.
        given = z.to(few.dtype).reshape(len(z), *shape)
        return settled(given, label_of(to_like(y, given))).mean().to(z.dtype)

    _check_twice(mean, few, labels[:2])
    weights = weights_of(mean, outputs, labels)
    name = f"own {getattr(loss, '__name__', type(loss).__name__)}"
    if weights is None:
        return _criterion(name, mean), labels
    rows = torch.cat([weights[:, None], labels.reshape(len(labels), -1).to(weights)], dim=1)
    whole = not labels.is_floating_point()

    def restored(y: Tensor) -> Tensor:
        flat = y[:, 1:].reshape(len(y), *labels.shape[1:])
        return flat.long() if whole else flat

    return _criterion(name, mean, restored), rows


def _criterion(
    name: str,
    mean: Callable[[Tensor, Tensor], Tensor],
    restored: Callable[[Tensor], Tensor] | None = None,
) -> Criterion:
    def total(z: Tensor, y: Tensor) -> Tensor:
        if restored is None:
            return mean(z, y) * len(z)
        used = y[:, 0] > 0  # the loss of ignored examples alone is 0/0
        if not used.any():
            return 0 * z.sum()
        return mean(z[used], restored(y[used])) * y[used, 0].sum()

    def value(z: Tensor, y: Tensor) -> Tensor:
        return torch.stack([total(z[i : i + 1], y[i : i + 1]) for i in range(len(z))])

    def slope(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        variable = z.detach().requires_grad_()
        value = total(variable, y)
        (gradient,) = torch.autograd.grad(value, variable, create_graph=True)
        return variable, gradient

    def gradient(z: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            return slope(z, y)[1].detach()

    def product(z: Tensor, tangents: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            variable, first = slope(z, y)
            if not first.requires_grad:  # linear in z
                return torch.zeros_like(tangents)
            images = [
                torch.autograd.grad(first, variable, t, retain_graph=True, materialize_grads=True)
                for t in tangents
            ]
        return torch.stack([image for (image,) in images])

    def second(z: Tensor, y: Tensor) -> Tensor:
        units = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        matrices = product(z, units[:, None, :].expand(-1, *z.shape), y).transpose(0, 1)
        values = torch.linalg.eigvalsh(matrices)
        if values.min() < -ROUNDING * values.abs().max() - 1e-13:
            raise UserError(
                "The loss is not convex in the outputs: its second derivative there has the "
                f"eigenvalue {values.min().item():.3g}. M = H_ℓ^(1/2) J and its factors are "
                "undefined; eosflow.eigenpairs and eosflow.follow work."
            )
        return matrices

    return Criterion(name, value, gradient, second, product, total)


def _labels_for(loss: Loss, outputs: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """How labels are given to the loss: as they are; else as real numbers, in the outputs' shape.

    Raises: UserError if it takes them in no way, or depends on parameters.
    """
    ways: list[Callable[[Tensor], Tensor]] = [lambda y: y]
    if not labels.is_floating_point():
        ways.append(lambda y: y.to(outputs.dtype))
    if labels.numel() == outputs.numel() and labels.shape != outputs.shape:
        shape = outputs.shape[1:]
        ways.append(lambda y: y.to(outputs.dtype).reshape(len(y), *shape))
    errors: list[Exception] = []
    for way in ways:
        try:
            with warnings.catch_warnings():
                # Of shapes that torch would broadcast against each other, N × N numbers.
                warnings.filterwarnings("error", "Using a target size")
                value = loss(outputs.detach(), way(labels))
        except Exception as error:
            errors.append(error)
            continue
        _check_values(value, len(outputs))
        return way
    words = str(errors[0]).splitlines()[0]
    remedy = (
        "Make the tensors of the loss float64, or give dtype=torch.float32."
        if "Double" in words or "double" in words
        else "Reshape outputs or labels in the loss: lambda z, y: …"
    )
    raise UserError(
        f"The loss cannot be used on outputs of shape (N, {str(tuple(outputs.shape[1:]))[1:]} and "
        f"labels of shape (N, {str(tuple(labels.shape[1:]))[1:]}, {labels.dtype}: {words} {remedy}"
    ) from errors[0]


def _check_values(value: Tensor, examples: int) -> None:
    if not isinstance(value, Tensor):
        raise UserError(f"The loss gives {type(value).__name__}; it must give a tensor.")
    if value.requires_grad:
        raise UserError(
            "The loss depends on parameters, besides the outputs: its gradient in the outputs "
            "would leave that part out. For a penalty (λ/2)‖θ‖² give weight_decay=λ, and the loss "
            "without it; parameters of the loss itself must not require a gradient."
        )
    if value.numel() != 1 and (value.ndim == 0 or len(value) != examples):
        raise UserError(
            f"The loss gives shape {tuple(value.shape)} for {examples} examples; it must give the "
            "mean over them, or numbers for each."
        )


def _check_twice(mean: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, labels: Tensor) -> None:
    """Raises: UserError if the loss has no second derivative, or one that is wrong.

    It is compared with differences of gradients, at two sizes: a kink spoils one.
    """
    direction = torch.randn(
        outputs.shape, generator=generator(0, "trial loss"), dtype=outputs.dtype
    )
    direction = direction.to(outputs)

    def slope(z: Tensor) -> tuple[Tensor, Tensor]:
        variable = z.detach().requires_grad_()
        value = mean(variable, labels)
        return variable, torch.autograd.grad(value, variable, create_graph=True)[0]

    agreed = False
    with torch.enable_grad():
        try:
            for step in (1e-4, 1e-5) if outputs.dtype == torch.float64 else (3e-2, 1e-2):
                variable, first = slope(outputs)
                second = torch.zeros_like(first)
                if first.requires_grad:
                    (second,) = torch.autograd.grad(
                        first, variable, direction, materialize_grads=True
                    )
                ahead, behind = (slope(outputs + s * step * direction)[1] for s in (1, -1))
                apart = ((ahead - behind) / (2 * step) - second).norm()
                scale = second.norm() + first.norm()
                agreed |= bool(apart <= (1e-4 if step < 1e-3 else 2e-2) * scale)
        except Exception as error:
            raise UserError(
                f"The loss cannot be differentiated twice in the outputs: "
                f"{str(error).splitlines()[0]} Write it in plain torch operations, without "
                ".item() and .detach()."
            ) from error
    if not agreed:
        raise UserError(
            "The loss has a second derivative in the outputs that is not the slope of its "
            "gradient, so it cannot be differentiated twice. Write it in plain torch operations."
        )

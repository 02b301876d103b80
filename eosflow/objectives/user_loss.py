"""A user's own loss as a criterion: every derivative in the outputs by torch.func."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, hessian, jvp, vmap

from eosflow.networks.module import to_like
from eosflow.objectives.criteria import Criterion
from eosflow.storage.errors import UserError

# loss(outputs, labels): the mean over the examples, or one number for each of them.
Loss = Callable[[Tensor, Tensor], Tensor]

# Between the loss of all and the mean of the losses of each: rounding, in float64.
SAME_LOSS = 1e-9
# A criterion that is convex in the outputs has no eigenvalue below 0, but by rounding.
ROUNDING = 1e-6


def user_criterion(
    loss: Loss, shape: tuple[int, ...], outputs: Tensor, labels: Tensor
) -> Criterion:
    """ℓ(z, y) = loss(z, y) of one example alone, for outputs of which each has this shape.

    `outputs` (N, C) and `labels` are those that training starts from: the loss of all must be the
    mean of the losses of each there.

    Raises: UserError, with the remedy, where the loss is no mean over examples, or cannot be
    differentiated twice.
    """

    def single(z: Tensor, y: Tensor) -> Tensor:
        label = to_like(y, z)[None]
        if label.is_floating_point():
            # Some losses, such as torch's squared error, cannot be differentiated twice where the
            # label has no derivative at all; so it gets one, which is 0.
            label = label + 0 * z.sum()
        return loss(z.reshape(1, *shape), label).reshape(())

    def value(z: Tensor, y: Tensor) -> Tensor:
        values: Tensor = vmap(single)(z, y)
        return values

    def gradient(z: Tensor, y: Tensor) -> Tensor:
        gradients: Tensor = vmap(grad(single))(z, y)
        return gradients

    def second(z: Tensor, y: Tensor) -> Tensor:
        matrices: Tensor = vmap(hessian(single))(z, y)
        values = torch.linalg.eigvalsh(matrices)
        if values.min() < -ROUNDING * values.abs().max() - 1e-13:
            raise UserError(
                "The loss is not convex in the outputs: its second derivative there has the "
                f"eigenvalue {values.min().item():.3g}. M = H_ℓ^(1/2) J and what is made of it are "
                "not defined then; eosflow.eigenpairs and eosflow.follow are."
            )
        return matrices

    def product(z: Tensor, tangents: Tensor, y: Tensor) -> Tensor:
        def along(a: Tensor, b: Tensor, tangent: Tensor) -> Tensor:
            image: Tensor = jvp(lambda c: grad(single)(c, b), (a,), (tangent,))[1]
            return image

        images: Tensor = vmap(lambda block: vmap(along)(z, y, block))(tangents)
        return images

    name = f"own {getattr(loss, '__name__', type(loss).__name__)}"
    criterion = Criterion(name, value, gradient, second, product)
    _check(criterion, loss, shape, outputs, labels)
    return criterion


def _check(
    criterion: Criterion, loss: Loss, shape: tuple[int, ...], outputs: Tensor, labels: Tensor
) -> None:
    try:
        whole = loss(outputs.reshape(len(outputs), *shape), to_like(labels, outputs))
        each = criterion.value(outputs, labels)
        criterion.hessian_product(outputs[:2], outputs[None, :2], labels[:2])
    except Exception as error:
        raise UserError(
            f"The loss cannot be used on outputs of shape {tuple(outputs.shape)} and labels of "
            f"shape {tuple(labels.shape)}, {labels.dtype}: {error} It must be a function of "
            "(outputs, labels) in plain torch operations that torch.func can take twice the "
            "derivative of, one example at a time."
        ) from error
    mean, total = each.mean(), each.sum()
    if whole.numel() == len(outputs) and whole.numel() > 1:
        whole = whole.mean()
    if whole.numel() != 1:
        raise UserError(
            f"The loss gives shape {tuple(whole.shape)}; it must give the mean over the examples, "
            "or one number for each. Average what is left."
        )
    tolerance = SAME_LOSS * each.abs().max().clamp(min=1e-300)
    if (whole - mean).abs() <= tolerance:
        return
    if (whole - total).abs() <= tolerance * len(outputs):
        raise UserError(
            "The loss adds up the examples, and 𝓛 is their mean: curvature would be "
            f"{len(outputs)} times that of the mean. Give it reduction='mean'."
        )
    raise UserError(
        "The loss is not the mean over examples of what it gives for each alone, such as with "
        "class weights, ignored labels or pairs of examples: curvature per example is undefined. "
        "Take a loss that is such a mean."
    )

"""Labels and criteria of a user's problem: by name where they fit, else as a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from eosflow.networks.user_module import UserModule
from eosflow.objectives import CRITERIA, OF_CLASSES
from eosflow.objectives.criteria import Criterion, criterion_of
from eosflow.objectives.user_loss import Loss, user_criterion
from eosflow.storage.errors import UserError, did_you_mean

# Other names that people give the criteria.
ALIASES = {
    "mse": "mean_squared_error",
    "ce": "cross_entropy",
    "bce": "torch.nn.BCEWithLogitsLoss()",
    "ggn": "gauss_newton",
}


def one_of(what: str, given: Any, allowed: tuple[str, ...], besides: str = "") -> str:
    """The name itself. Raises: UserError with the closest one that is allowed."""
    if given in allowed:
        return str(given)
    text = str(given).lower().replace("-", "_").replace(" ", "_")
    near = ALIASES.get(text)
    hint = f" Did you mean {near}?" if near else did_you_mean(text, allowed)
    raise UserError(f"{what}: {given!r} was given; allowed: {', '.join(allowed)}{besides}.{hint}")


def criterion_for(
    criterion: str | Loss,
    network: UserModule,
    outputs: Callable[[slice], Tensor],
    labels: Tensor,
    causal: bool,
) -> tuple[Criterion, Tensor]:
    """The criterion, and the labels as it wants them.

    Raises: UserError where outputs and labels do not go together.
    """
    shape = network.output_shape
    if isinstance(criterion, str):
        one_of("criterion", criterion, tuple(CRITERIA), ", or a loss of (outputs, labels)")
        named = _named(criterion, shape, labels, causal)
        if isinstance(named, Tensor):
            return criterion_of(criterion), named
        criterion = named
    if plain := _plain(criterion, shape, labels):
        return criterion_of(plain), labels
    if not callable(criterion):
        raise UserError(
            f"criterion: {type(criterion).__name__} was given; it must be a name "
            f"({', '.join(CRITERIA)}) or a loss of (outputs, labels)."
        )
    return user_criterion(criterion, shape, outputs, labels)


def _plain(loss: Any, shape: tuple[int, ...], labels: Tensor) -> str:
    """The name of the criterion that a loss of torch is on such labels; empty if it is another."""
    if getattr(loss, "reduction", "mean") != "mean" or len(shape) != 1:
        return ""
    if type(loss) is nn.MSELoss or loss is functional.mse_loss:
        same = labels.is_floating_point() and tuple(labels.shape[1:]) == shape
        return "mean_squared_error" if same else ""
    if type(loss) is not nn.CrossEntropyLoss and loss is not functional.cross_entropy:
        return ""
    if getattr(loss, "weight", None) is not None or getattr(loss, "label_smoothing", 0.0) > 0:
        return ""
    if labels.is_floating_point() or labels.ndim != 1 or shape[0] == 1:
        return ""
    ignored = (labels == getattr(loss, "ignore_index", -100)).any()
    inside = labels.min() >= 0 and labels.max() < shape[0]
    return "cross_entropy" if inside and not ignored else ""


def _named(name: str, shape: tuple[int, ...], labels: Tensor, causal: bool) -> Tensor | Loss:
    """The labels that the criterion of this name compares a row of outputs with, or its loss."""
    count = torch.Size(shape).numel()
    given = f"labels of shape {tuple(labels.shape)}, {labels.dtype}, were given"
    if name in OF_CLASSES:
        if labels.is_floating_point() and tuple(labels.shape[1:]) == shape and count > 1:
            if labels.min() >= 0 and (labels.sum(-1) - 1).abs().max() < 1e-5:
                return _soft_cross_entropy
            raise UserError(
                f"{given}; {name} compares classes, whole numbers (N,), or probabilities whose "
                "rows sum to 1. Use squared_error for numbers, or torch.nn.BCEWithLogitsLoss() "
                "for several classes at once."
            )
        if len(shape) > 1 and tuple(labels.shape[1:]) == shape[:-1]:
            if causal:
                raise UserError(
                    "The labels of a causal language model are those of the next token. Give the "
                    "loss that shifts them: lambda z, y: torch.nn.functional.cross_entropy("
                    "z[:, :-1].flatten(0, 1), y[:, 1:].flatten())."
                )
            return _token_cross_entropy
    if labels.is_floating_point():
        if name in OF_CLASSES:
            raise UserError(
                f"{given}; {name} compares classes, whole numbers (N,). Use labels.long(), or "
                "squared_error for numbers."
            )
        if labels[0].numel() != count:
            raise UserError(f"{given}; there are {count} outputs, so they must be (N, {count}).")
        return labels.reshape(len(labels), -1) if len(shape) > 1 else labels
    if len(shape) > 1:
        raise UserError(
            f"The module returns shape {shape} per example, and {given}. Classes need outputs "
            "(N, C) with labels (N,), or (N, T, C) with (N, T). Use labels.double() for numbers."
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        raise UserError(f"{given}; classes must be (N,). Use labels.squeeze(1).")
    if labels.ndim != 1:
        one_hot = tuple(labels.shape[1:]) == (count,) and bool((labels.sum(1) == 1).all())
        remedy = "labels.argmax(1), because they are one-hot rows" if one_hot else "labels.double()"
        raise UserError(
            f"{given}; classes must be (N,). Use {remedy}, or torch.nn.BCEWithLogitsLoss() for "
            "several classes at once."
        )
    if count == 1 and name in OF_CLASSES:
        raise UserError(
            f"{given}, for one output; {name} needs one output per class. Give "
            "torch.nn.BCEWithLogitsLoss() for a single logit."
        )
    if name == "cross_entropy" and (labels == -100).any():
        return _token_cross_entropy
    if labels.min() < 0 or labels.max() >= count:
        raise UserError(
            f"labels from {labels.min()} to {labels.max()} were given; with {count} outputs the "
            f"classes are 0 to {count - 1}. Use labels.double() if they are numbers."
        )
    return labels


def _soft_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """−Σ_c y_c log softmax(z)_c, the mean over the examples and what else there is."""
    return -(labels * functional.log_softmax(outputs, -1)).sum(-1).mean()


def _token_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """The mean over all labels but those that are −100."""
    return functional.cross_entropy(outputs.flatten(0, -2), labels.flatten())

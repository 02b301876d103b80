"""A module tried on a few examples: is it a fixed, twice differentiable function of each alone?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from eosflow.networks.inputs import signature_of
from eosflow.spectra.randomness import generator
from eosflow.storage.errors import UserError

if TYPE_CHECKING:
    from eosflow.networks.user_module import UserModule


class _Precision(NamedTuple):
    """How closely two ways to one number agree.

    `outputs`: between those of one example alone and among others. `steps`: of differences of
    gradients against the product with 𝓗, relative to the weights; a kink between the two ends, such
    as that of a ReLU, spoils one try, and a wrong derivative spoils all. `product`: how close these
    must be.
    """

    outputs: float
    steps: tuple[float, ...]
    product: float


DOUBLE = _Precision(1e-9, (1e-5, 1e-6, 1e-7, 1e-7, 1e-8), 1e-3)
SINGLE = _Precision(1e-4, (1e-2, 3e-3, 1e-3, 1e-3, 3e-4), 2e-2)
# How far from the weights the differences are taken, relative to their size.
NEARBY = 0.01


class Trial:
    """A module tried on a few examples (n, D) at its own weights.

    `output_shape` is that of one example's outputs, `part_single` says whether numbers are rounded
    to float32 inside, and `first` (n, C) are the outputs. Raises: UserError, with the remedy.
    """

    def __init__(self, network: UserModule, few: Tensor) -> None:
        self._network, self._few = network, few
        with _Rounding() as rounding:
            self.output_shape = self._try_outputs()
        self.part_single = network.dtype == torch.float64 and rounding.seen
        coarse = self.part_single or network.dtype != torch.float64
        self._precision = SINGLE if coarse else DOUBLE
        self.first = self._try_examples()
        self._compare()

    def _try_outputs(self) -> tuple[int, ...]:
        network, few, before = self._network, self._few, self._few.clone()
        buffers = {name: buffer.clone() for name, buffer in network.module.named_buffers()}
        try:
            with torch.no_grad():
                raw: Any = network.call(network.start, few)
        except Exception as error:
            kinds = ", ".join(str(dtype) for dtype in network.layout.dtypes)
            words = f"{signature_of(network.layout)}, {kinds}, with {len(few)} examples"
            bytes_ = torch.int64 in network.layout.dtypes and "Long" in str(error)
            remedy = " If they are images, give inputs.float() / 255." if bytes_ else ""
            raise UserError(
                f"The module cannot be called on inputs of shape {words}: "
                f"{first_line(error)}{remedy}"
            ) from error
        if not isinstance(raw, Tensor) or not raw.is_floating_point():
            kind = f"{type(raw).__name__}" if not isinstance(raw, Tensor) else f"{raw.dtype}"
            raise UserError(
                f"The module returns {kind}; it must return one tensor of real numbers, with a row "
                "per example. Wrap it in a module that returns only that part."
            )
        if raw.ndim == 0 or len(raw) != len(few):
            raise UserError(
                f"The module returns shape {tuple(raw.shape)} for {len(few)} examples; the first "
                f"dimension must count examples. Return outputs of shape ({len(few)}, …)."
            )
        if not torch.equal(few, before):
            raise UserError(
                "The module changes its inputs in place. Copy them at the start of its forward."
            )
        held = network.tensors_at(network.start)
        for name, buffer in buffers.items():
            now = held.get(name)
            if now is not None and not torch.equal(now, buffer.to(now.dtype)):
                raise UserError(
                    f"The module changes its buffer {name} at every call. Call .eval() on it, so "
                    "that its outputs are a fixed function of θ."
                )
        return tuple(raw.shape[1:])

    def _try_examples(self) -> Tensor:
        network, few = self._network, self._few
        with torch.no_grad():
            outputs, again = (network.outputs(network.start, few) for _ in range(2))
            try:
                alone = torch.cat([network.outputs(network.start, x[None]) for x in few])
            except Exception as error:
                raise UserError(
                    f"The module cannot be called on one example alone: {first_line(error)} "
                    "Curvature per example is then undefined. Remove the layers that need a batch."
                ) from error
        if not torch.equal(outputs, again):
            raise UserError(
                "The module draws random numbers at every call: the same inputs gave "
                "different outputs twice. Call .eval() on it, or remove the noise."
            )
        if not outputs.isfinite().all():
            raise UserError(
                "The module's outputs are not finite for the first inputs at its own weights. "
                "Check the scale of the inputs and the weights."
            )
        scale = outputs.abs().max().clamp(min=1e-30)
        if (outputs - alone).abs().max() > self._precision.outputs * scale:
            raise UserError(
                "The module mixes the examples of a batch: an example's outputs depend on the "
                "others. Curvature per example is then undefined. Call .eval() on it, or use "
                "GroupNorm or LayerNorm in place of what normalises over the batch."
            )
        return outputs

    def _value(self, theta: Tensor, weights: Tensor) -> Tensor:
        """Curved in z, so that products are of full size for linear modules too."""
        outputs = self._network.outputs(theta, self._few)
        return (weights * outputs + outputs.square() / 2).sum()

    def _derivatives(
        self, theta: Tensor, weights: Tensor, v: Tensor | None = None
    ) -> tuple[float, Tensor, Tensor | None]:
        """`_value`, its gradient and, along v, its second derivative."""
        with torch.enable_grad():
            variable = theta.detach().requires_grad_()
            value = self._value(variable, weights)

            def work() -> tuple[Tensor, Tensor | None]:
                (slope,) = torch.autograd.grad(value, variable, create_graph=v is not None)
                second = None if v is None else torch.autograd.grad(slope, variable, v)[0]
                return slope.detach(), second

            try:
                return value.item(), *self._network.run(variable, work)
            except Exception as error:
                raise UserError(
                    f"The module cannot be differentiated twice: {first_line(error)} Write the "
                    "layer that this names with plain operations."
                ) from error

    def _compare(self) -> None:
        """Derivatives against differences, at points near the module's weights.

        Not at the weights themselves: with biases of 0 a ReLU may sit at its kink there.
        """
        start, stream = self._network.start, generator(0, "trial directions")

        def noise(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=stream, dtype=start.dtype).to(start)

        weights = noise(*self.first.shape)
        spread = NEARBY * start.square().mean().sqrt().clamp(min=NEARBY)
        length = start.norm().clamp(min=1.0)
        rounding = 100 * torch.finfo(start.dtype).eps
        agreed: list[tuple[bool, bool]] = []
        for step in self._precision.steps:
            theta, v = start + spread * noise(len(start)), noise(len(start))
            v = v / v.norm()
            h = step * length
            loss, gradient, product = self._derivatives(theta, weights, v)
            assert product is not None
            above, after, _ = self._derivatives(theta + h * v, weights)
            below, before, _ = self._derivatives(theta - h * v, weights)
            slope, along = (above - below) / (2 * h), gradient @ v
            scale = along.abs() + gradient.norm() / len(v) ** 0.5
            allowed = self._precision.product * scale + rounding * abs(loss) / h
            first = (slope - along).abs() <= allowed
            difference = (after - before) / (2 * h)
            scale = product.norm() + gradient.norm() / length
            second = (difference - product).norm() <= self._precision.product * scale
            agreed.append((bool(first), bool(second)))
            if all(agreed[-1]):
                return
        if any(second for _, second in agreed) and not any(first for first, _ in agreed):
            which = "gradient is not the slope of its outputs"
        else:
            which = "second derivative is not the slope of its gradient"
        raise UserError(
            f"The module's {which}: a part of it is detached, rounded, or has a backward of its "
            "own. Curvature would be wrong. Remove .detach(), torch.no_grad, "
            "straight-through estimators and the like."
        )


class _Rounding(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes whether float64 numbers become less precise ones on the way."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        double = {torch.float64, torch.complex128}
        less = {torch.float32, torch.float16, torch.bfloat16, torch.complex64}
        given = {leaf.dtype for leaf in tree_leaves(args) if isinstance(leaf, Tensor)}
        made = {leaf.dtype for leaf in tree_leaves(result) if isinstance(leaf, Tensor)}
        self.seen |= bool(given & double and made & less)
        return result


def first_line(error: Exception) -> str:
    """The first line of an error's words, as a sentence."""
    text = (str(error).splitlines() or [type(error).__name__])[0].strip()
    return text if text.endswith(".") else f"{text}."

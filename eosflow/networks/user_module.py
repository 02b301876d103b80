"""A user's own `torch.nn.Module` as a network: copied, tried out, taken as it is or refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.func import grad, jvp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import UninitializedParameter

from eosflow.networks.module import ModuleNetwork
from eosflow.spectra.randomness import generator
from eosflow.storage.errors import UserError

# Examples of a trial: enough to see whether they are kept apart.
TRIAL_EXAMPLES = 4
# Between outputs of one example alone and among others: rounding, in float64.
SAME_OUTPUTS = 1e-9
# Differences of gradients along ±h against the product with 𝓗. A kink between the two ends, such as
# that of a ReLU, spoils one try; a derivative that is wrong spoils all.
DIFFERENCE_STEPS = (1e-5, 1e-6, 1e-7, 1e-7, 1e-8)
SAME_PRODUCT = 1e-3
# How far from the weights the differences are taken, relative to their size.
NEARBY = 0.01


class UserModule(ModuleNetwork):
    """z = f(x; θ) of a copy of the module in float64, in its mode, which starts from its weights.

    `inputs` (N, *shape) are some of those it will see, on the module's device: they are tried on
    it. Attention is taken by PyTorch's plain implementation where its fast one has no second
    derivative.

    Raises: UserError, with the remedy, where z is no fixed, twice differentiable function of single
    examples.
    """

    def __init__(self, module: nn.Module, inputs: Tensor) -> None:
        if any(isinstance(p, UninitializedParameter) for p in module.parameters()):
            raise UserError(
                "The module has lazy layers that have not been called yet. Call it once on a few "
                "inputs, so that they get their shapes."
            )
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise UserError(
                "The module has no parameters to train: none has requires_grad. Set "
                "requires_grad=True on those that are to move."
            )
        copied = _copied(module).to(dtype=torch.float64)
        # In place an activation does the same, but not along many directions at once.
        self._in_place = [m for m, layer in copied.named_modules() if vars(layer).get("inplace")]
        _set_in_place(copied, self._in_place, False)
        super().__init__(copied, tuple(inputs.shape[1:]), _leave)
        self._plain_attention = False
        self._numbers: int | None = None
        self._few = inputs[:TRIAL_EXAMPLES].reshape(len(inputs[:TRIAL_EXAMPLES]), -1)
        self.start = self.flatten({name: p.detach() for name, p in copied.named_parameters()})
        self.output_shape = self._try_outputs()
        self._try_derivatives()

    def initialize(self, seed: int) -> Tensor:
        """The module's own weights θ (P,) float64 on the CPU, whatever the seed."""
        return self.start.cpu()

    def context(self) -> AbstractContextManager[None]:
        """PyTorch's plain attention, where the fast one will not do."""
        return sdpa_kernel(SDPBackend.MATH) if self._plain_attention else nullcontext()

    def numbers(self) -> int:
        """Numbers that all submodules together put out for one example."""
        if self._numbers is None:
            self._numbers = self.count_numbers(self._few[:1].reshape(1, *self.shape))
        return self._numbers

    def reading(self, module: nn.Module) -> UserModule:
        """The same function of θ by the module itself, which is not copied.

        For one that the trial of its copy holds for, and in evaluation mode.
        """
        self.numbers()
        same = copy.copy(self)
        same.module = module
        return same

    def trained(self, theta: Tensor) -> nn.Module:
        """A copy of the module, in float64, that holds θ (P,)."""
        module = copy.deepcopy(self.module)
        _set_in_place(module, self._in_place, True)
        parameters = dict(module.named_parameters())
        with torch.no_grad():
            for name, value in self.named(theta).items():
                parameters[name].copy_(value)
        return module

    def _try_outputs(self) -> tuple[int, ...]:
        """The shape of one example's outputs, after a trial of what they depend on."""
        few, before = self._few, self._few.clone()
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        images = few.reshape(len(few), *self.shape)
        try:
            with torch.no_grad():
                raw = self.module(images)
        except Exception as error:
            raise UserError(
                f"The module cannot be called on inputs of shape {tuple(images.shape)}, "
                f"{images.dtype}: {error}"
            ) from error
        if not isinstance(raw, Tensor) or not raw.is_floating_point():
            kind = f"{type(raw).__name__}" if not isinstance(raw, Tensor) else f"{raw.dtype}"
            raise UserError(
                f"The module puts out {kind}; it must put out one tensor of real numbers, a row "
                "per example. Wrap it in a module that returns that part alone."
            )
        if raw.ndim == 0 or len(raw) != len(few):
            raise UserError(
                f"The module puts out shape {tuple(raw.shape)} for {len(few)} examples; the first "
                f"dimension must count examples. Return outputs of shape ({len(few)}, …)."
            )
        if not torch.equal(few, before):
            raise UserError(
                "The module changes its inputs in place. Let its forward begin with a copy."
            )
        for name, buffer in self.module.named_buffers():
            if not torch.equal(buffer, buffers[name]):
                raise UserError(
                    f"The module changes its buffer {name} at every call. Call .eval() on it, so "
                    "that its outputs are a fixed function of θ."
                )
        self._try_examples(few)
        return tuple(raw.shape[1:])

    def _try_examples(self, few: Tensor) -> None:
        with torch.no_grad():
            outputs, again = (self.outputs(self.start, few) for _ in range(2))
            try:
                alone = torch.cat([self.outputs(self.start, x[None]) for x in few])
            except Exception as error:
                raise UserError(
                    f"The module cannot be called on one example alone: {_first_line(error)} "
                    "Curvature per example is then undefined. Take out what needs a batch."
                ) from error
        if not torch.equal(outputs, again):
            raise UserError(
                "The module draws random numbers at every call: twice the same inputs gave "
                "different outputs. Call .eval() on it, or take the noise out."
            )
        if not outputs.isfinite().all():
            raise UserError(
                "The module's outputs are not finite for the first inputs at its own weights. "
                "Look at the inputs' scale and at the weights."
            )
        if (outputs - alone).abs().max() > SAME_OUTPUTS * outputs.abs().max().clamp(min=1e-300):
            raise UserError(
                "The module mixes the examples of a batch: an example's outputs depend on the "
                "others. Curvature per example is then undefined. Call .eval() on it, or take "
                "GroupNorm or LayerNorm in place of what normalises over the batch."
            )

    def _try_derivatives(self) -> None:
        """Take a product with a Hessian, and compare it with differences of gradients."""
        weights = torch.randn(
            len(self._few), self.outputs(self.start, self._few).shape[1],
            generator=generator(0, "trial weights"), dtype=torch.float64,
        ).to(self.start)  # fmt: skip

        def value(theta: Tensor) -> Tensor:
            # Curved in z, so that the product is of full size for linear modules too.
            outputs = self.outputs(theta, self._few)
            return (weights * outputs + outputs.square() / 2).sum()

        error = self._try_second(value)
        if error is not None:
            self._plain_attention = True
            if self._try_second(value) is not None:
                raise UserError(
                    "The module cannot be differentiated twice and example by example: "
                    f"{_first_line(error)} Write the layer that this names with plain operations: "
                    "a recurrent layer as a loop over its cell (torch.nn.LSTMCell), a "
                    "torch.autograd.Function with setup_context and jvp."
                ) from error
        self._compare(value)

    def _try_second(self, value: Callable[[Tensor], Tensor]) -> Exception | None:
        """What goes wrong where the curvature's products are taken; None if nothing does."""

        def of_one(theta: Tensor, example: Tensor) -> Tensor:
            return self.outputs(theta, example[None]).sum()

        direction = torch.ones_like(self.start)[None]
        try:
            vmap(lambda v: jvp(grad(value), (self.start,), (v,))[1])(direction)
            each = vmap(grad(of_one), in_dims=(None, 0))(self.start, self._few)
        except Exception as error:
            return error
        for example, gradient in zip(self._few, each, strict=True):
            apart = (grad(of_one)(self.start, example) - gradient).norm()
            if apart > SAME_OUTPUTS * gradient.norm() + 1e-300:
                return ArithmeticError("Its gradients of several examples at once are wrong.")
        return None

    def _compare(self, value: Callable[[Tensor], Tensor]) -> None:
        """Derivatives against differences, at points near the module's weights.

        Not at the weights themselves: with biases of 0 a ReLU may sit at its kink there.
        """
        stream = generator(0, "trial directions")

        def noise() -> Tensor:
            drawn = torch.randn(len(self.start), generator=stream, dtype=torch.float64)
            return drawn.to(self.start)

        def slopes(theta: Tensor) -> tuple[float, Tensor]:
            with torch.enable_grad():
                variable = theta.detach().requires_grad_()
                loss = value(variable)
                return loss.item(), torch.autograd.grad(loss, variable)[0]

        spread = NEARBY * self.start.square().mean().sqrt().clamp(min=NEARBY)
        length = self.start.norm().clamp(min=1.0)
        agreed: list[tuple[bool, bool]] = []
        for step in DIFFERENCE_STEPS:
            theta, v = self.start + spread * noise(), noise()
            v = v / v.norm()
            h = step * length
            loss, gradient = slopes(theta)
            # Along several directions at once, as curvature is taken, and not along one.
            product = vmap(lambda d, at=theta: jvp(grad(value), (at,), (d,))[1])(
                torch.stack([noise(), v])
            )[1]
            (above, after), (below, before) = slopes(theta + h * v), slopes(theta - h * v)
            slope, along = (above - below) / (2 * h), gradient @ v
            rounding = 1e-14 * abs(loss) / h
            scale = along.abs() + gradient.norm() / len(v) ** 0.5
            first = (slope - along).abs() <= SAME_PRODUCT * scale + rounding
            difference = (after - before) / (2 * h)
            scale = product.norm() + gradient.norm() / length
            second = (difference - product).norm() <= SAME_PRODUCT * scale
            agreed.append((bool(first), bool(second)))
            if all(agreed[-1]):
                return
        if any(second for _, second in agreed) and not any(first for first, _ in agreed):
            which = "gradient is not the slope of its outputs"
        else:
            which = "second derivative is not the slope of its gradient"
        raise UserError(
            f"The module's {which}: a part of it is detached, rounded, or has a backward of its "
            "own. Curvature would be a wrong number. Take out .detach(), torch.no_grad, "
            "straight-through estimators and the like."
        )


def _set_in_place(module: nn.Module, names: list[str], value: bool) -> None:
    for name in names:
        setattr(module.get_submodule(name), "inplace", value)  # noqa: B010


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as error:
        raise UserError(
            f"The module cannot be copied: {_first_line(error)} It is copied so that yours is left "
            "as it is; keep no tensors with a history of their own as attributes."
        ) from error


def _first_line(error: Exception) -> str:
    text = (str(error).splitlines() or [type(error).__name__])[0].strip()
    return text if text.endswith(".") else f"{text}."


def _leave(module: nn.Module, stream: torch.Generator) -> None:
    """The weights stay what they are."""

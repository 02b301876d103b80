"""Any `torch.nn.Module` as a function of one flat parameter vector."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from eosflow.networks.base import Shape
from eosflow.spectra.randomness import generator
from eosflow.storage.errors import UserError

T = TypeVar("T")
# initialize(module, stream): draw all parameters of a module anew, in place.
Initialize = Callable[[nn.Module, torch.Generator], None]

ACTIVATION_MODULES: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
}


class ModuleNetwork:
    """z = f(x; θ) of a module, whose parameters θ (P,) are those of `named_parameters`, in order.

    Parameters without `requires_grad` are frozen and excluded from θ. Inputs (N, D) are given
    to it as (N, *shape), and outputs of any shape are read as (N, C). `groups` are the parts of θ
    that belong to one submodule, such as a layer's weight and bias, as slices in the order of θ;
    `group_names` are those submodules.

    Raises: UserError for a module whose outputs are no fixed function of single examples.
    """

    def __init__(self, module: nn.Module, shape: Shape, initialize: Initialize) -> None:
        refuse(module)
        self.module = module
        self.shape = shape
        self._initialize = initialize
        named = {
            name: parameter
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        self._names = list(named)
        self._shapes = {name: tuple(parameter.shape) for name, parameter in named.items()}
        self._complex = {name for name, p in named.items() if p.is_complex()}
        self._sizes = [self.flat(name, p.detach()).numel() for name, p in named.items()]
        self.parameters = sum(self._sizes)
        # What θ does not hold, by dtype and device: buffers and frozen parameters.
        self._still: dict[tuple[torch.dtype, torch.device], dict[str, Tensor]] = {}
        # To look for shared tensors at each call takes a small network a tenth of its time.
        self._tied = any(
            len(list(found(remove_duplicate=False))) > len(list(found()))
            for found in (module.named_parameters, module.named_buffers)
        )
        self._counted: int | None = None
        self.group_names: list[str] = []
        self.groups = self._grouped()

    def _grouped(self) -> list[slice]:
        groups: list[slice] = []
        owner, start = None, 0
        for name, size in zip(self._names, self._sizes, strict=True):
            module = name.rpartition(".")[0]
            if groups and module == owner:
                groups[-1] = slice(groups[-1].start, start + size)
            else:
                groups.append(slice(start, start + size))
                self.group_names.append(module)
            owner, start = module, start + size
        return groups

    @property
    def sizes(self) -> dict[str, int]:
        """How many numbers of θ each parameter has, by its name, in order."""
        return dict(zip(self._names, self._sizes, strict=True))

    def named(self, theta: Tensor) -> dict[str, Tensor]:
        """Views of θ (P,) by the names that the module gives its parameters."""
        parts = zip(self._names, torch.split(theta, self._sizes), strict=True)
        return {name: self.shaped(name, part) for name, part in parts}

    def flat(self, name: str, parameter: Tensor) -> Tensor:
        """What θ holds of a parameter, as a vector; a complex number is two."""
        parameter = torch.view_as_real(parameter) if parameter.is_complex() else parameter
        return parameter.reshape(-1)

    def shaped(self, name: str, part: Tensor) -> Tensor:
        """The parameter from what θ holds of it; the inverse of `flat`."""
        if name in self._complex:
            return torch.view_as_complex(part.view(*self._shapes[name], 2))
        return part.view(self._shapes[name])

    def flatten(self, named: dict[str, Tensor]) -> Tensor:
        """θ (P,) from the tensors of a snapshot; the inverse of `named`."""
        return torch.cat([self.flat(name, named[name]) for name in self._names])

    def initialize(self, seed: int) -> Tensor:
        """θ (P,) float64 on the CPU, from a separate stream for each seed."""
        self._still.clear()
        self.module.to(dtype=torch.float64, device="cpu")
        with torch.no_grad():
            self._initialize(self.module, generator(seed, "initialisation"))
            parameters: dict[str, Tensor] = dict(self.module.named_parameters())
            return self.flatten(parameters).detach().clone()

    def outputs(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """z (N, C) for inputs (N, D), in the dtype and on the device of θ."""
        images = inputs.reshape(len(inputs), *self.shape)
        with self.context():
            tensors = self.tensors_at(theta)
            outputs: Tensor = functional_call(
                self.module, tensors, (images,), tie_weights=self._tied
            )
        return outputs.reshape(len(inputs), -1)

    def check_inputs(self, inputs: Tensor) -> None:
        """Raises: UserError for inputs (N, D) that the module cannot be called on."""

    def context(self) -> AbstractContextManager[None]:
        """What the module must be called within."""
        return nullcontext()

    def tensors_at(self, theta: Tensor) -> dict[str, Tensor]:
        """All tensors that the module holds, by name, with those of θ and in its dtype."""
        place = theta.dtype, theta.device
        if place not in self._still:
            still = dict(self.module.named_buffers())
            own = dict(self.module.named_parameters())
            still |= {name: p.detach() for name, p in own.items() if not p.requires_grad}
            self._still[place] = {name: to_like(tensor, theta) for name, tensor in still.items()}
        return self._still[place] | self.named(theta)

    def run(self, theta: Tensor, work: Callable[[], T]) -> T:
        """work(), which differentiates outputs at θ; a module may need its parameters for it."""
        return work()

    def numbers(self) -> int:
        """Numbers that all submodules together put out for one example."""
        example = next(self.module.parameters()).new_zeros(1, *self.shape)
        count = 0

        def add(_: nn.Module, __: object, output: object) -> None:
            nonlocal count
            count += output.numel() if isinstance(output, Tensor) else 0

        handles = [module.register_forward_hook(add) for module in self.module.modules()]
        try:
            with torch.no_grad():
                self.module(example)
        finally:
            for handle in handles:
                handle.remove()
        return count


class _LayerNorm(nn.LayerNorm):
    """LayerNorm by plain operations, with the weight and the bias of an existing layer.

    Of PyTorch's own (2.13) the derivative of a forward derivative is wrong, without a word: mean
    and deviation are constants in it. Third derivatives, as trace-penalty takes them, need it.
    """

    def __init__(self, layer: nn.LayerNorm) -> None:
        super().__init__(layer.normalized_shape, layer.eps)
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, input: Tensor) -> Tensor:
        centred = input - input.mean(-1, keepdim=True)
        scale = (centred.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return centred * scale * self.weight + self.bias


def plain_layer_norms(module: nn.Module) -> None:
    """Put plain operations in the place of each LayerNorm over the last axis, in place."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, nn.LayerNorm):
            module.set_submodule(name, _LayerNorm(layer))


def to_like(tensor: Tensor, theta: Tensor) -> Tensor:
    """The tensor on the device of θ, real and complex numbers in its precision, others as they
    are.
    """
    if tensor.is_complex():
        return tensor.to(theta.device, theta.dtype.to_complex())
    return tensor.to(theta) if tensor.is_floating_point() else tensor.to(theta.device)


def refuse(module: nn.Module) -> None:
    """Raises: UserError for a layer that has no place in a fixed function of single examples."""
    for name, layer in module.named_modules():
        place = f"the layer {name or 'itself'} ({type(layer).__name__})"
        if layer.training and isinstance(layer, nn.modules.batchnorm._BatchNorm):
            raise UserError(
                f"The network cannot be used: {place} mixes the examples of a batch while it "
                "trains. Call .eval() on the module, or take GroupNorm in its place."
            )
        if layer.training and isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            raise UserError(
                f"The network cannot be used: {place} draws random numbers at every call. Call "
                ".eval() on the module, or set p=0."
            )
    for name, parameter in module.named_parameters():
        if not (parameter.is_floating_point() or parameter.is_complex()):
            raise UserError(
                f"The network cannot be used: its parameter {name} is {parameter.dtype}. "
                "Parameters must be real or complex numbers; make it a buffer."
            )


def glorot_uniform(module: nn.Module, stream: torch.Generator) -> None:
    """Glorot uniform weights and zero biases, in place. Source: Glorot & Bengio 2010."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter, generator=stream)
        else:
            parameter.zero_()


def he_normal(scale: float) -> Initialize:
    """Normal weights of variance scale · 2/fan-in and zero biases. Source: He et al. 2015."""

    def initialize(module: nn.Module, stream: torch.Generator) -> None:
        for parameter in module.parameters():
            if parameter.ndim > 1:
                fan = math.prod(parameter.shape[1:])
                parameter.normal_(0, math.sqrt(scale * 2 / fan), generator=stream)
            else:
                parameter.zero_()

    return initialize

"""A user's own `torch.nn.Module` as a network: copied, tried, and accepted or refused."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import UninitializedParameter

from eosflow.networks.inputs import Layout
from eosflow.networks.module import ModuleNetwork, to_like
from eosflow.networks.trial import Trial, first_line
from eosflow.storage.errors import UserError

T = TypeVar("T")
# Examples of a trial: enough to see whether they are kept apart.
TRIAL_EXAMPLES = 4


class UserModule(ModuleNetwork):
    """z = f(x; θ) of a copy of the module in `dtype`, in its mode, which starts from its weights.

    `inputs` (N, …) are those it will see, on the module's device, as `layout` stores them; four of
    them, evenly spaced, are tried on it. Attention is taken by PyTorch's plain implementation, for
    its fast ones have no second derivative. The padding row of an embedding, which PyTorch never
    moves, is frozen and no part of θ. A complex parameter counts twice. `part_single` says whether
    the module rounds to float32 inside, whatever it is given.

    Raises: UserError, with the remedy, where z is no fixed, twice differentiable function of single
    examples.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: Tensor,
        layout: Layout | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.layout = layout or Layout((None,), (tuple(inputs.shape[1:]),), (inputs.dtype,))
        self.dtype = dtype
        _refuse(module)
        copied = _in_precision(_copied(module), dtype)
        # In place an activation does the same, but not along many directions at once.
        self._in_place = [m for m, layer in copied.named_modules() if vars(layer).get("inplace")]
        _set_in_place(copied, self._in_place, False)
        self._padding = _free_padding(copied)
        super().__init__(copied, self.layout.shape, lambda module, stream: None)
        self._inside = _Inside(copied)
        count = min(TRIAL_EXAMPLES, len(inputs))
        rows = torch.linspace(0, len(inputs) - 1, count).round().long().to(inputs.device)
        self._few = inputs[rows].reshape(count, -1)
        self.start = self.weights()
        # One copy of the weights is enough.
        own = dict(copied.named_parameters())
        for name, value in self.named(self.start).items():
            if name not in {*self._padding, *self._complex}:
                own[name].data = value
        trial = Trial(self, self._few)
        self.output_shape, self.part_single = trial.output_shape, trial.part_single
        self._first = trial.first

    def initialize(self, seed: int) -> Tensor:
        """The module's own weights θ (P,) on the CPU, whatever the seed."""
        return self.start.cpu()

    def weights(self) -> Tensor:
        """θ (P,) of the module that it holds as they are now, in its precision."""
        self._still.clear()
        own = {name: p.detach() for name, p in self.module.named_parameters()}
        for name, (row, _) in self._padding.items():
            self._padding[name] = row, own[name][row].clone()
        return self.flatten(own).to(self.dtype)

    def reading(self, module: nn.Module, dtype: torch.dtype) -> UserModule:
        """This function of θ by the module itself, which is not copied, in that precision.

        For one that the trial of its copy holds for, and in evaluation mode. Its `weights` are
        those of the module at each call.
        """
        self.numbers()
        same = copy.copy(self)
        same.module, same._inside, same.dtype = module, _Inside(module), dtype
        same._still, same._padding = {}, dict(self._padding)
        same.start = same.weights()
        return same

    def flat(self, name: str, parameter: Tensor) -> Tensor:
        """What θ holds of a parameter, as a vector: no padding row, complex numbers as two."""
        if name in self._padding:
            row, _ = self._padding[name]
            parameter = torch.cat([parameter[:row], parameter[row + 1 :]])
        return super().flat(name, parameter)

    def shaped(self, name: str, part: Tensor) -> Tensor:
        """The parameter from what θ holds of it."""
        if name not in self._padding:
            return super().shaped(name, part)
        row, frozen = self._padding[name]
        rows = part.view(-1, *self._shapes[name][1:])
        return torch.cat([rows[:row], frozen.to(part)[None], rows[row:]])

    def outputs(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """z (N, C) for rows of inputs (N, D), in the dtype and on the device of θ."""
        return self.call(theta, inputs).reshape(len(inputs), -1)  # type: ignore[no-any-return]

    def call(self, theta: Tensor, inputs: Tensor) -> Any:
        """What the module puts out; the logits of an output of the library transformers."""
        given, named = self.layout.arguments(inputs)
        with self.context():
            raw = functional_call(
                self.module, self.tensors_at(theta), tuple(given), named, tie_weights=self._tied
            )
        if isinstance(raw, Mapping) and isinstance(raw.get("logits"), Tensor):
            return raw["logits"]
        return raw

    def run(self, theta: Tensor, work: Callable[[], T]) -> T:
        """work() with the parameters in their places: gradient checkpointing calls layers again."""
        tensors = {f"module.{name}": tensor for name, tensor in self.tensors_at(theta).items()}
        with self.context():
            return functional_call(self._inside, tensors, (work,))  # type: ignore[no-any-return]

    def context(self) -> AbstractContextManager[None]:
        """PyTorch's plain attention."""
        return _plain_attention()

    def numbers(self) -> int:
        """Numbers that the derivative of one example's outputs keeps in memory."""
        if self._counted is None:
            kept: dict[int, int] = {}

            def note(tensor: Tensor) -> Tensor:
                kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
                return tensor

            variable = self.start.detach().requires_grad_()
            with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
                outputs = self.outputs(variable, self._few[:1])
            kept.pop(variable.untyped_storage().data_ptr(), None)
            self._counted = sum(kept.values()) + outputs.numel()
        return self._counted

    def trained(self, theta: Tensor) -> nn.Module:
        """A copy of the module, in its dtype, that holds θ (P,)."""
        module = copy.deepcopy(self.module)
        _set_in_place(module, self._in_place, True)
        for name, (row, _) in self._padding.items():
            module.get_submodule(name.rpartition(".")[0]).padding_idx = row  # type: ignore[assignment]
        parameters = dict(module.named_parameters())
        with torch.no_grad():
            for name, value in self.named(theta).items():
                parameters[name].copy_(value)
        return module

    def check_again(self) -> None:
        """Raises: UserError if the outputs for the first examples are not what they were."""
        with torch.no_grad():
            again = self.outputs(self.start, self._few)
        if not torch.equal(again, self._first):
            raise UserError(
                "The module changed while it was used: the same inputs and weights give other "
                "outputs than at first, so it is not a fixed function. Remove whatever "
                "counts calls or keeps state."
            )


class _Inside(nn.Module):
    """Does some work while its module holds other tensors."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, work: Callable[[], Any]) -> Any:
        """work()."""
        return work()


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _refuse(module: nn.Module) -> None:
    """Raises: UserError for what cannot be copied or differentiated."""
    if isinstance(module, torch.jit.ScriptModule):
        raise UserError(
            "The module is scripted or traced by torch.jit, whose parameters cannot be replaced. "
            "Give the original module."
        )
    for name, layer in module.named_modules():
        if "quantized" in type(layer).__module__:
            raise UserError(
                f"The layer {name or 'itself'} ({type(layer).__name__}) is quantised and has no "
                "derivatives. Give the module before it was quantised."
            )
        if isinstance(layer, nn.Embedding) and layer.max_norm is not None:
            raise UserError(
                f"The layer {name or 'itself'} (Embedding) shortens its vectors in place, by "
                "max_norm. Set max_norm=None."
            )
    if any(isinstance(p, UninitializedParameter) for p in module.parameters()):
        raise UserError(
            "The module has lazy layers that have not been called yet. Call it once on a few "
            "inputs, so that they get their shapes."
        )
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise UserError(
            "The module has no parameters to train: none has requires_grad. Set "
            "requires_grad=True on those to be trained."
        )


def _in_precision(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The module in the precision. Module.to would drop the imaginary parts of its buffers."""
    like = torch.empty(0, dtype=dtype)
    apply: Callable[..., nn.Module] = module._apply
    return apply(lambda tensor: to_like(tensor, like.to(tensor.device)))


def _free_padding(module: nn.Module) -> dict[str, tuple[int, Tensor]]:
    """Padding rows and their vectors by the parameters' names; the embeddings lose theirs.

    A weight with another use, such as a tied output layer, moves in all its rows.
    """
    names = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    unique = {id(p): name for name, p in module.named_parameters()}
    padding: dict[str, tuple[int, Tensor]] = {}
    for layer in module.modules():
        if not isinstance(layer, nn.Embedding) or layer.padding_idx is None:
            continue
        own = unique[id(layer.weight)]
        uses = sum(module.get_parameter(n) is layer.weight for n in names)
        if uses == 1 and layer.weight.requires_grad:
            row = layer.padding_idx
            padding[own] = (row, layer.weight.detach()[row].clone())
        layer.padding_idx = None
    return padding


def _set_in_place(module: nn.Module, names: list[str], value: bool) -> None:
    for name in names:
        setattr(module.get_submodule(name), "inplace", value)  # noqa: B010


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as error:
        raise UserError(
            f"The module cannot be copied: {first_line(error)} A copy is needed so that yours "
            "stays unchanged; keep no tensors with an autograd history as attributes."
        ) from error

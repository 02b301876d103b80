"""What would give a wrong number is refused, with what to do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from own_modules import (
    C,
    D,
    Forward,
    N,
    Tokens,
    data_of,
    labels_of_tokens,
    mlp,
    numbers,
    words,
)
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

import eosflow
from eosflow.library import factors, memory, spectrum


class Stranger(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * x.cos()


class Wrong(torch.autograd.Function):
    """sin, whose backward is right and has a derivative that is not."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.sin()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * x.detach().cos()

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return tangent * x.detach().cos()


class Overwrites(Forward):
    def forward(self, x: Tensor) -> Tensor:
        x *= 2
        return super().forward(x)


def with_layer(layer: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(D, 4), layer, nn.Linear(4, C))


def batch_norm(**settings: Any) -> nn.Module:
    return with_layer(nn.BatchNorm1d(4, **settings))


REFUSED_MODULES: dict[str, tuple[Any, str]] = {
    "no module": (lambda x: x, "function was given; it must be a torch.nn.Module"),
    "dropout": (with_layer(nn.Dropout()), r"layer 1 \(Dropout\) draws random.*\.eval\(\)"),
    "batch norm": (batch_norm(), r"layer 1 \(BatchNorm1d\) mixes the examples.*\.eval\(\)"),
    "batch norm of batches": (
        batch_norm(track_running_stats=False).eval(),
        "cannot be called on one example alone",
    ),
    "mixed": (Forward(after=lambda z: z - z.mean(0)), "mixes the examples of a batch"),
    "noise": (Forward(after=lambda z: z + torch.randn_like(z)), "draws random numbers"),
    "buffers": (
        nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(D, C))),
        "changes its buffer 0.parametrizations.weight.0._u",
    ),
    "a number": (Forward(after=lambda z: z.mean()), r"shape \(\) for 4 examples; the first"),
    "a pair": (Forward(after=lambda z: (z, z)), "returns tuple; it must return one tensor"),
    "classes": (Forward(after=lambda z: z.argmax(1)), "returns torch.int64"),
    "infinite": (Forward(after=lambda z: z / 0), "outputs are not finite"),
    "a Function of one derivative": (
        Forward(Stranger.apply),
        "second derivative is not the slope|cannot be differentiated twice",
    ),
    "a state_dict": (mlp().state_dict(), r"state_dict was given.*load_state_dict"),
    "traced": (torch.jit.trace(mlp(), torch.zeros(1, D)), "scripted or traced"),
    "max_norm": (nn.Sequential(nn.Embedding(9, 3, max_norm=1.0)), "max_norm=None"),
    "a wrong derivative": (Forward(Wrong.apply), "second derivative is not the slope"),
    "detached": (Forward(lambda x: x * x.sigmoid().detach()), "Curvature would be wrong"),
    "rounded": (Forward(lambda x: x + (x.round() - x).detach()), "would be wrong"),
    "lazy": (nn.LazyLinear(C), "lazy layers.*Call it once"),
    "nothing to train": (nn.Tanh(), "no parameters to train"),
    "inputs": (Overwrites(), "changes its inputs in place"),
    "other shape": (nn.Linear(D + 1, C), r"cannot be called on inputs of shape \(6,\)"),
}


@pytest.mark.parametrize("name", REFUSED_MODULES)
def test_modules_that_would_give_a_wrong_number_are_refused(name: str) -> None:
    module, message = REFUSED_MODULES[name]
    with pytest.raises(eosflow.UserError, match=message):
        eosflow.Problem(module, "cross_entropy", data_of())


def test_a_module_that_counts_its_calls_is_found_out_at_the_end() -> None:
    class Counts(Forward):
        calls = 0

        def forward(self, x: Tensor) -> Any:
            self.calls += 1
            return super().forward(x) * (2 if self.calls > 30 else 1)

    own = eosflow.Problem(Counts(), "cross_entropy", data_of())
    assert isinstance(own.network.module, Counts)
    own.network.module.calls = 30
    for compute in (
        lambda: eosflow.eigenpairs(own, k=1),
        lambda: eosflow.decompose(own),
        lambda: eosflow.follow(own, eosflow.GradientDescent(learning_rate=0.1), steps=1),
    ):
        with pytest.raises(eosflow.UserError, match="changed while it was used"):
            compute()


def test_a_loss_with_the_parameters_in_it_is_refused() -> None:
    module = mlp()

    def decayed(z: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(z, y) + sum(p.square().sum() for p in module.parameters())

    with pytest.raises(eosflow.UserError, match=r"depends on parameters.*weight_decay=λ"):
        eosflow.Problem(module, decayed, data_of())


def test_a_causal_model_needs_a_loss_that_shifts() -> None:
    class TinyForCausalLM(Tokens):
        pass

    data = words[0], labels_of_tokens
    with pytest.raises(eosflow.UserError, match=r"next token.*lambda z, y"):
        eosflow.Problem(TinyForCausalLM(), "cross_entropy", data)


X, Y = data_of()
REFUSED_DATA: dict[str, tuple[Any, Any, str]] = {
    "unknown name": ("crossentropy", (X, Y), "'crossentropy' .* Did you mean cross_entropy"),
    "a short name": ("mse", (X, Y), "'mse' was given.* Did you mean mean_squared_error"),
    "no loss": (3, (X, Y), "int was given; it must be a name"),
    "a sum": (nn.CrossEntropyLoss(reduction="sum"), (X, Y), "sums over the examples.*'mean'"),
    "pairs of examples": (
        lambda z, y: (z[:, None] - z[None]).square().mean(),
        (X, Y),
        "not a weighted mean",
    ),
    "a root": (lambda z, y: (z.square().mean()).sqrt(), (X, Y), "not a weighted mean"),
    "another precision": (
        lambda z, y: functional.cross_entropy(z, y, weight=torch.ones(C)),
        (X, Y),
        "dtype=torch.float32",
    ),
    "once": (lambda z, y: Stranger.apply(z).mean(), (X, Y), "cannot be differentiated twice"),
    "turned": (lambda z, y: z.T, (X, Y), r"gives shape \(3, 2\) for 2 examples"),
    "one tensor": ("cross_entropy", X, r"one Tensor was given; it must be \(inputs, labels\)"),
    "sparse": ("cross_entropy", (X.to_sparse(), Y), r"to_dense\(\)"),
    "bytes": (
        "cross_entropy",
        ((X * 9).byte(), Y),
        r"inputs\.float\(\) / 255",
    ),
    "a column of classes": ("cross_entropy", (X, Y[:, None]), r"labels\.squeeze\(1\)"),
    "no probabilities": ("cross_entropy", (X, torch.ones(N, C)), "sum to 1"),
    "rows": ("cross_entropy", (X, Y[1:]), "both must have a row per example"),
    "none": ("cross_entropy", (X[:0], Y[:0]), "there are no examples"),
    "no batches": ("cross_entropy", iter([]), "An iterator that was used up gives none"),
    "examples": ("cross_entropy", list(zip(X, Y, strict=True)), "single examples.*DataLoader"),
    "dictionaries": ("cross_entropy", [{"x": X, "y": Y}], "mapping with x, y .* under 'labels'"),
    "a number": ("cross_entropy", 3, "int was given"),
    "not a number": ("cross_entropy", (X / 0, Y), "not finite"),
    "numbers": ("cross_entropy", numbers(), "compares classes.*squared_error"),
    "one-hot": ("cross_entropy", (X, functional.one_hot(Y, C)), r"labels.argmax\(1\)"),
    "too many": ("cross_entropy", (X, Y + 1), r"from 1 to 3 were given; with 3 .* 0 to 2"),
    "two columns": ("squared_error", (X, torch.ones(N, 2)), r"must be \(N, 3\)"),
}


@pytest.mark.parametrize("name", REFUSED_DATA)
def test_data_and_losses_that_do_not_fit_are_refused(name: str) -> None:
    criterion, data, message = REFUSED_DATA[name]
    with pytest.raises(eosflow.UserError, match=message):
        eosflow.Problem(mlp(), criterion, data)


def test_a_loss_that_is_not_convex_has_curvature_and_no_factors() -> None:
    own = eosflow.Problem(mlp(), lambda z, y: (z - y).sin().sum(1).mean(), numbers())
    assert eosflow.eigenpairs(own, k=1).converged.all()
    with pytest.raises(eosflow.UserError, match=r"not convex in the outputs.*eosflow\.eigenpairs"):
        eosflow.decompose(own)


def test_wrong_requests_are_refused() -> None:
    own = eosflow.Problem(mlp(), "cross_entropy", data_of())
    plain = eosflow.GradientDescent(learning_rate=0.1)
    flow = eosflow.ExponentialEuler()
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: eosflow.eigenpairs(own, k=0), "k: 0 was given; it must be 1 to 53"),
        (lambda: eosflow.eigenpairs(own, matrix="fisher"), "'fisher' was given; allowed: hess"),  # type: ignore[arg-type]
        (lambda: eosflow.eigenpairs(own, matrix="ggn"), "Did you mean gauss_newton"),  # type: ignore[arg-type]
        (lambda: eosflow.eigenpairs(own, which="largset"), "Did you mean largest"),  # type: ignore[arg-type]
        (lambda: eosflow.eigenpairs(own, tolerance=0.0), "tolerance: 0.0 was given"),
        (lambda: own.product("hessian", torch.ones(3)), r"vectors: shape \(3,\) was given"),
        (lambda: eosflow.follow(own, plain), "no end was given. Give until_loss"),
        (lambda: eosflow.follow(own, plain, steps=0), "steps: 0 was given; it must be"),
        (lambda: eosflow.follow(own, plain, steps=1.5), "it must be a whole number"),  # type: ignore[arg-type]
        (lambda: eosflow.follow(own, plain, until_loss=math.nan), "until_loss: nan was given"),
        (lambda: eosflow.follow(own, torch.optim.SGD, steps=1), "A torch.optim optimizer"),  # type: ignore[arg-type]
        (lambda: eosflow.follow(own, eosflow.Adam, steps=1), "Adam was given; .* its settings"),  # type: ignore[arg-type]
        (lambda: eosflow.follow(mlp(), plain, steps=1), "Sequential was given; make one"),  # type: ignore[arg-type]
        (
            lambda: eosflow.follow(own, eosflow.GradientDescent(learning_rate=-1), steps=1),
            "learning_rate: -1 was given; .* greater than 0",
        ),
        (
            lambda: eosflow.follow(own, eosflow.ExponentialEuler(eigen_tolerance=1e-9), steps=1),
            "ExponentialEuler: eigen_tolerance: 1e-09 was given",
        ),
        (
            lambda: eosflow.follow(own, plain, steps=1, measure=[eosflow.TopEigenvalues]),  # type: ignore[list-item]
            r"measure: TopEigenvalues was given; .*\[eosflow.TopEigenvalues\(k=5",
        ),
        (
            lambda: eosflow.follow(own, flow, steps=1, batches=eosflow.Shuffled(size=2)),
            "ExponentialEuler follows the flow of the whole loss",
        ),
        (
            lambda: eosflow.follow(own, eosflow.SGD(learning_rate=1, batch_size=9), steps=1),
            "only 7 examples",
        ),
    ]
    for call, message in calls:
        with pytest.raises(eosflow.UserError, match=message):
            call()


def test_what_needs_more_memory_than_there_is_is_refused_before_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = nn.Linear(128, 3072)  # 396,288 parameters: a Jacobian of 9.7 GB for one example
    own = eosflow.Problem(module, "squared_error", (torch.randn(2, 128), torch.randn(2, 3072)))
    monkeypatch.setattr(memory, "present", lambda: 24e9)

    def begun(*_: Any) -> None:
        raise AssertionError("work has started")

    for place, name in ((factors, "decompose_objective"), (spectrum, "search")):
        monkeypatch.setattr(place, name, begun)
    with pytest.raises(eosflow.UserError, match=r"need 41.2 GB of memory.*eosflow\.eigenpairs"):
        eosflow.decompose(own)
    with pytest.raises(eosflow.UserError, match=r"9999 eigenpairs.* need .* GB.*Ask for fewer"):
        eosflow.eigenpairs(own, k=9999)
    monkeypatch.setattr(memory, "present", lambda: 1e7)
    with pytest.raises(eosflow.UserError, match=r"30 probes .* need 0.13.* GB.*Take fewer"):
        eosflow.trace(own, probes=30)

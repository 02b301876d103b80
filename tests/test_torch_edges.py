"""The edges of torch's optimizers, against the steps that these optimizers themselves take."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RMSprop

import eosflow
from eosflow.library.torch_edges import RULES, Edge, Stability
from eosflow.optimizers.batches import FullBatch
from eosflow.optimizers.gradient import GradientDescent
from eosflow.optimizers.loop import StopCriteria, begin, follow
from eosflow.optimizers.preconditioned import Adam as OwnAdam
from eosflow.optimizers.preconditioned import RMSprop as OwnRMSprop
from eosflow.studies.testbeds import cheb, dense

SIZES = (3, 4)
# (optimizer, its settings, other settings of the second group)
CASES: dict[str, tuple[type[Optimizer], dict[str, Any], dict[str, Any]]] = {
    "gradient descent": (SGD, {"lr": 0.1}, {"lr": 0.03}),
    "momentum": (SGD, {"lr": 0.1, "momentum": 0.9}, {"momentum": 0.5}),
    "dampening": (SGD, {"lr": 0.1, "momentum": 0.6, "dampening": 0.3}, {"dampening": 0.1}),
    "dampening without momentum": (SGD, {"lr": 0.1, "dampening": 0.3}, {}),
    "Nesterov": (SGD, {"lr": 0.1, "momentum": 0.8, "nesterov": True}, {"momentum": 0.2}),
    "weight decay": (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2}, {"weight_decay": 0}),
    "Adam": (Adam, {"lr": 0.02}, {"lr": 0.01, "betas": (0.5, 0.99)}),
    "Adam, weight decay": (Adam, {"lr": 0.02, "weight_decay": 0.3}, {"weight_decay": 0.0}),
    "AMSGrad": (Adam, {"lr": 0.02, "amsgrad": True, "eps": 0.1}, {"eps": 1e-3}),
    "AdamW": (AdamW, {"lr": 0.1, "weight_decay": 0.5}, {"lr": 0.05, "weight_decay": 0.0}),
    "NAdam": (NAdam, {"lr": 0.02}, {"momentum_decay": 0.1, "betas": (0.7, 0.99)}),
    "NAdam, weight decay": (NAdam, {"lr": 0.02, "weight_decay": 0.3}, {"lr": 0.01}),
    "NAdam, decoupled": (
        NAdam,
        {"lr": 0.1, "weight_decay": 0.5, "decoupled_weight_decay": True},
        {"weight_decay": 0.1},
    ),
    "RMSprop": (RMSprop, {"lr": 0.02, "weight_decay": 0.1}, {"lr": 0.01}),
    "RMSprop, momentum": (RMSprop, {"lr": 0.02, "momentum": 0.9}, {"momentum": 0.4}),
    "RMSprop, centred": (RMSprop, {"lr": 0.02, "centered": True}, {"eps": 0.1}),
    "Adagrad": (Adagrad, {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1}, {"lr": 0.05}),
}
MOMENTA = ("momentum_buffer", "exp_avg")
TINY = 1e-8  # of θ: what its gradient adds to the running squares is lost in rounding


def test_every_rule_has_a_case() -> None:
    assert {kind for kind, _, _ in CASES.values()} == set(RULES)


class Steps:
    """One step of an optimizer that has taken five, as a matrix on θ and its momenta."""

    def __init__(self, name: str, groups: bool) -> None:
        kind, settings, other = CASES[name]
        stream = torch.Generator().manual_seed(0)
        self.parameters = [nn.Parameter(torch.zeros(n, dtype=torch.float64)) for n in SIZES]
        parts = [{"params": [p]} for p in self.parameters]
        parts[1] |= other if groups else {}
        self.optimizer: Any = kind(parts, **settings)
        for _ in range(5):
            for parameter in self.parameters:
                parameter.grad = torch.randn(parameter.shape, generator=stream, dtype=torch.float64)
            self.optimizer.step()
        self._before = copy.deepcopy(self.optimizer.state_dict())

    def edge(self) -> Edge:
        found = Stability(self.optimizer, self.parameters).now()
        assert found is not None
        return found

    def matrix(self, hessian: Tensor) -> Tensor:
        """(θ, m) before the step to (θ, m) after it, by the optimizer itself."""
        size = sum(SIZES)
        return torch.stack([self._step(hessian, v) / TINY for v in TINY * torch.eye(2 * size)], 1)

    def _step(self, hessian: Tensor, start: Tensor) -> Tensor:
        start = start.double()
        theta, momenta = start.split(sum(SIZES))
        self.optimizer.load_state_dict(copy.deepcopy(self._before))
        gradients = (hessian @ theta).split(SIZES)
        with torch.no_grad():
            for p, value, gradient, m in zip(
                self.parameters, theta.split(SIZES), gradients, momenta.split(SIZES), strict=True
            ):
                p.copy_(value)
                p.grad = gradient.clone()
                for name in MOMENTA:
                    if isinstance(self.optimizer.state[p].get(name), Tensor):
                        self.optimizer.state[p][name].copy_(m)
        self.optimizer.step()
        after = [p.detach() for p in self.parameters]
        for p in self.parameters:
            kept = [self.optimizer.state[p].get(name) for name in MOMENTA]
            after += [next((m for m in kept if isinstance(m, Tensor)), torch.zeros_like(p))]
        return torch.cat(after)


def preconditioned(edge: Edge, hessian: Tensor) -> Tensor:
    apply = edge.operator(lambda block, out: out.copy_(hessian @ block))
    return apply(torch.eye(len(hessian)).double(), torch.empty_like(hessian))


@pytest.mark.parametrize("groups", [False, True], ids=["one rate", "groups"])
@pytest.mark.parametrize("name", CASES)
def test_a_step_is_unstable_beyond_its_edge_and_not_below(name: str, groups: bool) -> None:
    steps = Steps(name, groups)
    steps.matrix(torch.eye(sum(SIZES)).double())  # the state is now that after the step
    edge = steps.edge()
    for seed in range(3):
        stream = torch.Generator().manual_seed(seed)
        root = torch.randn(7, 7, generator=stream, dtype=torch.float64)
        hessian = root @ root.T
        # The coupled decay is no part of what is scaled: the share of 𝓗 that is at the edge.
        inverse = torch.as_tensor(edge.scale).double().sqrt().expand(7)
        decay = torch.as_tensor(edge.decay).double().expand(7)
        room = torch.diag(edge.edge - decay * inverse**2).double()
        curved = inverse[:, None] * hessian * inverse
        at_edge = 1 / torch.linalg.eigvals(torch.linalg.solve(room, curved)).real.max().item()
        matrix = preconditioned(edge, at_edge * hessian)
        assert torch.linalg.eigvalsh(matrix)[-1].item() == pytest.approx(edge.edge, rel=1e-9)
        values = torch.linalg.eigvals(steps.matrix(at_edge * hessian))
        assert (values + 1).abs().min() < 1e-6  # it alternates and neither grows nor shrinks
        assert values.abs().max() == pytest.approx(1, abs=1e-6)
        below, beyond = (
            torch.linalg.eigvals(steps.matrix(factor * at_edge * hessian)).abs().max()
            for factor in (0.99, 1.01)
        )
        assert below < 1 < beyond


OWN: dict[str, tuple[type[Optimizer], dict[str, Any], Any]] = {
    "momentum": (
        SGD,
        {"lr": 0.4, "momentum": 0.3},
        GradientDescent(learning_rate=0.4, momentum=0.3),
    ),
    "Nesterov": (
        SGD,
        {"lr": 0.25, "momentum": 0.3, "nesterov": True},
        GradientDescent(learning_rate=0.25, momentum=0.3, nesterov=True),
    ),
    "RMSprop": (RMSprop, {"lr": 5e-4}, OwnRMSprop(learning_rate=5e-4)),
    "Adam": (Adam, {"lr": 0.01}, OwnAdam(learning_rate=0.01)),
}


@pytest.mark.parametrize("name", OWN)
def test_the_edge_is_that_of_the_projects_own_optimizers(name: str) -> None:
    """cheb-4 after sixty steps: P and the edge are the project's, λ₁ that of a dense matrix."""
    (kind, settings, own), steps, objective = OWN[name], 60, cheb()
    module = nn.Sequential(nn.Linear(1, 100), nn.Tanh(), nn.Linear(100, 1, bias=False)).double()
    nn.utils.vector_to_parameters(objective.network.initialize(0), module.parameters())
    inputs, targets = objective.inputs, objective.targets
    optimizer: Any = kind(module.parameters(), **settings)
    measure = [eosflow.TopEigenvalues(k=1, every=steps, tolerance=1e-5)]
    loss = "half_squared_error"
    monitor = eosflow.Monitor(module, loss, (inputs, targets), optimizer=optimizer, measure=measure)
    for _ in range(steps):
        optimizer.zero_grad()
        ((module(inputs) - targets).square().sum() / 2 / len(inputs)).backward()
        optimizer.step()
        monitor.step()
    divisors: list[Tensor] = []

    def observe(state: Any, current: Any) -> None:
        if current.step is not None:
            divisors.append(own.preconditioner(current.evaluation, state.optimizer))

    state = begin(objective, own, FullBatch(), objective.network.initialize(0), 0)
    follow(objective, own, FullBatch(), state, StopCriteria(iterations=steps), observe)
    root = divisors[-1].sqrt()
    theta = nn.utils.parameters_to_vector(module.parameters()).detach()
    matrix = dense(objective.evaluate(theta), "hessian") / root / root[:, None]
    (last,) = monitor.frames["top-eigenvalues"].to_dict("records")
    expected = torch.linalg.eigvalsh(matrix)[-1].item()
    assert last["preconditioned_sharpness"] == pytest.approx(expected, rel=1e-6)
    # The project leaves the correction of Adam's mean out of its edge: by now 1 − 0.9⁶⁰.
    correction = 1 - getattr(own, "beta1", 0.0) ** steps
    assert last["edge"] == pytest.approx(correction * own.edge() / own.learning_rate, rel=1e-9)


def test_what_the_optimizer_does_not_move_has_no_share() -> None:
    first, second = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = SGD([first], lr=0.5)
    edge = Stability(optimizer, [first, second]).now()
    assert edge is not None and edge.edge == 4
    matrix = preconditioned(edge, torch.diag(torch.tensor([1.0, 2.0, 30.0, 40.0]).double()))
    assert matrix.diagonal().tolist() == [1, 2, 0, 0]


def test_no_edge_where_none_is_known() -> None:
    parameter = nn.Parameter(torch.ones(2, 2))
    assert "Muon is not known" in Stability(torch.optim.Muon([parameter]), [parameter]).why_not
    assert "maximizes" in Stability(SGD([parameter], lr=1, maximize=True), [parameter]).why_not
    assert Stability(Adam([parameter]), [parameter]).now() is None  # no step yet
    assert Stability(SGD([parameter], lr=0.0), [parameter]).now() == Edge(1.0, 0.0, float("inf"))
    with pytest.raises(eosflow.UserError, match=r"none of its parameters.*Make the optimizer"):
        Stability(SGD([parameter], lr=1), [nn.Parameter(torch.ones(2))])
    with pytest.raises(eosflow.UserError, match=r"float was given; .*torch\.optim"):
        Stability(0.1, [parameter])

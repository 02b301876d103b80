"""The interface of objectives: the training loss, its derivatives and its parts at a point."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from eosflow.networks.base import Network
from eosflow.objectives.criteria import Criterion, criterion_of
from eosflow.spectra.tracking import Tracker

# Working memory of a block product; examples are taken in chunks that fit it. Larger chunks make
# larger matrix products, which stop getting faster well below this.
WORKSPACE_BYTES = 256 * 2**20

T = TypeVar("T")
Matrix = Literal["hessian", "gauss_newton", "residual"]


@dataclass(frozen=True)
class PerExampleGrams:
    """What single examples contribute to G, for n of them.

    outputs (n, C); grams (L, n, C, C): M_l M_lᵀ of each parameter group l = 1..L, with
    M_l = H_ℓ^{1/2} ∂z/∂θ_l. Their sum over l is M Mᵀ (E8), and λ₁ of each is ‖M_l‖² (E7).
    """

    outputs: Tensor
    grams: Tensor


class Evaluation(ABC):
    """𝓛 at one θ (P,): `loss` and `accuracy` are floats, `gradient` is ∇𝓛 (P,).

    `accuracy` is the share of examples whose largest output is that of their class; NaN if the
    targets are not classes. `trackers`, if a monitor evaluates one θ after another, hold the
    eigenpairs found last, by matrix and number: searches begin there.
    """

    objective: Objective
    theta: Tensor
    loss: float
    accuracy: float
    gradient: Tensor
    trackers: dict[tuple[str, int], Tracker] | None = None

    def product(self, matrix: Matrix, block: Tensor, out: Tensor | None = None) -> Tensor:
        """𝓗V, GV or RV for V (P, k), with contiguous columns, in `out` if given (E1–E3).

        Columns of V should be contiguous (`block.T.is_contiguous()`); otherwise one copy is made.
        The product is taken in the block's precision, which need not be that of θ.
        """
        rows = block.T.contiguous()  # (k, P), no copy for contiguous columns
        result = torch.empty_like(rows) if out is None else out.T
        result.zero_()
        self._add_product(matrix, rows, result)
        if self.objective.weight_decay and matrix == "hessian":
            result.add_(rows, alpha=self.objective.weight_decay)
        return result.T

    @abstractmethod
    def _add_product(self, matrix: Matrix, rows: Tensor, result: Tensor) -> None:
        """Add the products with the rows (k, P), without weight decay, to the result (k, P)."""

    def hessian(self, block: Tensor, out: Tensor | None = None) -> Tensor:
        """𝓗V for V (P, k). Implements: E1."""
        return self.product("hessian", block, out)

    def gauss_newton(self, block: Tensor, out: Tensor | None = None) -> Tensor:
        """GV for V (P, k). Implements: E2."""
        return self.product("gauss_newton", block, out)

    def residual(self, block: Tensor, out: Tensor | None = None) -> Tensor:
        """RV for V (P, k). Implements: E3."""
        return self.product("residual", block, out)


class Objective(ABC):
    """𝓛(θ) = E[ℓ(z, y)] + (λ/2)‖θ‖² over N examples: network, criterion and data (E0).

    λ = `weight_decay`, 0 in all that the workflow runs. It is part of 𝓛, its gradient and 𝓗, and
    no part of G or R: 𝓗 = G + R + λI.

    inputs (N, D); targets (N,) classes 0 … C−1, int64, or (N, C) numbers for a criterion that
    compares outputs with them. Both on the device and inputs of the dtype that θ will have.
    """

    network: Network
    criterion: Criterion
    inputs: Tensor
    targets: Tensor
    # The loss over all examples, where this one is over a batch of them; the loop of a run sets it.
    whole: Objective | None = None

    def __init__(
        self,
        network: Network,
        criterion: str | Criterion,
        inputs: Tensor,
        targets: Tensor,
        workspace_bytes: int = WORKSPACE_BYTES,
        weight_decay: float = 0.0,
    ) -> None:
        """Raises: ValueError for an unknown criterion, or one that the targets do not fit."""
        self.network = network
        self.criterion = criterion_of(criterion)
        self.criterion.check(targets)
        self.inputs = inputs
        self.targets = targets
        self.examples = len(inputs)  # N
        self._workspace_bytes = workspace_bytes
        self.weight_decay = weight_decay

    def scratch(self, name: str, make: Callable[[], T]) -> T:
        """Memory that is made once and reused from call to call; it carries nothing between them.

        Fresh pages can cost more than the arithmetic done in them.
        """
        kept: dict[str, Any] = self.__dict__.setdefault("_scratch", {})
        if name not in kept:
            kept[name] = make()
        memory: T = kept[name]
        return memory

    def penalty(self, theta: Tensor) -> float:
        """(λ/2)‖θ‖²."""
        return self.weight_decay / 2 * theta.square().sum().item() if self.weight_decay else 0.0

    @abstractmethod
    def evaluate(self, theta: Tensor) -> Evaluation:
        """Loss, accuracy and gradient at θ (P,), and what products there need."""

    def loss(self, theta: Tensor) -> float:
        """𝓛 at θ (P,) alone, which takes forward passes only where a subclass can."""
        return self.evaluate(theta).loss

    @abstractmethod
    def per_example_grams(self, theta: Tensor, start: int, stop: int) -> PerExampleGrams:
        """The contributions of the examples start … stop − 1 at θ (P,)."""

    @abstractmethod
    def per_example_numbers(self) -> int:
        """Numbers that `per_example_grams` holds for one example; callers choose their chunks."""

    @abstractmethod
    def batch(self, rows: Tensor) -> Objective:
        """The loss over the examples `rows` (n,) int64 alone."""

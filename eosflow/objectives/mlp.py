"""The loss of an MLP in closed form: value, gradient and block products with 𝓗, G and R."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from eosflow.networks.perceptron import MLP
from eosflow.objectives.base import Evaluation, Matrix, Objective, PerExampleGrams
from eosflow.objectives.criteria import accuracy, square_root
from eosflow.objectives.passes import Factors, Passes


class MLPObjective(Objective):
    """𝓛(θ) = E[ℓ(z_L, y)] over N examples of an MLP (E0), see `Objective`.

    Raises: ValueError for a criterion that there is not, or one that the targets do not fit.
    """

    network: MLP

    def evaluate(self, theta: Tensor) -> MLPEvaluation:
        """Loss, accuracy and gradient at θ (P,), and what block products there need."""
        return MLPEvaluation(self, theta)

    def loss(self, theta: Tensor) -> float:
        """𝓛 at θ (P,), by a forward pass."""
        outputs = self.network.outputs(theta, self.inputs)
        mean = self.criterion.value(outputs, self.targets).sum().item() / self.examples
        return mean + self.penalty(theta)

    def batch(self, rows: Tensor) -> MLPObjective:
        data = self.inputs[rows], self.targets[rows]
        limits = self._workspace_bytes, self.weight_decay
        return MLPObjective(self.network, self.criterion.name, *data, *limits)

    def per_example_grams(self, theta: Tensor, start: int, stop: int) -> PerExampleGrams:
        """M_l M_lᵀ = (1 + ‖a_{l−1}‖²) B_l B_lᵀ, layer by layer. Implements: E6–E7."""
        factors = self.factors(theta, start, stop)
        grams = factors.scales[:, :, None, None] * factors.grams
        return PerExampleGrams(factors.outputs, grams)

    def per_example_numbers(self) -> int:
        """What `factors` holds of one example: a layer's states, slopes and B_l, and the Grams."""
        widths = self.network.dimensions
        outputs = widths[-1]
        return 2 * sum(widths) + 2 * outputs * max(widths) + self.network.depth * outputs**2

    def factors(self, theta: Tensor, start: int, stop: int) -> Factors:
        """B_l B_lᵀ, ‖a_{l−1}‖² and φ' of the examples start … stop − 1. Implements: E6."""
        network, layers = self.network, self.network.layers(theta)
        slopes: list[Tensor] = []

        def look(_: int, affine: Tensor) -> None:
            slopes.append(network.activation.slope(affine, torch.empty_like(affine)))

        *states, outputs = network.forward(theta, self.inputs[start:stop], look)
        root = square_root(self.criterion.hessian(outputs))  # B_L, [n, C, C]
        backward = root
        grams = [root @ root.mT]  # B_l B_lᵀ, [n, C, C], from l = L down to 1
        for index in range(network.depth - 1, 0, -1):
            backward = (backward @ layers[index][0]) * slopes[index - 1][:, None, :]
            grams.append(backward @ backward.mT)
        squares = torch.stack([state.square().sum(1) for state in states])
        return Factors(outputs, squares, slopes, torch.stack(grams[::-1]))

    def new_passes(self, dtype: torch.dtype) -> Passes:
        """Memory for an evaluation."""
        inputs = self.scratch(f"inputs in {dtype}", lambda: self.inputs.to(dtype))
        hidden = self.network.dimensions[1:-1]
        outputs = inputs.new_empty(self.examples, self.network.dimensions[-1])
        slopes, back, second_order, states = (
            [inputs.new_empty(self.examples, width) for width in hidden] for _ in range(4)
        )
        back.append(torch.empty_like(outputs))
        return Passes([inputs, *states], slopes, back, second_order, outputs)

    def chunk_size(self, vectors: int, dtype: torch.dtype) -> int:
        """How many examples a block product with that many vectors takes at once."""
        widths = self.network.dimensions[1:]
        numbers = vectors * (sum(widths) + 2 * max(widths))
        if not self.network.activation.ratio:
            numbers += vectors * sum(widths[:-1])
        size = self._workspace_bytes // (numbers * dtype.itemsize)
        return max(1, min(self.examples, size))

    def buffers(
        self, vectors: int, examples: int, dtype: torch.dtype
    ) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
        """Reused memory: ȧ_1 … ȧ_{L−1}, ż_L (k, n, d_l), and two of the widest layer's size.

        Second are the φ'' terms of the hidden layers, where the activation gives no ratio φ''/φ'.
        Fresh pages are slow on many machines, slower than the products they would serve.
        """
        widths = self.network.dimensions[1:]
        second_terms = () if self.network.activation.ratio else widths[:-1]
        wanted = (*widths, *second_terms, max(widths), max(widths))
        numbers = [vectors * examples * width for width in wanted]
        held: dict[tuple[int, torch.dtype], Tensor] = self.scratch("buffers", dict)
        flat = held.get((vectors, dtype))
        if flat is None or flat.numel() < sum(numbers):
            flat = torch.empty(sum(numbers), dtype=dtype, device=self.inputs.device)
            held[vectors, dtype] = flat
        *pieces, first, second = torch.split(flat[: sum(numbers)], numbers)
        shaped = [
            piece.view(vectors, examples, width)
            for piece, width in zip(pieces, (*widths, *second_terms), strict=True)
        ]
        return shaped[: len(widths)], shaped[len(widths) :], first, second


class MLPEvaluation(Evaluation):
    """𝓛 of an MLP at one θ, see `Evaluation`."""

    objective: MLPObjective

    def __init__(self, objective: MLPObjective, theta: Tensor) -> None:
        self.objective = objective
        self.theta = theta
        self._passes = objective.new_passes(theta.dtype)
        # θ and the passes, rounded to the precisions that products have been asked for.
        self._rounded = {theta.dtype: (theta, self._passes)}
        self._forward()
        outputs, targets = self._passes.outputs, objective.targets
        self.loss = objective.criterion.value(outputs, targets).sum().item() / objective.examples
        self.loss += objective.penalty(theta)
        self._backward()

    @functools.cached_property
    def accuracy(self) -> float:  # type: ignore[override]
        """The share of examples whose largest output is that of their class."""
        return accuracy(self._passes.outputs, self.objective.targets)

    @functools.cached_property
    def gradient(self) -> Tensor:  # type: ignore[override]
        """∇𝓛 (P,), made when first asked for: products do without it."""
        passes, network = self._passes, self.objective.network
        gradient = torch.empty_like(self.theta)
        layers = zip(network.layers(gradient), passes.back, passes.states, strict=True)
        for (weight, bias), back, state in layers:
            torch.mm(back.T, state, out=weight)
            torch.sum(back, 0, out=bias)
        if decay := self.objective.weight_decay:
            gradient.add_(self.theta, alpha=decay)
        return gradient

    def _forward(self) -> None:
        passes, activation = self._passes, self.objective.network.activation
        *hidden, (weight, bias) = self.objective.network.layers(self.theta)
        for index, (hidden_weight, hidden_bias) in enumerate(hidden):
            affine = passes.states[index + 1]
            torch.addmm(hidden_bias, passes.states[index], hidden_weight.T, out=affine)
            activation.all_(affine, passes.slopes[index], passes.second_order[index])
        torch.addmm(bias, passes.states[-1], weight.T, out=passes.outputs)

    def _backward(self) -> None:
        passes, network = self._passes, self.objective.network
        layers = network.layers(self.theta)
        gradient = self.objective.criterion.gradient(passes.outputs, self.objective.targets)
        torch.div(gradient, self.objective.examples, out=passes.back[-1])
        for index in range(network.depth - 1, 0, -1):
            incoming = torch.mm(passes.back[index], layers[index][0], out=passes.back[index - 1])
            passes.second_order[index - 1].mul_(incoming)
            incoming.mul_(passes.slopes[index - 1])

    def _add_product(self, matrix: Matrix, rows: Tensor, result: Tensor) -> None:
        """One pass of matrix products over all k rows.

        Implements: E1–E3 by Pearlmutter's forward-over-reverse derivative, in closed form.
        """
        theta, passes = self._in_precision(rows.dtype)
        length = self.objective.chunk_size(len(rows), rows.dtype)
        for start in range(0, self.objective.examples, length):
            self._chunk_product(matrix, theta, passes.rows(start, length), rows, result)

    def _in_precision(self, dtype: torch.dtype) -> tuple[Tensor, Passes]:
        if dtype not in self._rounded:
            passes = self.objective.new_passes(dtype)
            passes.copy_(self._passes)
            self._rounded[dtype] = self.theta.to(dtype), passes
        return self._rounded[dtype]

    def _chunk_product(
        self, matrix: Matrix, theta: Tensor, chunk: Passes, rows: Tensor, result: Tensor
    ) -> None:
        vectors, examples = len(rows), len(chunk.outputs)
        layers = self.objective.network.layers(theta)
        tangent_layers = self.objective.network.layers(rows)
        tangents, second_terms, first, second = self.objective.buffers(
            vectors, examples, rows.dtype
        )
        _push_forward(chunk, layers, tangent_layers, tangents, second_terms)
        if matrix == "residual":
            back_tangent = tangents[-1].zero_()
        else:
            product = self.objective.criterion.hessian_product(chunk.outputs, tangents[-1])
            back_tangent = product.div_(self.objective.examples)
        accumulated = self.objective.network.layers(result)
        for index in range(len(layers) - 1, -1, -1):
            weight_result, bias_result = accumulated[index]
            bias_result.add_(back_tangent.sum(1))
            _add_each(weight_result, back_tangent.mT, chunk.states[index])
            if matrix != "gauss_newton" and index > 0:
                _add_each(weight_result, chunk.back[index].T, tangents[index - 1])
            if index == 0:
                return
            weight = layers[index][0]
            width = weight.shape[1]
            flat = (first if index % 2 else second)[: vectors * examples * width].view(-1, width)
            torch.mm(back_tangent.reshape(-1, len(weight)), weight, out=flat)
            incoming = flat.view(vectors, examples, width)
            if matrix != "gauss_newton":
                _add_each(incoming, chunk.back[index], tangent_layers[index][0])
            back_tangent = incoming.mul_(chunk.slopes[index - 1])
            if matrix == "gauss_newton":
                continue
            if second_terms:
                back_tangent.add_(second_terms[index - 1])
            else:
                second_order = chunk.second_order[index - 1].expand_as(incoming)
                back_tangent.addcmul_(second_order, tangents[index - 1])


def _add_each(result: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left · right to each of the matrices (k, …); a single factor counts for all of them."""
    shared = len(result), -1, -1
    result.baddbmm_(left.expand(shared), right.expand(shared))


def _push_forward(
    chunk: Passes,
    layers: list[tuple[Tensor, Tensor]],
    tangent_layers: list[tuple[Tensor, Tensor]],
    tangents: list[Tensor],
    second_terms: list[Tensor],
) -> None:
    """ȧ_1 … ȧ_{L−1}, ż_L into `tangents`: ż_l = W_l ȧ_{l−1} + Ẇ_l a_{l−1} + ḃ_l, ȧ_l = φ' ∘ ż_l.

    Where there is room in `second_terms`, also ∂𝓛/∂a_l ∘ φ'' ∘ ż_l, before φ' is multiplied in.
    """
    for index, tangent in enumerate(tangents):
        weight_tangent, bias_tangent = tangent_layers[index]
        if index > 0:
            previous = tangents[index - 1]
            flat = tangent.view(-1, tangent.shape[-1])
            torch.mm(previous.view(-1, previous.shape[-1]), layers[index][0].T, out=flat)
            tangent.add_(bias_tangent[:, None, :])
        else:
            tangent.copy_(bias_tangent[:, None, :].expand_as(tangent))
        _add_each(tangent, chunk.states[index], weight_tangent.mT)
        if index < len(tangents) - 1:
            if second_terms:
                torch.mul(tangent, chunk.second_order[index], out=second_terms[index])
            tangent.mul_(chunk.slopes[index])

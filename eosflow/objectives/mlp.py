"""The training loss at a point: value, gradient and block products with 𝓗, G and R."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from eosflow.networks.mlp import Network
from eosflow.objectives.criteria import CRITERIA

Matrix = Literal["hessian", "gauss_newton", "residual"]

# Working memory of a block product; examples are taken in chunks that fit it. Larger chunks make
# larger matrix products, which stop getting faster well below this.
WORKSPACE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class _Passes:
    """What a block product reads of some examples (n of them), for l = 1..L−1 in the lists.

    `back` is ∂𝓛/∂z_l, and `bend` is ∂𝓛/∂a_l ∘ φ''/φ', both already divided by N.
    """

    states: list[Tensor]  # a_0 … a_{L−1}, (n, d_l)
    slopes: list[Tensor]  # φ'(z_l), (n, d_l)
    back: list[Tensor]  # l = 1..L, (n, d_l)
    bend: list[Tensor]  # (n, d_l)
    outputs: Tensor  # z_L, (n, C)

    def copy_(self, other: _Passes) -> None:
        """Overwrite all but the inputs a_0 with another's numbers, rounded to this one's dtype."""
        pairs = [
            (self.outputs, other.outputs),
            *zip(self.states[1:], other.states[1:], strict=True),
        ]
        for name in ("slopes", "back", "bend"):
            pairs += zip(getattr(self, name), getattr(other, name), strict=True)
        for mine, theirs in pairs:
            mine.copy_(theirs)

    def rows(self, start: int, length: int) -> _Passes:
        """Views of the examples start … start + length − 1."""
        part = slice(start, start + length)
        lists = (self.states, self.slopes, self.back, self.bend)
        states, slopes, back, bend = ([tensor[part] for tensor in group] for group in lists)
        return _Passes(states, slopes, back, bend, self.outputs[part])


class Objective:
    """𝓛(θ) = E[ℓ(z_L, y)] over N examples: network, criterion and data (E0).

    inputs (N, D) and labels (N,) must be on the device and of the dtype that θ will have.

    Raises: ValueError for a criterion that is not in `CRITERIA`.
    """

    def __init__(
        self,
        network: Network,
        criterion: str,
        inputs: Tensor,
        labels: Tensor,
        workspace_bytes: int = WORKSPACE_BYTES,
    ) -> None:
        if criterion not in CRITERIA:
            raise ValueError(f"criterion: {criterion!r} was given; allowed: {', '.join(CRITERIA)}")
        self.network = network
        self.criterion = CRITERIA[criterion]
        self.inputs = inputs
        self.labels = labels
        self._workspace_bytes = workspace_bytes
        self._buffers: dict[tuple[int, torch.dtype], Tensor] = {}
        self._inputs = {inputs.dtype: inputs}
        self._spare: dict[torch.dtype, list[_Passes]] = {}

    @property
    def examples(self) -> int:
        """N."""
        return len(self.inputs)

    def linearize(self, theta: Tensor) -> Linearization:
        """Loss, accuracy and gradient at θ (P,), and what block products there need."""
        return Linearization(self, theta)

    def take_passes(self, dtype: torch.dtype) -> _Passes:
        """Memory for a linearization: released by an earlier one, or new."""
        if self._spare.get(dtype):
            return self._spare[dtype].pop()
        if dtype not in self._inputs:
            self._inputs[dtype] = self.inputs.to(dtype)
        inputs = self._inputs[dtype]
        hidden = self.network.dimensions[1:-1]
        outputs = inputs.new_empty(self.examples, self.network.dimensions[-1])
        slopes, back, bend, states = (
            [inputs.new_empty(self.examples, width) for width in hidden] for _ in range(4)
        )
        back.append(torch.empty_like(outputs))
        return _Passes([inputs, *states], slopes, back, bend, outputs)

    def give_back(self, passes: _Passes) -> None:
        """Keep the memory of a linearization that is no longer used."""
        self._spare.setdefault(passes.outputs.dtype, []).append(passes)

    def chunk_size(self, vectors: int, dtype: torch.dtype) -> int:
        """How many examples a block product with that many vectors takes at once."""
        widths = self.network.dimensions[1:]
        numbers = vectors * (sum(widths) + 2 * max(widths))
        size = self._workspace_bytes // (numbers * dtype.itemsize)
        return max(1, min(self.examples, size))

    def buffers(
        self, vectors: int, examples: int, dtype: torch.dtype
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Reused memory: ȧ_1 … ȧ_{L−1}, ż_L (k, n, d_l), and two of the widest layer's size.

        Fresh pages are slow on many machines, slower than the products they would serve.
        """
        widths = self.network.dimensions[1:]
        numbers = [vectors * examples * width for width in (*widths, max(widths), max(widths))]
        flat = self._buffers.get((vectors, dtype))
        if flat is None or flat.numel() < sum(numbers):
            flat = torch.empty(sum(numbers), dtype=dtype, device=self.inputs.device)
            self._buffers[vectors, dtype] = flat
        *tangents, first, second = torch.split(flat[: sum(numbers)], numbers)
        shaped = [
            tangent.view(vectors, examples, width)
            for tangent, width in zip(tangents, widths, strict=True)
        ]
        return shaped, first, second


class Linearization:
    """𝓛 at one θ. `loss` and `accuracy` are floats, `gradient` is ∇𝓛 (P,)."""

    def __init__(self, objective: Objective, theta: Tensor) -> None:
        self.objective = objective
        self.theta = theta
        self.gradient = torch.empty_like(theta)
        self._passes = objective.take_passes(theta.dtype)
        # θ and the passes, rounded to the precisions that products have been asked for.
        self._rounded = {theta.dtype: (theta, self._passes)}
        self._forward()
        outputs, labels = self._passes.outputs, objective.labels
        self.loss = objective.criterion.value(outputs, labels).sum().item() / objective.examples
        correct = (outputs.argmax(1) == labels).sum().item()
        self.accuracy = correct / objective.examples
        self._backward()

    def release(self) -> None:
        """Let the next linearization reuse this one's memory; no product may follow."""
        for _, passes in self._rounded.values():
            self.objective.give_back(passes)
        del self._passes, self._rounded

    def _forward(self) -> None:
        passes, activation = self._passes, self.objective.network.activation
        *hidden, (weight, bias) = self.objective.network.layers(self.theta)
        for index, (hidden_weight, hidden_bias) in enumerate(hidden):
            affine = passes.states[index + 1]
            torch.addmm(hidden_bias, passes.states[index], hidden_weight.T, out=affine)
            activation.derivative(affine, passes.slopes[index])
            activation.curvature(affine, passes.bend[index])
            activation.value_(affine)
        torch.addmm(bias, passes.states[-1], weight.T, out=passes.outputs)

    def _backward(self) -> None:
        passes, network = self._passes, self.objective.network
        layers, gradients = network.layers(self.theta), network.layers(self.gradient)
        gradient = self.objective.criterion.gradient(passes.outputs, self.objective.labels)
        torch.div(gradient, self.objective.examples, out=passes.back[-1])
        for index in range(network.depth - 1, -1, -1):
            back = passes.back[index]
            weight_gradient, bias_gradient = gradients[index]
            torch.mm(back.T, passes.states[index], out=weight_gradient)
            torch.sum(back, 0, out=bias_gradient)
            if index > 0:
                incoming = torch.mm(back, layers[index][0], out=passes.back[index - 1])
                passes.bend[index - 1].mul_(incoming)
                incoming.mul_(passes.slopes[index - 1])

    def product(self, matrix: Matrix, block: Tensor, out: Tensor | None = None) -> Tensor:
        """𝓗V, GV or RV for V (P, k) in one pass of matrix products over all k columns.

        Implements: E1–E3 by Pearlmutter's forward-over-reverse derivative, in closed form for
        this network. Columns should be contiguous (`block.T.is_contiguous()`); otherwise one copy
        is made. The product is taken in the block's precision, which need not be that of θ.
        Returns (P, k) with contiguous columns, in `out` if given.
        """
        rows = block.T.contiguous()  # (k, P), no copy for contiguous columns
        result = torch.empty_like(rows) if out is None else out.T
        result.zero_()
        theta, passes = self._in_precision(block.dtype)
        length = self.objective.chunk_size(len(rows), block.dtype)
        for start in range(0, self.objective.examples, length):
            self._chunk_product(matrix, theta, passes.rows(start, length), rows, result)
        return result.T

    def _in_precision(self, dtype: torch.dtype) -> tuple[Tensor, _Passes]:
        if dtype not in self._rounded:
            passes = self.objective.take_passes(dtype)
            passes.copy_(self._passes)
            self._rounded[dtype] = self.theta.to(dtype), passes
        return self._rounded[dtype]

    def hessian(self, block: Tensor, out: Tensor | None = None) -> Tensor:
        """𝓗V for V (P, k). Implements: E1."""
        return self.product("hessian", block, out)

    def gauss_newton(self, block: Tensor, out: Tensor | None = None) -> Tensor:
        """GV for V (P, k). Implements: E2."""
        return self.product("gauss_newton", block, out)

    def residual(self, block: Tensor, out: Tensor | None = None) -> Tensor:
        """RV for V (P, k). Implements: E3."""
        return self.product("residual", block, out)

    def _chunk_product(
        self, matrix: Matrix, theta: Tensor, chunk: _Passes, rows: Tensor, result: Tensor
    ) -> None:
        vectors, examples = len(rows), len(chunk.outputs)
        layers = self.objective.network.layers(theta)
        tangent_layers = self.objective.network.layers(rows)
        tangents, first, second = self.objective.buffers(vectors, examples, rows.dtype)
        _push_forward(chunk, layers, tangent_layers, tangents)
        if matrix == "residual":
            back_tangent = tangents[-1].zero_()
        else:
            product = self.objective.criterion.hessian_product(chunk.outputs, tangents[-1])
            back_tangent = product.div_(self.objective.examples)
        accumulated = self.objective.network.layers(result)
        for index in range(len(layers) - 1, -1, -1):
            weight_result, bias_result = accumulated[index]
            bias_result.add_(back_tangent.sum(1))
            for j in range(vectors):
                weight_result[j].addmm_(back_tangent[j].T, chunk.states[index])
                if matrix != "gauss_newton" and index > 0:
                    weight_result[j].addmm_(chunk.back[index].T, tangents[index - 1][j])
            if index == 0:
                return
            weight = layers[index][0]
            width = weight.shape[1]
            flat = (first if index % 2 else second)[: vectors * examples * width].view(-1, width)
            torch.mm(back_tangent.reshape(-1, len(weight)), weight, out=flat)
            incoming = flat.view(vectors, examples, width)
            if matrix != "gauss_newton":
                for j in range(vectors):
                    incoming[j].addmm_(chunk.back[index], tangent_layers[index][0][j])
            back_tangent = incoming.mul_(chunk.slopes[index - 1])
            if matrix != "gauss_newton":
                bend = chunk.bend[index - 1].expand_as(incoming)
                back_tangent.addcmul_(bend, tangents[index - 1])


def _push_forward(
    chunk: _Passes,
    layers: list[tuple[Tensor, Tensor]],
    tangent_layers: list[tuple[Tensor, Tensor]],
    tangents: list[Tensor],
) -> None:
    """ȧ_1 … ȧ_{L−1}, ż_L into `tangents`: ż_l = W_l ȧ_{l−1} + Ẇ_l a_{l−1} + ḃ_l, ȧ_l = φ' ∘ ż_l."""
    for index, tangent in enumerate(tangents):
        weight_tangent, bias_tangent = tangent_layers[index]
        if index > 0:
            previous = tangents[index - 1]
            flat = tangent.view(-1, tangent.shape[-1])
            torch.mm(previous.view(-1, previous.shape[-1]), layers[index][0].T, out=flat)
            tangent.add_(bias_tangent[:, None, :])
        else:
            tangent.copy_(bias_tangent[:, None, :].expand_as(tangent))
        for j in range(len(tangent)):
            tangent[j].addmm_(chunk.states[index], weight_tangent[j].T)
        if index < len(tangents) - 1:
            tangent.mul_(chunk.slopes[index])

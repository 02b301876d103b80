"""The training loss at a point: value, gradient and block products with 𝓗, G and R."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from eosflow.criteria import CRITERIA
from eosflow.network import Network

Matrix = Literal["hessian", "gauss_newton", "residual"]

# Working memory of a block product; examples are taken in chunks that fit it. Larger chunks make
# larger matrix products, which stop getting faster well below this.
WORKSPACE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class _Chunk:
    """What a block product reads of some examples (n of them), for l = 1..L−1 in the lists.

    `back` is ∂𝓛/∂z_l, and `bend` is ∂𝓛/∂a_l ∘ φ''/φ', both already divided by N.
    """

    states: list[Tensor]  # a_0 … a_{L−1}, (n, d_l)
    slopes: list[Tensor]  # φ'(z_l), (n, d_l)
    back: list[Tensor]  # l = 1..L, (n, d_l)
    bend: list[Tensor]  # (n, d_l)
    outputs: Tensor  # z_L, (n, C)


class Objective:
    """𝓛(θ) = E[ℓ(z_L, y)] over N examples: network, criterion and data (E0).

    inputs (N, D) and labels (N,) must be on the device and of the dtype that θ will have.
    """

    def __init__(
        self,
        network: Network,
        criterion: str,
        inputs: Tensor,
        labels: Tensor,
        workspace_bytes: int = WORKSPACE_BYTES,
    ) -> None:
        self.network = network
        self.criterion = CRITERIA[criterion]
        self.inputs = inputs
        self.labels = labels
        self._workspace_bytes = workspace_bytes
        self._buffers: dict[int, Tensor] = {}

    @property
    def examples(self) -> int:
        """N."""
        return len(self.inputs)

    def linearize(self, theta: Tensor) -> Linearization:
        """Loss, accuracy and gradient at θ (P,), and what block products there need."""
        return Linearization(self, theta)

    def chunk_size(self, vectors: int) -> int:
        """How many examples a block product with that many vectors takes at once."""
        widths = self.network.dimensions[1:]
        numbers = vectors * (sum(widths) + 2 * max(widths))
        size = self._workspace_bytes // (numbers * self.inputs.element_size())
        return max(1, min(self.examples, size))

    def buffers(self, vectors: int, examples: int) -> tuple[list[Tensor], Tensor, Tensor]:
        """Reused memory: ȧ_1 … ȧ_{L−1}, ż_L (k, n, d_l), and two of the widest layer's size.

        Fresh pages are slow on many machines, slower than the products they would serve.
        """
        widths = self.network.dimensions[1:]
        numbers = [vectors * examples * width for width in (*widths, max(widths), max(widths))]
        flat = self._buffers.get(vectors)
        if flat is None or flat.numel() < sum(numbers):
            flat = torch.empty(sum(numbers), dtype=self.inputs.dtype, device=self.inputs.device)
            self._buffers[vectors] = flat
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
        self.gradient = torch.zeros_like(theta)
        self.products = 0  # vectors multiplied so far, for cost accounting
        self._chunks: list[_Chunk] = []
        loss = torch.zeros((), dtype=theta.dtype, device=theta.device)
        correct = torch.zeros((), dtype=torch.int64, device=theta.device)
        # One chunking for the object's life: sums then never depend on how many vectors follow.
        size = objective.chunk_size(objective.network.dimensions[-1] + 1)
        for start in range(0, objective.examples, size):
            rows = slice(start, start + size)
            labels = objective.labels[rows]
            chunk = self._pass(objective.inputs[rows], labels)
            self._chunks.append(chunk)
            loss += objective.criterion.value(chunk.outputs, labels).sum()
            correct += (chunk.outputs.argmax(1) == labels).sum()
        self.loss = loss.item() / objective.examples
        self.accuracy = correct.item() / objective.examples

    def _pass(self, inputs: Tensor, labels: Tensor) -> _Chunk:
        """Forward and backward through some examples; adds their part of the gradient."""
        network = self.objective.network
        layers = network.layers(self.theta)
        states, slopes, curvatures = [inputs], [], []
        affine = inputs
        for number, (weight, bias) in enumerate(layers, start=1):
            affine = torch.addmm(bias, states[-1], weight.T)
            if number < network.depth:
                slopes.append(network.activation.derivative(affine))
                curvatures.append(network.activation.curvature(affine))
                states.append(network.activation.value(affine))
        back = self.objective.criterion.gradient(affine, labels) / self.objective.examples
        backs, bends = [back], []
        gradients = network.layers(self.gradient)
        for index in range(network.depth - 1, -1, -1):
            weight_gradient, bias_gradient = gradients[index]
            weight_gradient.addmm_(back.T, states[index])
            bias_gradient.add_(back.sum(0))
            if index > 0:
                incoming = back @ layers[index][0]
                bends.append(curvatures[index - 1].mul_(incoming))
                back = incoming.mul_(slopes[index - 1])
                backs.append(back)
        return _Chunk(states, slopes, backs[::-1], bends[::-1], affine)

    def product(self, matrix: Matrix, block: Tensor, out: Tensor | None = None) -> Tensor:
        """𝓗V, GV or RV for V (P, k) in one pass of matrix products over all k columns.

        Implements: E1–E3 by Pearlmutter's forward-over-reverse derivative, in closed form for
        this network. Columns should be contiguous (`block.T.is_contiguous()`); otherwise one copy
        is made. Returns (P, k) with contiguous columns, in `out` if given.
        """
        rows = block.T.contiguous()  # (k, P), no copy for contiguous columns
        result = torch.empty_like(rows) if out is None else out.T
        result.zero_()
        self.products += len(rows)
        # Chunks made for another number of vectors may be too long for the workspace.
        limit = self.objective.chunk_size(len(rows))
        for chunk in self._chunks:
            for start in range(0, len(chunk.outputs), limit):
                self._chunk_product(matrix, _cut(chunk, start, limit), rows, result)
        return result.T

    def hessian(self, block: Tensor, out: Tensor | None = None) -> Tensor:
        """𝓗V for V (P, k). Implements: E1."""
        return self.product("hessian", block, out)

    def gauss_newton(self, block: Tensor, out: Tensor | None = None) -> Tensor:
        """GV for V (P, k). Implements: E2."""
        return self.product("gauss_newton", block, out)

    def residual(self, block: Tensor, out: Tensor | None = None) -> Tensor:
        """RV for V (P, k). Implements: E3."""
        return self.product("residual", block, out)

    def _chunk_product(self, matrix: Matrix, chunk: _Chunk, rows: Tensor, result: Tensor) -> None:
        vectors, examples = len(rows), len(chunk.outputs)
        layers = self.objective.network.layers(self.theta)
        tangent_layers = self.objective.network.layers(rows)
        tangents, first, second = self.objective.buffers(vectors, examples)
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
    chunk: _Chunk,
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


def _cut(chunk: _Chunk, start: int, length: int) -> _Chunk:
    if start == 0 and length >= len(chunk.outputs):
        return chunk
    rows = slice(start, start + length)
    return _Chunk(
        states=[state[rows] for state in chunk.states],
        slopes=[slope[rows] for slope in chunk.slopes],
        back=[back[rows] for back in chunk.back],
        bend=[bend[rows] for bend in chunk.bend],
        outputs=chunk.outputs[rows],
    )

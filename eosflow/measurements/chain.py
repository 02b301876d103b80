"""The five factors of every link of a chain, layers or blocks, by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp, vmap

from eosflow.measurements.factors import (
    EXACT_GRAM_ROWS,
    JACOBIAN_STEPS,
    JACOBIAN_TOLERANCE,
    largest,
    means_over,
    ratio,
    record_of,
)
from eosflow.networks.chain import Chain, Link
from eosflow.networks.module import to_like
from eosflow.objectives.base import WORKSPACE_BYTES, Objective
from eosflow.objectives.criteria import square_root
from eosflow.spectra.eigenpairs import random_start
from eosflow.spectra.lanczos import top_vectors

# Up to this many rows the Gram matrix of a layer's inputs is solved whole.
EXACT_PATCH_ROWS = 640

# Independent searches for each norm that is not solved whole.
STARTS = 2

# g(z, x): one example's outputs as a function of the variable x (flat); its z is given.
Map = Callable[[Tensor, Tensor], Tensor]


def chain_factors(chain: Chain, objective: Objective, theta: Tensor) -> dict[str, Any]:
    """E‖M_l‖² of every link and its five factors, one flat record; l = 1..L counts links.

    Implements: F2, F4–F6. Every expectation is the mean over the objective's examples. A link
    without parameters, which only the last can be, has no `layer_norm2_l` and what is made of it.
    `residual_jacobian` is the worst relative residual of any ‖D_l‖² or ‖T_l‖², 0 if all were
    solved whole.
    """

    def sums(part: slice) -> tuple[dict[str, Tensor], float]:
        data = to_like(objective.inputs[part], theta), to_like(objective.targets[part], theta)
        return _Chunk(chain, objective, theta, *data).sums()

    means, worst = means_over(objective.examples, _chunk_size(chain, objective, theta), sums)
    layer, joint = means["layer_norm2"], means["joint"]
    alone = means["activation_norm2"] * means["preactivation_norm2"]
    more = {"activation_covariance": ratio(joint, alone), "weight_sharing": ratio(layer, joint)}
    record = record_of(means, more) | {"residual_jacobian": worst}
    if not chain.links[-1].theta:
        for name in ("layer_norm2", "activation_norm2", "activation_ratio", *more):
            del record[f"{name}_{len(chain.links)}"]
    return record


def _chunk_size(chain: Chain, objective: Objective, theta: Tensor) -> int:
    """Examples whose largest array, a dense Jacobian or a Lanczos basis, fits the workspace."""
    outputs = chain.links[-1].size
    numbers, before = 1, objective.inputs[0].numel()
    for link in chain.links:
        for size in (before, link.parameters):
            few = min(size, link.size)
            dense = few * max(size, link.size) if few <= EXACT_GRAM_ROWS else 0
            numbers = max(numbers, dense, (JACOBIAN_STEPS + 1) * few, outputs * size)
        before = link.size
    return max(1, WORKSPACE_BYTES // (numbers * theta.element_size()))


class _Chunk:
    """Some examples, their states z_0 … z_L, and the sums over them."""

    def __init__(
        self, chain: Chain, objective: Objective, theta: Tensor, inputs: Tensor, targets: Tensor
    ) -> None:
        self.chain = chain
        self.tensors = chain.network.tensors_at(theta)
        self.states = [inputs.reshape(len(inputs), 1, *chain.network.shape)]
        with torch.no_grad():
            for link in chain.links:
                ahead = vmap(lambda z, link=link: chain.run(link, self.tensors, z))
                self.states.append(ahead(self.states[-1]))
        outputs = self.states[-1].reshape(len(inputs), -1)
        self.root = square_root(objective.criterion.hessian(outputs, targets))
        self.worst = 0.0

    def sums(self) -> tuple[dict[str, Tensor], float]:
        """Sums of the squared norms, and the worst residual of those that were iterated for."""
        links = self.chain.links
        back = self.root  # B_L (n, C, d_L)
        total = torch.zeros_like(back)
        names = ("layer_norm2", "activation_norm2", "joint", "preactivation_norm2")
        sums: dict[str, list[Tensor]] = {name: [] for name in (*names, "jacobian_norm2")}
        for at in range(len(links) - 1, -1, -1):
            link, z = links[at], self.states[at]
            norms = largest(back @ back.mT)  # ‖B_l‖² (n,)
            grams, inputs = torch.zeros_like(total), torch.zeros_like(norms)
            if link.theta:
                m = self._pull(*self._of_theta(link), z, back)  # M_l (n, C, P_l)
                grams = m @ m.mT
                inputs = self._parameter_norms(link, z)
            total += grams
            of = (largest(grams), inputs, norms * inputs, norms)
            for name, values in zip(names, of, strict=True):
                sums[name].append(values.sum())
            if at > 0:
                map_, point = self._of_state(link)
                sums["jacobian_norm2"].append(
                    self._norms(map_, point, z, links[at - 1].size, link.size).sum()
                )
                back = self._pull(map_, point, z, back)
        totals = {
            name: torch.stack(values[::-1]) if values else norms.new_zeros(0)
            for name, values in sums.items()
        }
        criterion = largest(self.root @ self.root.mT).sum()
        totals |= {"m_norm2": largest(total).sum(), "criterion_norm2": criterion}
        return totals, self.worst

    def _of_state(self, link: Link) -> tuple[Map, Callable[[Tensor], Tensor]]:
        """z_l as a function of z_{l−1}, and where: D_{l−1} is its Jacobian."""

        def ahead(z: Tensor, x: Tensor) -> Tensor:
            return self.chain.run(link, self.tensors, x.reshape(z.shape)).flatten()

        return ahead, lambda z: z.reshape(-1)

    def _of_theta(self, link: Link) -> tuple[Map, Callable[[Tensor], Tensor]]:
        """z_l as a function of θ_l, and where: T_l is its Jacobian."""
        network = self.chain.network
        now = [network.flat(name, self.tensors[name]) for name in link.theta]
        point = torch.cat(now)

        def ahead(z: Tensor, x: Tensor) -> Tensor:
            parts = zip(link.theta, torch.split(x, [part.numel() for part in now]), strict=True)
            tensors = {**self.tensors, **{name: network.shaped(name, part) for name, part in parts}}
            return self.chain.run(link, tensors, z).reshape(-1)

        return ahead, lambda z: point

    def _pull(
        self, ahead: Map, point: Callable[[Tensor], Tensor], z: Tensor, rows: Tensor
    ) -> Tensor:
        """Rows (n, C, out) times the Jacobian: (n, C, in)."""

        def one(z: Tensor, rows: Tensor) -> Tensor:
            _, back = vjp(lambda x: ahead(z, x), point(z))  # type: ignore[misc]
            return vmap(lambda row: back(row)[0])(rows)  # type: ignore[no-any-return]

        products: Tensor = vmap(one)(z, rows)
        return products

    def _parameter_norms(self, link: Link, z: Tensor) -> Tensor:
        """‖T_l‖² (n,), T_l = ∂z_l/∂θ_l (d_l × P_l)."""
        if link.layer is not None:
            read = vmap(lambda one: self.chain.read(link, self.tensors, one))(z)
            patches = unfolded(link.layer, read)  # [n, g, positions, K]
            if min(patches.shape[2:]) <= EXACT_PATCH_ROWS:
                return _gram_norms(patches).amax(1)
        return self._norms(*self._of_theta(link), z, link.parameters, link.size)

    def _norms(
        self, ahead: Map, point: Callable[[Tensor], Tensor], z: Tensor, into: int, out: int
    ) -> Tensor:
        """Squared operator norms (n,) of the Jacobians (out × into)."""

        def push(z: Tensor, v: Tensor) -> Tensor:
            tangent: Tensor = jvp(lambda x: ahead(z, x), (point(z),), (v,))[1]
            return tangent

        def pull(z: Tensor, w: Tensor) -> Tensor:
            _, back = vjp(lambda x: ahead(z, x), point(z))  # type: ignore[misc]
            return back(w)[0]  # type: ignore[no-any-return]

        first, second, few = (pull, push, out) if out <= into else (push, pull, into)
        if few <= EXACT_GRAM_ROWS:
            eye = torch.eye(few, dtype=self.root.dtype, device=z.device)
            rows = vmap(lambda one: vmap(lambda e: first(one, e))(eye))(z)
            return _gram_norms(rows)
        apply = vmap(lambda one, v: second(one, first(one, v)))
        values = torch.zeros(len(z), dtype=self.root.dtype, device=z.device)
        # A single start that has little of the top vector ends at its neighbour, now and then.
        for seed in range(STARTS):
            start = random_start(few, 1, self.root, seed).T.expand(len(z), few).clone()
            top = top_vectors(
                lambda v, which: apply(z[which], v), start, JACOBIAN_TOLERANCE / 2, JACOBIAN_STEPS
            )
            # A row of zeros, of a map that is 0, stays one.
            lengths = top.vectors.norm(dim=1, keepdim=True)
            vectors = top.vectors / lengths.clamp(min=torch.finfo(lengths.dtype).tiny)
            images = apply(z, vectors)
            quotients = (vectors * images).sum(1).clamp(min=0)
            apart = (images - quotients[:, None] * vectors).norm(dim=1)
            self.worst = max(self.worst, ratio(apart, quotients).max().item())
            # Within the tolerance the first start's number stays.
            values = torch.where(quotients > values * (1 + JACOBIAN_TOLERANCE), quotients, values)
        return values


def _gram_norms(matrices: Tensor) -> Tensor:
    """Squared operator norms of matrices (…, r, s), by the Gram matrix of their shorter side."""
    rows = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    return largest(rows @ rows.mT)


def unfolded(layer: nn.Module, inputs: Tensor) -> Tensor:
    """U (n, g, positions, K): what the weights of each of g groups meet. Implements: F3.

    The layer puts out U W_gᵀ in each group, with a column of ones for the bias, so that its
    Jacobian in θ_l is a diagonal of copies of U, and ‖T_l‖ = max_g ‖U_g‖. Of an affine layer on one
    vector a, U is (aᵀ 1). inputs: (n, …), what the layer reads of each example.
    """
    examples = len(inputs)
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    if isinstance(layer, nn.Linear):
        patches = inputs.reshape(examples, 1, -1, weight.shape[1])
    else:
        groups, taps = int(layer.groups), weight[0].numel()  # type: ignore[arg-type]
        probe = torch.eye(taps, dtype=inputs.dtype, device=inputs.device)
        probe = probe.reshape(taps, *weight.shape[1:]).repeat(groups, *[1] * (weight.ndim - 1))
        flat = inputs.reshape(-1, *inputs.shape[-(weight.ndim - 1) :])
        tensors = {"weight": probe}
        if bias is not None:
            tensors["bias"] = probe.new_zeros(len(probe))
        rows: Tensor = functional_call(layer, tensors, (flat,))  # [n·b, g·K, positions…]
        rows = rows.reshape(examples, -1, groups, taps, rows[0, 0].numel())
        patches = rows.permute(0, 2, 1, 4, 3).reshape(examples, groups, -1, taps)
    if bias is None:
        return patches
    return torch.cat([patches, torch.ones_like(patches[..., :1])], -1)

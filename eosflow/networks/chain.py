"""A module as a chain of blocks z_l = f_l(z_{l−1}; θ_l): found in its graph, run one by one.

Implements: F1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from eosflow.networks.graph import common_module, cuts, graph_of, no_chain, tensor_names
from eosflow.networks.module import ACTIVATION_MODULES, ModuleNetwork
from eosflow.networks.perceptron import MLP
from eosflow.storage.errors import UserError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# Between the chain's outputs and the module's: rounding, in float64.
SAME_OUTPUTS = 1e-9


@dataclass(frozen=True)
class Link:
    """One f_l of a chain: `name` in words, the names of θ_l in the module, `parameters` P_l.

    `shape` is that of z_l for one example, as it runs alone. `layer` is the affine layer or
    convolution that the link ends with where θ_l is its weight and bias, and nothing else; None
    elsewhere. It goes by the `steps` of the graph from `source`, z_{l−1}, to the last of them, z_l.
    """

    name: str
    theta: tuple[str, ...]
    parameters: int
    shape: tuple[int, ...]
    layer: nn.Module | None
    source: fx.Node
    steps: tuple[fx.Node, ...]

    @property
    def size(self) -> int:
        """d_l, the numbers in z_l."""
        return math.prod(self.shape)


class Chain:
    """The links of a network; z_0 = x and z_L are its outputs. Implements: F1.

    A link ends at the first place after a parameter through which everything must pass: after a
    layer, or after the sum at the end of a residual block. What has no parameters belongs to the
    link after it; at the end of the network it is a separate link. `example` (1, D) is any input.

    Raises: UserError, with the remedy, for a network that is no chain.
    """

    def __init__(self, network: ModuleNetwork, theta: Tensor, example: Tensor) -> None:
        self.network = network
        graph = graph_of(network.module)
        self._module = fx.GraphModule(network.module, graph)
        self._names = tensor_names(network.module, self._module)
        self._inputs = next(node for node in graph.nodes if node.op == "placeholder")
        tensors = network.tensors_at(theta)
        with torch.no_grad():
            self._values = self._run_all(graph, tensors, example)
            self.links = self._links(graph)
            self._refuse_shared()
            state = example.reshape(1, *network.shape)
            for link in self.links:
                state = self.run(link, tensors, state)
            expected = network.outputs(theta, example)
        apart = (state.reshape(expected.shape) - expected).abs().max()
        if not apart <= SAME_OUTPUTS * expected.abs().max().clamp(min=1e-300):
            raise UserError(no_chain("its links, one after the other, do not give its outputs"))

    def run(self, link: Link, tensors: dict[str, Tensor], z: Tensor) -> Tensor:
        """z_l of one example from its z_{l−1}, both of the shapes that the links say.

        `tensors` are the network's tensors by their names, see `ModuleNetwork.tensors_at`.
        """
        return self._at(link, tensors, z)[link.steps[-1]]  # type: ignore[no-any-return]

    def read(self, link: Link, tensors: dict[str, Tensor], z: Tensor) -> Tensor:
        """What the link's `layer` reads, of one example."""
        (read,) = link.steps[-1].all_input_nodes
        return self._at(link, tensors, z)[read]  # type: ignore[no-any-return]

    def _at(self, link: Link, tensors: dict[str, Tensor], z: Tensor) -> dict[fx.Node, Any]:
        start = {**self._values, link.source: z.clone()}  # a layer may work in place
        return self._run(link.steps, tensors, start)

    def _run(
        self, steps: Sequence[fx.Node], tensors: dict[str, Tensor], values: dict[fx.Node, Any]
    ) -> dict[fx.Node, Any]:
        named = {f"module.{name}": tensors[own] for name, own in self._names.items()}
        with self.network.context():
            return functional_call(  # type: ignore[no-any-return]
                _Steps(self._module, steps), named, (values,), tie_weights=False
            )

    def _run_all(
        self, graph: fx.Graph, tensors: dict[str, Tensor], example: Tensor
    ) -> dict[fx.Node, Any]:
        steps = [node for node in graph.nodes if node.op not in ("placeholder", "output")]
        inputs = example.reshape(1, *self.network.shape).clone()
        try:
            return self._run(steps, tensors, {self._inputs: inputs})
        except Exception as error:
            raise UserError(no_chain(f"its graph cannot be run ({error})")) from error

    def _links(self, graph: fx.Graph) -> list[Link]:
        (result,) = [node for node in graph.nodes if node.op == "output"]
        end = result.args[0]
        if not isinstance(end, fx.Node):
            raise UserError(no_chain("it does not return a single tensor"))
        flowing, still = self._sorted(graph, end)
        links: list[Link] = []
        waiting: list[fx.Node] = []
        source = self._inputs
        for node, cut in cuts(self._inputs, flowing, self._values):
            waiting.append(node)
            steps = self._needed(waiting, still) if cut else []
            if cut and (node is end or self._theta(steps)):
                links.append(self._link(source, steps))
                source, waiting = node, []
        return links

    def _sorted(self, graph: fx.Graph, end: fx.Node) -> tuple[list[fx.Node], set[fx.Node]]:
        """Nodes that carry tensors from the inputs to the outputs, and those that carry none."""
        wanted = {end}
        for node in reversed(list(graph.nodes)):
            if node in wanted:
                wanted |= set(node.all_input_nodes)
        flowing: list[fx.Node] = []
        still: set[fx.Node] = set()
        for node in graph.nodes:
            if node not in wanted:
                continue
            from_inputs = node is self._inputs or any(n in flowing for n in node.all_input_nodes)
            leaves = pytree.tree_leaves(self._values[node])
            if from_inputs and any(isinstance(leaf, Tensor) for leaf in leaves):
                flowing.append(node)
            elif from_inputs and any(isinstance(leaf, float) for leaf in leaves):
                raise UserError(no_chain(f"{node.name} makes a plain number of its inputs"))
            else:
                still.add(node)
        return flowing[1:], still

    def _needed(self, nodes: list[fx.Node], still: set[fx.Node]) -> list[fx.Node]:
        """The nodes and, before them, what they read of the parameters, in their order."""
        needed, queue = set(nodes), list(nodes)
        while queue:
            for node in queue.pop().all_input_nodes:
                # Sizes are those of one example, and known.
                if node in still and node not in needed and self._is_tensor(node):
                    needed.add(node)
                    queue.append(node)
        return [node for node in self._module.graph.nodes if node in needed]

    def _is_tensor(self, node: fx.Node) -> bool:
        return any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(self._values[node]))

    def _theta(self, nodes: list[fx.Node]) -> list[str]:
        """The names of the parameters that nodes read, in the network."""
        return list(dict.fromkeys(self._names[name] for name in self._trained(nodes)))

    def _trained(self, nodes: list[fx.Node]) -> list[str]:
        own = self.network.sizes
        read = (name for node in nodes for name in self._tensors_of(node))
        return [name for name in read if self._names[name] in own]

    def _tensors_of(self, node: fx.Node) -> Iterator[str]:
        if node.op == "call_module":
            layer = self._module.get_submodule(str(node.target))
            for name, _ in layer.named_parameters(remove_duplicate=False):
                yield f"{node.target}.{name}"
        elif node.op == "get_attr" and str(node.target) in self._names:
            yield str(node.target)

    def _link(self, source: fx.Node, steps: list[fx.Node]) -> Link:
        theta, end = self._theta(steps), steps[-1]
        return Link(
            name=common_module(self._trained(steps)) or end.name,
            theta=tuple(theta),
            parameters=sum(self.network.sizes[name] for name in theta),
            shape=tuple(self._values[end].shape),
            layer=self._plain_layer(steps, theta),
            source=source,
            steps=tuple(steps),
        )

    def _plain_layer(self, steps: list[fx.Node], theta: list[str]) -> nn.Module | None:
        """The affine layer or convolution at the end, where it holds all of θ_l once."""
        end = steps[-1]
        if end.op != "call_module" or len(end.args) != 1 or end.kwargs:
            return None
        layer = self._module.get_submodule(str(end.target))
        tensors = {self._names[name] for name in self._tensors_of(end)}
        before = [name for node in steps if node is not end for name in self._tensors_of(node)]
        plain = type(layer) in (nn.Linear, *CONVOLUTIONS)
        hooked = bool(layer._forward_hooks or layer._forward_pre_hooks)
        if not plain or hooked or before or tensors != set(theta):
            return None
        return layer

    def _refuse_shared(self) -> None:
        owners: dict[str, Link] = {}
        for link in self.links:
            for name in link.theta:
                if name in owners:
                    raise UserError(
                        no_chain(
                            f"the links {owners[name].name} and {link.name} share the parameter "
                            f"{name}, so θ does not fall into one part per link"
                        )
                    )
                owners[name] = link


class _Steps(nn.Module):
    """Some nodes of a graph, run one after the other from the values of others."""

    def __init__(self, module: fx.GraphModule, steps: Sequence[fx.Node]) -> None:
        super().__init__()
        self.module = module
        self._steps = steps

    def forward(self, values: dict[fx.Node, Any]) -> dict[fx.Node, Any]:
        """The values, and those of the steps."""
        interpreter = fx.Interpreter(self.module, garbage_collect_values=False)
        interpreter.env = dict(values)
        for node in self._steps:
            interpreter.env[node] = interpreter.run_node(node)
        return interpreter.env


def as_module(network: MLP) -> ModuleNetwork:
    """An MLP of torch's own layers, equal to `network`, with its parameters in the same order."""
    layers: list[nn.Module] = []
    sizes = network.dimensions
    for into, out in itertools.pairwise(sizes):
        layers += [nn.Linear(into, out), ACTIVATION_MODULES[network.activation_name]()]
    module = nn.Sequential(*layers[:-1]).to(torch.float64)
    return ModuleNetwork(module, (sizes[0],), lambda _, __: None)

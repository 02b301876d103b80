"""The graph of a module's forward, and its bottlenecks."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator
from typing import Any

from torch import Tensor, fx, nn

from eosflow.storage.errors import UserError

# What works in place cannot be differentiated along many directions at once.
OUT_OF_PLACE: dict[Any, Any] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


def no_chain(reason: str) -> str:
    """The words for a module that is no chain."""
    return (
        f"The module is no chain z_l = f_l(z_{{l−1}}; θ_l): {reason}. The five factors are those "
        "of a chain. Write it as a torch.nn.Sequential of layers and blocks, each with "
        "parameters that no other link has; a block may do inside what it likes."
    )


class _Tracer(fx.Tracer):
    """Looks into modules as far as they can be traced; the others are one step each."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one step."""
        if super().is_leaf_module(m, module_qualified_name):
            return True
        try:
            _Tracer().trace(m)
        except Exception:
            return True
        return False


def graph_of(module: nn.Module) -> fx.Graph:
    """The steps of its forward. Raises: UserError if there is no such graph, or several inputs."""
    try:
        graph = _Tracer().trace(module)
    except Exception as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(no_chain(f"its forward cannot be traced ({line})")) from error
    if sum(node.op == "placeholder" for node in graph.nodes) != 1:
        raise UserError(no_chain("its forward takes more than the inputs"))
    for node in graph.nodes:
        # Where what was overwritten is used later on, the links do not give the outputs.
        node.target = OUT_OF_PLACE.get(node.target, node.target)
        if node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}
    return graph


def tensor_names(module: nn.Module, traced: fx.GraphModule) -> dict[str, str]:
    """Tensors of the traced module by the names that the network has for them."""
    own: dict[int, str] = {}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        own.setdefault(id(tensor), name)
    every = (
        *traced.named_parameters(remove_duplicate=False),
        *traced.named_buffers(remove_duplicate=False),
    )
    return {name: own[id(tensor)] for name, tensor in every if id(tensor) in own}


def common_module(names: list[str]) -> str:
    """The closest module that holds all parameters: a layer, or a residual block; else the first.

    `module` for one that is not in another; empty for no parameters.
    """
    holders = [name.split(".")[:-1] for name in names]
    if not holders:
        return ""
    levels = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*holders, strict=False))
    common = [level[0] for level in levels]
    return ".".join(common or next(filter(None, holders), ["module"]))


def cuts(
    inputs: fx.Node, flowing: list[fx.Node], values: dict[fx.Node, Any]
) -> Iterator[tuple[fx.Node, bool]]:
    """Each node with whether all that comes after it depends on what came before through it."""
    last = {source: at for at, node in enumerate(flowing) for source in node.all_input_nodes}
    reach = last[inputs]
    for at, node in enumerate(flowing):
        value = values[node]
        yield node, reach <= at and isinstance(value, Tensor) and value.is_floating_point()
        reach = max(reach, last.get(node, -1))

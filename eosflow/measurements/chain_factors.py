"""The five factors of any chain of layers or blocks: what can be set of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from eosflow.measurements.base import Measurement

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective


class ChainFactors(Measurement):
    """E‖M_l‖² and its five factors for each link of a chain, be it a layer or a residual block.

    For an MLP they are those of the decomposition, found another way. The columns are listed in
    docs/method.md.
    """

    name: ClassVar[str] = "chain-factors"

    def columns(self, outputs: int) -> tuple[str, ...]:
        """Those that every chain has; the others depend on how many links there are."""
        return ("m_norm2", "criterion_norm2", "alignment_product", "residual_jacobian")

    def measure(
        self, objective: Objective, theta: Tensor, iteration: int, seed: int
    ) -> dict[str, Any]:
        """The numbers at θ (P,). The searches start from one fixed vector.

        Raises: UserError for a network that is no chain.
        """
        from eosflow.measurements.chain import chain_factors
        from eosflow.networks.chain import Chain, as_module
        from eosflow.networks.module import ModuleNetwork
        from eosflow.networks.perceptron import MLP

        network = objective.network
        if isinstance(network, MLP):
            network = as_module(network)
        assert isinstance(network, ModuleNetwork), "a network is an MLP or a torch module"
        found = network

        def chain() -> Chain:
            return Chain(found, theta, objective.inputs[:1].to(theta.device))

        return chain_factors(objective.scratch("chain", chain), objective, theta)

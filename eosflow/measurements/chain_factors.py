"""The five factors of any chain of layers or blocks: the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from eosflow.measurements.base import Measurement, Numbers
from eosflow.storage.columns import Column, Columns

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective


class ChainFactors(Measurement):
    """E‖M_l‖² and its five factors for each block of a chain, a layer or a residual block.

    For an MLP they equal those of the decomposition, computed in another way. The columns are
    listed in docs/columns.md.
    """

    name: ClassVar[str] = "chain-factors"
    rows: ClassVar[str] = (
        "l counts the links of the chain. A last link without parameters has no E‖M_l‖² and no T_l."
    )

    def columns(self, outputs: int) -> Columns:
        return (
            Column(
                "m_norm2",
                "E‖M‖²",
                "mean over examples of the squared operator norm of M = H_ℓ^{1/2} J (E4)",
                "loss / parameter²",
            ),
            Column(
                "criterion_norm2",
                "E‖H_ℓ^{1/2}‖²",
                "mean largest eigenvalue of ∂²ℓ/∂z_L² (E12)",
                "loss / output²",
            ),
            Column("layer_norm2_l", "E‖M_l‖²", "M_l = B_l T_l, by link (F2)", "loss / parameter²"),
            Column(
                "preactivation_norm2_l",
                "E‖B_l‖²",
                "B_L = H_ℓ^{1/2}, B_l = B_{l+1} D_l (F2)",
                "loss / output²",
            ),
            Column("activation_norm2_l", "E‖T_l‖²", "T_l = ∂z_l/∂θ_l (F2, F3)", "activation²"),
            Column("activation_ratio_l", "ρ_l", "E‖M_l‖² / (E‖T_l‖² E‖B_l‖²) (F5)", "–"),
            Column(
                "activation_covariance_l",
                "–",
                "the part of ρ_l from how ‖T_l‖² and ‖B_l‖² vary together (F5)",
                "–",
            ),
            Column(
                "weight_sharing_l",
                "–",
                "the part of ρ_l from weights used in many places (F5)",
                "–",
            ),
            Column("jacobian_norm2_l", "E‖D_l‖²", "D_l = ∂z_{l+1}/∂z_l (F2)", "–"),
            Column("alignment_l", "α_l", "E‖B_{l+1} D_l‖² / (E‖B_{l+1}‖² E‖D_l‖²) (F4)", "–"),
            Column("alignment_product", "A_1", "cumulative alignment α_1 α_2 … (F4)", "–"),
            Column(
                "residual_jacobian",
                "–",
                "largest relative residual of any norm of any example",
                "–",
            ),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
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
        module = network

        def chain() -> Chain:
            return Chain(module, theta, objective.inputs[:1].to(theta.device))

        return chain_factors(objective.scratch("chain", chain), objective, theta)

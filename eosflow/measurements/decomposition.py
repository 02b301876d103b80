"""The sharpness of one weight snapshot and its factors, of an MLP or any chain: the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from eosflow.measurements.base import Measurement, Numbers
from eosflow.storage.columns import Column, Columns, curvature, flag, relative

if TYPE_CHECKING:
    from torch import Tensor

    from eosflow.objectives.base import Objective

# Of both measurements.
M_NORM = curvature(
    "m_norm2",
    "E‖M‖²",
    "mean over examples of the squared operator norm of M = H_ℓ^{1/2} J (E4)",
)
CRITERION_NORM = Column(
    "criterion_norm2",
    "E‖H_ℓ^{1/2}‖²",
    "mean largest eigenvalue of ∂²ℓ/∂z_L² (E12)",
    "loss / output²",
)


class Decomposition(Measurement):
    """λ₁ of 𝓗, G and R, E‖M‖², the overlap, the layers' norms, and the five factors of an MLP.

    The numbers are those of `eosflow.measurements.factors.decompose`; the columns are listed in
    docs/columns.md.
    """

    name: ClassVar[str] = "decomposition"
    rows: ClassVar[str] = (
        "Networks that are no chain of layers lack the factors, and their layers are submodules "
        "with parameters."
    )
    version: ClassVar[int] = 4

    def columns(self, outputs: int) -> Columns:
        return (
            Column("loss", "𝓛", "𝓛(θ) = E[ℓ(z_L, y)] (E0)", "loss"),
            curvature(
                "sharpness_hessian", "λ₁(𝓗)", "largest algebraic eigenvalue of 𝓗 = ∇²𝓛 = G + R (E1)"
            ),
            curvature(
                "sharpness_gauss_newton", "λ₁(G)", "largest eigenvalue of G = E[Jᵀ H_ℓ J] (E2)"
            ),
            curvature(
                "sharpness_residual",
                "λ₁(R)",
                "largest algebraic eigenvalue of R = E[Σ_c (∂ℓ/∂z_c) ∇²z_c] (E3)",
            ),
            curvature(
                "smallest_eigenvalue_residual",
                "λ_P(R)",
                "smallest eigenvalue of R, a Ritz value of the search for λ₁(R) (E3)",
            ),
            M_NORM,
            Column("overlap", "ω", "λ₁(G) / E‖M‖², in [1/N, 1] (E5)", "–"),
            CRITERION_NORM,
            curvature(
                "layer_norm2_l",
                "E‖M_l‖²",
                "(1 + ‖a_{l−1}‖²) ‖B_l‖², mean over examples, l = 1…L (E7)",
            ),
            Column(
                "preactivation_norm2_l",
                "E‖B_l‖²",
                "B_L = H_ℓ^{1/2}, B_l = B_{l+1} D_l, l = 1…L (E6)",
                "loss / output²",
            ),
            Column(
                "activation_norm2_l",
                "E[1 + ‖a_{l−1}‖²]",
                "squared length of the layer's input, with the 1 of the bias, l = 1…L (E7)",
                "activation²",
            ),
            Column(
                "activation_ratio_l",
                "ρ_l",
                "E‖M_l‖² / (E[1+‖a_{l−1}‖²] E‖B_l‖²), l = 1…L (E11)",
                "–",
            ),
            Column("activation_growth_l", "γ_l", "E[‖a_l‖²/‖a_{l−1}‖²], l = 1…L−1 (E11)", "–"),
            Column(
                "jacobian_norm2_l",
                "E‖D_l‖²",
                "D_l = ∂z_{l+1}/∂z_l = W_{l+1} diag φ'(z_l), l = 1…L−1 (E6)",
                "–",
            ),
            Column(
                "alignment_l",
                "α_l",
                "E‖B_{l+1} D_l‖² / (E‖B_{l+1}‖² E‖D_l‖²), l = 1…L−1 (E10)",
                "–",
            ),
            Column("alignment_product", "A_1", "cumulative alignment α_1 α_2 … α_{L−1} (E10)", "–"),
            relative("residual_hessian", "‖𝓗v − λ₁v‖ / λ₁ of the pair that was found"),
            relative("residual_gauss_newton", "‖Gv − λ₁v‖ / λ₁ of the pair that was found"),
            relative("residual_residual", "‖Rv − λ₁v‖ / λ₁ of the pair that was found"),
            relative("residual_smallest", "‖Rv − λ_P v‖ / λ₁(R) of the pair that was found"),
            relative(
                "residual_jacobian",
                "largest relative residual of any ‖D_l‖² of any example; 0 for closed forms",
            ),
            flag(
                "converged",
                "whether the residuals are at most 10⁻⁴ for 𝓗 and G, 0.002 for R and 10⁻³ for "
                "‖D_l‖²",
            ),
        )

    def measure(self, objective: Objective, theta: Tensor, iteration: int, seed: int) -> Numbers:
        """The numbers at θ (P,). The searches start from one fixed vector."""
        from eosflow.measurements.factors import decompose

        return decompose(objective, theta)


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
            M_NORM,
            CRITERION_NORM,
            curvature("layer_norm2_l", "E‖M_l‖²", "M_l = B_l T_l, by link (F2)"),
            Column(
                "preactivation_norm2_l",
                "E‖B_l‖²",
                "B_L = H_ℓ^{1/2}, B_l = B_{l+1} D_l (F2)",
                "loss / output²",
            ),
            Column("activation_norm2_l", "E‖T_l‖²", "T_l = ∂z_l/∂θ_l (F2, F3)", "activation²"),
            Column("activation_ratio_l", "ρ_l", "E‖M_l‖² / (E‖T_l‖² E‖B_l‖²) (F5)", "–"),
            relative(
                "activation_covariance_l",
                "the part of ρ_l from how ‖T_l‖² and ‖B_l‖² vary together (F5)",
            ),
            relative("weight_sharing_l", "the part of ρ_l from weights used in many places (F5)"),
            Column("jacobian_norm2_l", "E‖D_l‖²", "D_l = ∂z_{l+1}/∂z_l (F2)", "–"),
            Column("alignment_l", "α_l", "E‖B_{l+1} D_l‖² / (E‖B_{l+1}‖² E‖D_l‖²) (F4)", "–"),
            Column("alignment_product", "A_1", "cumulative alignment α_1 α_2 … (F4)", "–"),
            relative("residual_jacobian", "largest relative residual of any norm of any example"),
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

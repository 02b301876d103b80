"""The sharpness of a problem and its factors."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from eosflow.library.memory import refuse_beyond
from eosflow.library.problem import Problem
from eosflow.measurements.chain import chain_factors
from eosflow.measurements.factors import JACOBIAN_TOLERANCE
from eosflow.measurements.factors import decompose as decompose_objective
from eosflow.networks.chain import Chain
from eosflow.networks.graph import no_chain
from eosflow.networks.trial import first_line
from eosflow.objectives.base import Objective
from eosflow.objectives.mlp import MLPObjective
from eosflow.storage.errors import UserError

# What a frame of links calls the columns of the record, and in which order.
OF_LINKS = (
    "layer_norm2",
    "activation_ratio",
    "activation_covariance",
    "weight_sharing",
    "activation_norm2",
    "preactivation_norm2",
    "jacobian_norm2",
    "alignment",
)


class Sharpness(dict[str, Any]):
    """The numbers at one point, by their names in docs/columns.md, and two frames.

    `groups` has a row per parameter group: its name, its parameters and `layer_norm2`, E‖M_l‖².
    `links` has a row per block of the chain with its factors, and `cumulative_alignment`, A_l; if
    the module is not a chain it is empty, and `no_chain` says why and what to do.
    """

    groups: pd.DataFrame
    links: pd.DataFrame
    no_chain: str

    def __missing__(self, name: str) -> Any:
        """Raises: KeyError that says why a number is not there."""
        raise KeyError(f"{name}. {self.no_chain}" if self.no_chain else name)


def decompose(problem: Problem) -> Sharpness:
    """λ₁ of 𝓗, G and R, E‖M‖², ω and E‖M_l‖² of any module; for a chain the five factors too.

    Implements: λ₁(G) = E‖M‖² · ω (E1–E5), E7–E8 per parameter group, and F1–F6 per block.

    Returns: a mapping, always with `sharpness_hessian`, `sharpness_gauss_newton`,
    `sharpness_residual`, `m_norm2`, `overlap`, `criterion_norm2`, the residuals and `converged`;
    for a chain also with `alignment_product` and, for each block l, E‖M_l‖² as `layer_norm2_l` and
    its factors. See `Sharpness` for its frames.

    Raises: UserError for a loss that is not convex in the outputs.

    >>> import torch, eosflow
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    >>> data = torch.randn(20, 4), torch.randint(3, (20,))
    >>> factors = eosflow.decompose(eosflow.Problem(net, "cross_entropy", data))
    >>> bool(factors["sharpness_gauss_newton"] <= factors["m_norm2"])  # ω ≤ 1
    True
    >>> list(factors.links["link"])
    ['0', '2']
    """
    objective, theta = problem.objective, problem.theta
    _refuse_memory(objective)
    record = decompose_objective(objective, theta)
    norms = [record.pop(name) for name in [n for n in record if n.startswith("layer_norm2_")]]
    sharpness = Sharpness(record)
    sharpness.groups = pd.DataFrame(
        {
            "group": [name or "module" for name in problem.network.group_names],
            "parameters": [group.stop - group.start for group in problem.network.groups],
            "layer_norm2": norms,
        }
    )
    sharpness.links, sharpness.no_chain = pd.DataFrame(), ""
    try:
        chain = Chain(problem.network, theta, objective.inputs[:1])
        factors = chain_factors(chain, objective, theta)
    except UserError as error:
        sharpness.no_chain = str(error)
    except (RuntimeError, NotImplementedError) as error:
        reason = f"its links cannot be differentiated one by one ({first_line(error)})"
        sharpness.no_chain = no_chain(reason)
    else:
        sharpness |= factors
        converged = factors["residual_jacobian"] <= JACOBIAN_TOLERANCE
        sharpness["converged"] = record["converged"] and converged
        sharpness.links = _frame(chain, factors)
    problem.network.check_again()
    return sharpness


def _refuse_memory(objective: Objective) -> None:
    """Raises: UserError where the Jacobian of one example is larger than the machine's memory."""
    if isinstance(objective, MLPObjective):
        return  # no Jacobian is made
    # Measured: at its peak it holds four Jacobians, where `per_example_numbers` counts two.
    numbers = 2.1 * objective.per_example_numbers()
    refuse_beyond(
        numbers * objective.inputs.element_size(),
        f"The factors of one example with {objective.network.parameters} parameters",
        "Factors need the Jacobian of all outputs of an example: take a model with fewer outputs "
        "or parameters. eosflow.eigenpairs and eosflow.trace need no Jacobian.",
    )


def _frame(chain: Chain, factors: dict[str, Any]) -> pd.DataFrame:
    """A row per link; A_l = Π_{j≥l} α_j."""
    frame = pd.DataFrame(
        {
            "link": [link.name for link in chain.links],
            "parameters": [link.parameters for link in chain.links],
            "outputs": [link.size for link in chain.links],
        },
        index=pd.RangeIndex(1, len(chain.links) + 1, name="l"),
    )
    for name in OF_LINKS:
        found = {
            int(key.rpartition("_")[2]): value
            for key, value in factors.items()
            if re.fullmatch(rf"{name}_\d+", key)
        }
        frame[name] = pd.Series(found, dtype="float64")
    product = frame["alignment"].fillna(1.0)[::-1].cumprod()[::-1]
    frame["cumulative_alignment"] = product
    return frame

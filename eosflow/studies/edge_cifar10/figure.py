"""The drawing of the study: λ₁(𝓗) with 2/η dashed, and the loss, of the first seed."""

from eosflow.studies.edge_of_stability.figure import draw

__all__ = ["draw"]

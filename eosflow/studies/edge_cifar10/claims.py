"""What the source says of gradient descent where the flow sharpens, with its verdicts."""

from eosflow.studies.edge_of_stability.claims import judge

__all__ = ["judge"]

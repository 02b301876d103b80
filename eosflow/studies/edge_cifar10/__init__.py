"""The edge on photographs."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=3, measurements=("top-eigenvalues",), like="edge_of_stability")

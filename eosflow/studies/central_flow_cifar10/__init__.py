"""Descent, central flow and flow on photographs."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=1, like="central_flow", archives=("cifar-10-binary.tar.gz",))

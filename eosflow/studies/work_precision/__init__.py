"""How near to the flow for how much work."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=6)

"""How many parameters are determined."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=2)

"""Learning rates that change, and weight decay."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=2)

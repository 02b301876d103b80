"""Error against work."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=6)

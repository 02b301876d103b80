"""What the spectrum looks like around an instability."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=1)

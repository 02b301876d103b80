"""What the spectrum looks like around an instability."""

from eosflow.studies.base import Study

# A method by the name that it has in the table.
SMALL_STEPS = "small steps"

STUDY = Study(__name__, version=2)

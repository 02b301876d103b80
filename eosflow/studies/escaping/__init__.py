"""Without the sharpest direction."""

from eosflow.studies.base import Study

# All of each step, the step without its sharpest direction, and that direction alone.
WHOLE, REMOVED, ONLY = "SGD", "sharpest direction removed", "sharpest direction only"

# Where the methods begin.
INITIALISATION, CHECKPOINT = "initialisation", "checkpoint"

STUDY = Study(__name__, version=2)

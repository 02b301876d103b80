"""Inside and outside of the top subspace."""

from eosflow.studies.base import Study

# The methods' names in the table: gradient descent up to the switch, and what goes on from there.
BEFORE = "before the switch"
DESCENT, DOMINANT, BULK = "gradient descent", "Dominant-SGD", "Bulk-SGD"
STALE = "Dominant-SGD, subspace of up to ten steps ago"
NUDGED, PUSHED = "Nudged-SGD, γ = 0.1", "Nudged-SGD, γ = 5"

STUDY = Study(__name__, version=2)

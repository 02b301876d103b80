"""The methods' names in the tables of the studies of subspaces. Standard library only."""

from __future__ import annotations

# subspaces: gradient descent up to the switch, and what goes on from there.
BEFORE = "before the switch"
DESCENT, DOMINANT, BULK = "gradient descent", "Dominant-SGD", "Bulk-SGD"
NUDGED, PUSHED = "Nudged-SGD, γ = 0.1", "Nudged-SGD, γ = 5"

# escaping: all of each step, the step without its sharpest direction, and that direction alone.
WHOLE, REMOVED, ONLY = "SGD", "sharpest direction removed", "sharpest direction only"

"""A monitor in the training loops of other packages; each module needs its package."""

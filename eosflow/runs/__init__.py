"""One training run: its specification, its folder, its training and its measurements."""

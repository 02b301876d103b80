"""Optimizers as pure functions of their state, and the one loop that runs them."""

"""Studies of the method itself, apart from the paper's experiments."""

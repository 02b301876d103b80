"""The training loss as a function of the parameters: value, gradient, curvature products."""

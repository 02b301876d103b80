"""What is measured of a point in parameter space."""

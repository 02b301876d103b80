"""Gradient flow, sharpness and its factors: the science behind the workflow."""

__version__ = "0.1.0"

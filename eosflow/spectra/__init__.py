"""Numbers of linear operators known only by their products, each with its residual.

Knows no networks.
"""

"""Faults done to small results folders from outside, and what became of them; see tests/fuzz.py."""

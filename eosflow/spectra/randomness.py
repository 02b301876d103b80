"""Random streams, one for each use of a seed."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str) -> torch.Generator:
    """A separate CPU random stream for each (seed, purpose), the same on every machine."""
    name = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(name[:8], "big") >> 1)

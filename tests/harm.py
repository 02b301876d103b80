"""Damage to files."""

from __future__ import annotations

import os
from pathlib import Path


def flip(path: Path) -> None:
    """Flip a bit in the middle, so that the file keeps its size."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    """Cut the file off in the middle."""
    os.truncate(path, path.stat().st_size // 2)

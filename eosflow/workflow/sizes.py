"""Sizes in readable units."""

from __future__ import annotations


def size_in_words(number: float) -> str:
    """As one would say it: `12 kB`, `3.4 MB`, `2.2 TB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.2g} {unit}"
        number /= 1000
    return f"{number:.2g} TB"

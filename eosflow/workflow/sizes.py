"""Numbers for people."""

from __future__ import annotations


def size_in_words(number: float) -> str:
    """As one would say it: `12 kB`, `3.4 MB`, `2.2 TB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.2g} {unit}"
        number /= 1000
    return f"{number:.2g} TB"


def listed(numbers: list[int]) -> str:
    """Ascending numbers for people: `0, 10, 100 to 1200 in steps of 100, 1234`."""
    parts: list[str] = []
    first = 0
    while first < len(numbers):
        last = first
        step = numbers[first + 1] - numbers[first] if first + 1 < len(numbers) else 0
        while last + 1 < len(numbers) and numbers[last + 1] - numbers[last] == step:
            last += 1
        if last - first >= 3:
            parts.append(f"{numbers[first]} to {numbers[last]} in steps of {step}")
            first = last + 1
        else:
            parts.append(str(numbers[first]))
            first += 1
    return ", ".join(parts)

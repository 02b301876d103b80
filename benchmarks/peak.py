"""The peak memory of a process; imports nothing that would count in it."""

from __future__ import annotations

import re
import resource
from pathlib import Path


def peak_gibibytes() -> float:
    """Peak resident memory of this process.

    Not what Linux's getrusage says, which for a new program starts at the peak of the process that
    started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (kibibytes,) = re.findall(r"VmHWM:\s*(\d+) kB", status.read_text())
        return int(kibibytes) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30  # bytes on macOS

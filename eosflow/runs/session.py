"""With what a run was trained or measured: what may change the last bits of its numbers."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

from eosflow.storage.provenance import versions

NAMES = ("device", "threads", "versions")


def session(device: torch.device) -> dict[str, Any]:
    """The processor or GPU, the number of threads and the versions of this very job."""
    return {
        "device": _device_name(device),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }


def _device_name(device: torch.device) -> str:
    """A GPU's model; a processor's, and its instruction set, on which the last bits depend."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")  # Linux; Python itself knows no model there
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = next(iter(models), platform.processor() or platform.machine())
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"

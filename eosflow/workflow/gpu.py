"""Which GPU a job may use: a lease by file lock, for schedulers that count GPUs but name none."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from eosflow.storage.errors import UserError

NO_DEVICE = (
    "device: cuda was given, but no GPU was found: nvidia-smi lists none, or CUDA_VISIBLE_DEVICES "
    "is empty. Use device: auto or device: cpu, or run where there is a GPU."
)
POLL_SECONDS = 0.2
SMI_SECONDS = 60.0
COMMAND = ("nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader")
# An index, a UUID, or a part of a GPU, which older drivers call MIG-GPU-…/1/0.
NAME = re.compile(r"[0-9]{1,4}|GPU-[0-9A-Za-z-]{1,80}|MIG-[0-9A-Za-z/-]{1,80}")

log = logging.getLogger(__name__)


@functools.cache
def devices() -> tuple[str, ...]:
    """The GPUs this process may use: those of CUDA_VISIBLE_DEVICES if that is set, else all.

    A scheduler sets the variable. Returns: identifiers that CUDA_VISIBLE_DEVICES understands.
    """
    installed = _installed()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(installed.values())
    names = (name.strip() for name in visible.split(",") if name.strip())
    # CUDA itself stops at the first name it does not know; -1 is the usual way to hide all.
    known = itertools.takewhile(lambda name: NAME.fullmatch(name), names)
    return tuple(installed.get(name, name) for name in known)


def _installed() -> dict[str, str]:
    """Index -> UUID of each GPU that nvidia-smi lists; empty if it says something else."""
    try:
        asked = subprocess.run(
            COMMAND, check=False, capture_output=True, errors="replace", timeout=SMI_SECONDS
        )
        text = asked.stdout
    except FileNotFoundError:  # no driver
        return {}
    except (OSError, subprocess.TimeoutExpired) as error:
        text = str(error)
    rows = [[part.strip() for part in line.split(",")] for line in text.splitlines() if line]
    if rows and all(len(row) == 2 and all(map(NAME.fullmatch, row)) for row in rows):
        return dict(rows)
    log.warning(
        "nvidia-smi answered %r, not an index and a UUID a line: no GPU is used", text[:200]
    )
    return {}


@contextlib.contextmanager
def lease(device: str, count: int) -> Iterator[str]:
    """Hold `count` GPUs for this process alone and yield what torch is to use: `cuda` or `cpu`.

    `device` is auto, cpu or cuda; with a count of 0 it is the CPU in any case. Waits until enough
    GPUs are free and sets CUDA_VISIBLE_DEVICES, so it must be entered before CUDA starts. The locks
    are the kernel's: a killed process holds none. An index, unlike a UUID, means another device in
    each job of a scheduler, so the lock's name then holds the job's number.

    Raises: UserError where `cuda` is demanded, or more GPUs are than there are.
    """
    if device == "cpu" or count == 0 or (device == "auto" and not devices()):
        yield "cpu"
        return
    if not devices():
        raise UserError(NO_DEVICE)
    if count > len(devices()):
        raise UserError(
            f"{count} GPUs were asked for, but only {len(devices())} may be used here: "
            f"{', '.join(devices())}. Ask for fewer with --resources gpu={len(devices())}."
        )
    with contextlib.ExitStack() as held:
        names = _acquire(count, held)
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names)
        if device == "auto" and not _torch_works():
            log.warning("the installed torch cannot use GPU %s: runs on the CPU", ", ".join(names))
            yield "cpu"
            return
        log.info("uses GPU %s", ", ".join(names))
        yield "cuda"


def _torch_works() -> bool:
    import torch  # only in a job, and only once the devices are chosen

    return torch.cuda.is_available()


def _acquire(count: int, held: contextlib.ExitStack) -> list[str]:
    """Take so many of the devices as soon as they are free; they are given back with `held`."""
    waits = False
    while True:
        with contextlib.ExitStack() as taken:
            names = []
            for name in devices():
                with contextlib.suppress(Timeout):
                    taken.enter_context(_lock(name))
                    names.append(name)
                if len(names) == count:
                    held.push(taken.pop_all())
                    return names
        if not waits:
            log.info("waits for a free GPU; other jobs hold %s", ", ".join(devices()))
        waits = True
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def _lock(device: str) -> Iterator[None]:
    """Hold a GPU. Raises: Timeout if another job does; UserError if there can be no lock."""
    unique = device.startswith(("GPU-", "MIG-"))
    job = "" if unique else os.environ.get("SLURM_JOB_ID", "")
    names = filter(None, (str(os.geteuid()), socket.gethostname(), job, device))
    file = re.sub(r"[^A-Za-z0-9.-]", "_", f"eosflow-gpu-{'-'.join(names)}.lock")
    lock = FileLock(Path(tempfile.gettempdir(), file), timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise
    except OSError as error:
        raise UserError(
            f"No lock for GPU {device} can be made: {error}. Set TMPDIR to a folder that is yours, "
            "or use device: cpu."
        ) from None
    try:
        yield
    finally:
        lock.release()

"""Which GPU a job may use: a lease by file lock, for schedulers that count GPUs but name none."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from eosflow.storage.errors import UserError

CHOICES = ("auto", "cpu", "cuda")
NO_DEVICE = (
    "device: cuda was given, but no GPU was found: nvidia-smi lists none, or CUDA_VISIBLE_DEVICES "
    "is empty. Use device: auto or device: cpu, or run where there is a GPU."
)
POLL_SECONDS = 0.2

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
    names = [name.strip() for name in visible.split(",") if name.strip()]
    # CUDA itself stops at the first name it does not know; -1 is the usual way to hide all.
    if "-1" in names:
        names = names[: names.index("-1")]
    return tuple(installed.get(name, name) for name in names)


def _installed() -> dict[str, str]:
    """Index -> UUID of each GPU that nvidia-smi lists; empty where there is no such program."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    command = [program, "--query-gpu=index,uuid", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if answer.returncode != 0:
        return {}
    rows = [line.split(",") for line in answer.stdout.splitlines() if "," in line]
    return {index.strip(): uuid.strip() for index, uuid in rows}


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
    waiting = False
    while True:
        with contextlib.ExitStack() as attempt:
            names: list[str] = []
            for name in devices():
                lock = FileLock(_lock_path(name), timeout=0, mode=0o666)
                with contextlib.suppress(Timeout):
                    attempt.enter_context(lock)
                    names.append(name)
                if len(names) == count:
                    held.push(attempt.pop_all())
                    return names
        if not waiting:
            log.info("waits for a free GPU; other jobs hold %s", ", ".join(devices()))
            waiting = True
        time.sleep(POLL_SECONDS)


def _lock_path(device: str) -> Path:
    # Shared by all users of the machine, as /tmp is.
    folder = Path(tempfile.gettempdir()) / "eosflow-gpus"
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(PermissionError):
        folder.chmod(0o1777)
    # A UUID names one device on the whole machine, an index only within a scheduler's job.
    unique = device.startswith(("GPU-", "MIG-"))
    job = "" if unique else os.environ.get("SLURM_JOB_ID", "")
    return folder / f"{'-'.join(filter(None, [socket.gethostname(), job, device]))}.lock"

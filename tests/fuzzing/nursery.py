"""A process that has loaded all libraries, and is copied instead of starting one that must.

Snakemake takes a second to load, a job four. Here both are copies (`fork`) of one process, so that
a fault costs a second or two. Everything else is as in a terminal: a Snakemake leads a process
group, its jobs are started by a shell and belong to its group.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SOCKET = "FUZZ_NURSERY"  # the environment variable that names where the nursery listens
LOADED = (
    *("torch", "pandas", "pyarrow.parquet", "seaborn", "statsmodels.formula.api", "altair"),
    *("snakemake.cli", "snakemake.workflow", "snakemake.executors.local"),
    *("eosflow.workflow.jobs", "eosflow.workflow.terminal", "eosflow.workflow.check"),
    *("eosflow.runs.train", "eosflow.runs.measure", "eosflow.results.figures"),
    *("eosflow.results.archive", "eosflow.results.redrawing"),
    *("eosflow.results.report", "eosflow.datasets.dice", "eosflow.workflow.again"),
)
# What takes the place of scripts/job.py: it lets the nursery run the job, and waits for it.
CLIENT = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).resolve().parent.parent)!r})
from fuzzing.nursery import stand_in
stand_in(["job", *sys.argv[1:]])
"""


class Child:
    """A copy of the nursery at work; used as a `subprocess.Popen`."""

    def __init__(self, line: socket.socket) -> None:
        self._line, self.returncode = line, None
        self.pid = int(_answer(line))

    def poll(self) -> int | None:
        """The status, if it has ended."""
        return self._look(0.0)

    def wait(self, seconds: float | None = None) -> int:
        """The status; negative: the signal that ended it. Raises: TimeoutError."""
        status = self._look(seconds)
        if status is None:
            raise TimeoutError(f"{self.pid} has not ended after {seconds} s")
        return status

    def _look(self, seconds: float | None) -> int | None:
        if self.returncode is None:
            self._line.settimeout(seconds)
            with contextlib.suppress(TimeoutError, BlockingIOError):
                self.returncode = int(_answer(self._line))
                self._line.close()
        return self.returncode


def ask(
    address: str,
    words: Sequence[str],
    output: int,
    *,
    cwd: str,
    environment: Mapping[str, str],
    group: int = 0,
    user: int = 0,
    size: int = resource.RLIM_INFINITY,
) -> Child:
    """Let the nursery run `words`: job …, snakemake … or eosflow …, printing to `output`.

    `group` is the process group, 0 a new one; no file may grow beyond `size`.
    """
    line = socket.socket(socket.AF_UNIX)
    line.connect(address)
    facts = {"words": [*words], "cwd": cwd, "environment": {**environment}}
    facts |= {"group": group, "user": user, "size": size}
    text = json.dumps(facts).encode()
    line.sendall(f"{len(text):08d}".encode() + text)
    socket.send_fds(line, [b"+"], [output])
    return Child(line)


def _answer(line: socket.socket) -> bytes:
    found = line.recv(16)
    if not found:
        raise EOFError("the nursery has ended")
    return found.strip()


def stand_in(words: list[str]) -> None:
    """Run a job in the nursery, in this process's group; end as it ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the job has them as well, and decides
    child = ask(
        os.environ[SOCKET],
        words,
        1,
        cwd=str(Path.cwd()),
        environment=os.environ,
        group=os.getpgrp(),
        user=os.geteuid(),
        size=int(os.environ.get("FUZZ_SIZE", resource.RLIM_INFINITY)),
    )
    status = child.wait()
    if status >= 0:
        sys.exit(status)
    signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
    os.kill(os.getpid(), -status)


class Nursery:
    """The process, as long as the context lasts."""

    def __init__(self, program: Path, address: Path) -> None:
        self.address = str(address)
        environment = os.environ | {"PYTHONPATH": f"{program}:{Path(__file__).parent.parent}"}
        command = [sys.executable, "-m", "fuzzing.nursery", self.address]
        # Python looks for modules in the present folder first. The session is that of whoever
        # starts Snakemake, or jobs could not be of Snakemake's process group.
        self._process = subprocess.Popen(command, cwd=program, env=environment, process_group=0)
        while not address.exists():
            assert self._process.poll() is None, "the nursery does not start"
            time.sleep(0.05)
        self.pid = self._process.pid

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def jobs(self, group: int) -> Iterator[tuple[int, str]]:
        """The jobs of a process group that are at work: their process ids and names."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        for pid in map(int, children.split()):
            with contextlib.suppress(OSError):
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                if os.getpgid(pid) == group and name.startswith("job "):
                    yield pid, name.removeprefix("job ")


def _serve(address: str) -> None:
    """Copy this process for whoever asks, and tell how the copies end."""
    for name in LOADED:
        importlib.import_module(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.new")
    Path(f"{address}.new").chmod(0o777)
    listener.listen(64)
    Path(f"{address}.new").rename(address)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    parent = os.getppid()
    while os.getppid() == parent:
        for key, _ in selector.select(1.0):
            if key.fileobj is listener:
                line, _ = listener.accept()
                pid = _copy(line, listener)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, line))
                _tell(line, pid)
            else:
                pid, line = key.data
                _tell(line, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                selector.unregister(key.fileobj)
                os.close(key.fd)
                line.close()


def _tell(line: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # whoever asked has been killed
        line.sendall(f"{number:16d}".encode())


def _copy(line: socket.socket, listener: socket.socket) -> int:
    length = int(line.recv(8, socket.MSG_WAITALL))
    facts = json.loads(line.recv(length, socket.MSG_WAITALL))
    _, (output,), _, _ = socket.recv_fds(line, 1, 1)
    if pid := os.fork():
        os.close(output)
        group = facts["group"] or pid
        with contextlib.suppress(OSError):
            os.setpgid(pid, group)
        return pid
    status = 70
    try:
        listener.close()
        line.close()
        status = _become(facts, output)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _become(facts: dict[str, Any], output: int) -> int:
    """Be the process that was asked for; returns its exit status."""
    os.setpgid(0, facts["group"])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    os.chdir(facts["cwd"])
    os.environ.clear()
    os.environ.update(facts["environment"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (facts["size"], resource.RLIM_INFINITY))
    kind, *words = facts["words"]
    Path("/proc/self/comm").write_text(f"{kind} {words[0]}"[:15])
    if facts["user"] and os.geteuid() == 0:
        _become_user(facts["user"])
    sys.argv = [kind, *words]
    try:
        if kind == "snakemake":
            from snakemake.cli import main

            main(words)
        elif kind == "eosflow":
            from eosflow.workflow import terminal

            terminal.start()
        else:
            from eosflow.workflow import jobs

            jobs.start()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _become_user(number: int) -> None:
    """Be a user who may read everything, as the program may lie where root alone does, and write
    what a user may.
    """
    libc, may_read = ctypes.CDLL(None, use_errno=True), 2  # CAP_DAC_READ_SEARCH
    os.setgroups([])
    os.setgid(number)
    libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setuid(number)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)(*3 * [1 << may_read], 0, 0, 0)):
        raise OSError(ctypes.get_errno(), "capset")
    libc.prctl(47, 2, may_read, 0, 0)  # PR_CAP_AMBIENT_RAISE: for what it starts, too


if __name__ == "__main__":
    _serve(sys.argv[1])

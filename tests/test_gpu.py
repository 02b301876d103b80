"""Which GPU a job gets. The devices are made up: a program that answers like nvidia-smi does."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import HANGS

from eosflow.storage.errors import UserError
from eosflow.workflow import gpu

UUIDS = ("GPU-aaaa", "GPU-bbbb")
ANSWER = "#!/bin/sh\nprintf '0, GPU-aaaa\\n1, GPU-bbbb\\n'\n"

# Holds a lease and notes when it took which device and when it gave it back.
HOLDER = """
import os, sys, time
from eosflow.workflow import gpu
with gpu.lease("cuda", int(sys.argv[2])) as device:
    began = time.monotonic()
    print("holds", os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    time.sleep(float(sys.argv[3]))
    with open(sys.argv[1], "a") as file:
        print(os.environ["CUDA_VISIBLE_DEVICES"], began, time.monotonic(), file=file)
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with two GPUs, and a folder of locks of its own."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(ANSWER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    # The lease sets it for good, as a job wants it; `setenv` first, so that it is restored.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    gpu.devices.cache_clear()
    yield
    gpu.devices.cache_clear()


def see(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    gpu.devices.cache_clear()


def no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    gpu.devices.cache_clear()


def holder(journal: Path, count: int = 1, seconds: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(journal), str(count), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("1,0", ("GPU-bbbb", "GPU-aaaa")),
        ("", ()),
        ("-1", ()),
        ("0,-1,1", ("GPU-aaaa",)),
        ("MIG-GPU-cccc/1/0", ("MIG-GPU-cccc/1/0",)),
        ("0,GPU_zzzz,1", ("GPU-aaaa",)),
        ("GPU-../../x", ()),
    ],
)
def test_visible_devices_are_respected(
    monkeypatch: pytest.MonkeyPatch, visible: str, found: tuple[str, ...]
) -> None:
    assert gpu.devices() == UUIDS
    see(monkeypatch, visible)
    assert gpu.devices() == found


@pytest.mark.parametrize(
    ("device", "count", "program"),
    [("cpu", 1, True), ("auto", 0, True), ("cuda", 0, True), ("auto", 1, False)],
)
def test_a_job_for_the_cpu_takes_no_device(
    monkeypatch: pytest.MonkeyPatch, device: str, count: int, program: bool
) -> None:
    if not program:
        no_program(monkeypatch)
    with gpu.lease(device, count) as given:
        assert given == "cpu"
        assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_more_devices_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="3 GPUs were asked for, but only 2"), gpu.lease("cuda", 3):
        pass
    no_program(monkeypatch)
    with pytest.raises(UserError, match="device: cuda was given, but no GPU"), gpu.lease("cuda", 1):
        pass


def test_leases_are_of_different_devices_and_end() -> None:
    with gpu.lease("cuda", 1) as given:
        assert given == "cuda"
        first = os.environ["CUDA_VISIBLE_DEVICES"]
        with gpu.lease("cuda", 1):
            assert {first, os.environ["CUDA_VISIBLE_DEVICES"]} == set(UUIDS)
    with gpu.lease("cuda", 2):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-aaaa,GPU-bbbb"


def test_many_processes_never_share_a_device(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    processes = [holder(journal, seconds=0.3) for _ in range(8)]
    processes.append(holder(journal, count=2, seconds=0.3))
    assert [process.wait(timeout=HANGS) for process in processes] == [0] * 9
    spans = []
    for line in journal.read_text().splitlines():
        names, began, ended = line.split()
        spans += [(name, float(began), float(ended)) for name in names.split(",")]
    assert {name for name, *_ in spans} == set(UUIDS)
    assert len(spans) == 10
    for name in UUIDS:
        mine = sorted(span[1:] for span in spans if span[0] == name)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(mine))


def test_a_killed_job_leaves_no_device_taken(tmp_path: Path) -> None:
    process = holder(tmp_path / "journal", count=2, seconds=60)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("holds")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with gpu.lease("cuda", 2) as given:
        assert given == "cuda"


def test_equal_numbers_in_two_jobs_of_a_scheduler_are_two_devices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    no_program(monkeypatch)
    assert gpu.devices() == ()
    with contextlib.ExitStack() as both:
        for job in ("17", "18"):
            monkeypatch.setenv("SLURM_JOB_ID", job)
            see(monkeypatch, "0")
            assert both.enter_context(gpu.lease("cuda", 1)) == "cuda"
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (r"printf 'NVIDIA-SMI has failed, it could not talk to the driver\n'", "has failed"),
        (r"printf '0, GPU-aaaa\n1, GPU-../../x\n'", "GPU-../../x"),
        (r"printf '0, GPU-aaaa, 1\n'", "GPU-aaaa, 1"),
        (r"printf '\377\376\n'", "an index and a UUID"),
        ("exec sleep 60", "timed out"),
        ("", "Exec format error"),  # no program at all
    ],
)
def test_garbage_instead_of_devices_is_shown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answer: str,
    words: str,
) -> None:
    (tmp_path / "bin" / "nvidia-smi").write_text(answer and f"#!/bin/sh\n{answer}\n")
    monkeypatch.setattr(gpu, "SMI_SECONDS", 0.5)
    assert gpu.devices() == ()
    assert words in caplog.text


def test_a_lock_is_the_users_own(tmp_path: Path) -> None:
    with gpu.lease("cuda", 1):
        (lock,) = tmp_path.glob("eosflow-gpu-*.lock")
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    lock.unlink(missing_ok=True)
    lock.mkdir()  # what cannot be locked
    with pytest.raises(UserError, match="Set TMPDIR to a folder"), gpu.lease("cuda", 1):
        pass

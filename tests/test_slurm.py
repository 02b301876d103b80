"""The workflow on a real SLURM cluster of one node, started for these tests: `make test-slurm`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest
from project import HANGS, Project, wait_until

from eosflow.runs.records import RunRecord

PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "squeue", "scancel", "sbatch")
INSTALL = "apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge"
# Steps started by slurmd look for their configuration here and nowhere else.
CONFIGURATION = Path("/etc/slurm")
MARK = "# written by the tests of eosflow\n"
NAMES = ("table2.csv", "table3.csv", "claims.csv")
CHECKPOINT = "*/checkpoint.safetensors"
TABLES = tuple(f"results/demo/{name}" for name in NAMES)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("EOSFLOW_TEST_SLURM" not in os.environ, reason="run by make test-slurm"),
]

SLURM_CONF = """
ClusterName=local
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
MinJobAge=300
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
GresTypes=gpu
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:toy:2 State=UNKNOWN
PartitionName=gpu Nodes=localhost Default=YES MaxTime=INFINITE State=UP
PartitionName=cpu Nodes=localhost MaxTime=INFINITE State=UP
"""
GRES_CONF = """
AutoDetect=off
Name=gpu Type=toy File={folder}/fakegpu[0-1]
"""


def call(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def write_configuration(folder: Path) -> None:
    facts = {
        "folder": folder,
        "cpus": min(2, os.cpu_count() or 1),
        "memory": psutil.virtual_memory().total // 2**20 * 9 // 10,
    }
    for name, text in (("slurm.conf", SLURM_CONF), ("gres.conf", GRES_CONF)):
        path = CONFIGURATION / name
        if path.exists() and not path.read_text().startswith(MARK):
            pytest.fail(f"{path} belongs to a cluster of this machine: it is left alone")
        path.write_text(MARK + text.format(**facts))


def stop(pid_file: Path) -> None:
    if pid_file.exists():
        process = psutil.Process(int(pid_file.read_text()))
        process.terminate()
        process.wait(timeout=HANGS)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """slurmctld and slurmd on this machine, with two devices that look like GPUs."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.fail(f"{', '.join(missing)} not found. Install SLURM first: {INSTALL}")
    if os.geteuid() != 0:
        pytest.fail("a SLURM cluster of one's own can be started by root only")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    # SLURM sets CUDA_VISIBLE_DEVICES for character devices only; these are /dev/null and /dev/zero.
    for index, minor in ((0, "3"), (1, "5")):
        call("mknod", f"{folder}/fakegpu{index}", "c", "1", minor)
    CONFIGURATION.mkdir(exist_ok=True)
    write_configuration(folder)
    own_munge = not Path("/run/munge/munge.socket.2").exists()
    if own_munge:
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge")
        call("runuser", "-u", "munge", "--", shutil.which("munged") or "munged")
    call("slurmctld", "-c")
    call("slurmd", "-N", "localhost")
    try:
        wait_until(lambda: "idle" in call("sinfo", "--noheader", "--format=%T"))
        yield
    finally:
        call("scancel", "--user=root")
        stop(folder / "slurmd.pid")
        stop(folder / "slurmctld.pid")
        if own_munge:
            call("runuser", "-u", "munge", "--", "munged", "--stop")
        for name in ("slurm.conf", "gres.conf"):
            (CONFIGURATION / name).unlink()


SMALL = """
select: [dice-ce]
seeds: {initialization: [0], subset: [0, 1]}
experiments: {dice-ce: {n: [30, 60]}}
"""


class Demo(Project):
    """The demo with two sizes and one initialisation of Dice, so that it takes a minute."""

    configs = ("config/demo.yaml", "small.yaml")

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        (root / "small.yaml").write_text(SMALL)
        old = "CHECKPOINT_SECONDS = 120.0"
        self.edit("eosflow/runs/train.py", old, "CHECKPOINT_SECONDS = 0.5")


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The tables as this machine makes them without a scheduler."""
    project = Demo(tmp_path_factory.mktemp("local") / "tree")
    project.make(*TABLES)
    return project


def same_tables(project: Project, local: Project) -> None:
    ours, theirs = (each.results / "demo" for each in (project, local))
    for name in NAMES:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    frames = [pd.read_parquet(place / "decomposition.parquet") for place in (ours, theirs)]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def jobs_in_queue() -> dict[str, str]:
    """Number -> comment of the running jobs; the comment names rule and wildcards."""
    listing = call("squeue", "--noheader", "--states=RUNNING", "--format=%i|%k")
    return dict(line.split("|", 1) for line in listing.splitlines())


def test_the_demo_through_the_profile(cluster: None, local: Demo, tmp_path: Path) -> None:
    project = Demo(tmp_path / "tree")
    output = project.run("--workflow-profile", "profiles/slurm")
    assert "has been submitted with SLURM jobid" in output
    same_tables(project, local)
    assert (project.results / "demo/report.html").is_file()
    log = project.results / "demo/logs/train/dice-ce/n30/init0-subset0.log"
    # Each job got one of the cluster's devices; what is not a GPU for torch is not used.
    assert "the installed torch cannot use GPU" in log.read_text()
    again = project.run("--workflow-profile", "profiles/slurm")
    assert "Nothing to be done" in again


def test_a_cancelled_job_goes_on_from_its_checkpoint(
    cluster: None, local: Demo, tmp_path: Path
) -> None:
    project = Demo(tmp_path / "tree")
    process = project.start(*TABLES, "--workflow-profile", "profiles/slurm")
    run = "dice-ce/n60/init0-subset1"
    runs = project.results / "demo" / "runs"

    def begun() -> bool:
        records = (RunRecord.readable(path.with_name("run.json")) for path in runs.glob(CHECKPOINT))
        return any(record and str(record.run.folder) == run for record in records)

    wait_until(begun)
    mine = [number for number, about in jobs_in_queue().items() if run.replace("/", "_") in about]
    assert len(mine) == 1, jobs_in_queue()
    call("scancel", mine[0])
    output, _ = process.communicate(timeout=HANGS)
    assert process.returncode == 0, output
    log = (project.results / "demo/logs/train" / f"{run}.log").read_text()
    assert "continues from iteration" in log, log
    same_tables(project, local)

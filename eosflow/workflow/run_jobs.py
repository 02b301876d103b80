"""The jobs that make data and runs; each imports what it needs."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from eosflow.runs.names import measured_folder
from eosflow.storage.locks import alone_in
from eosflow.workflow import gpu, views
from eosflow.workflow.job import Job


def fetch(job: Job) -> None:
    """ARCHIVE: fetch an archive from its official host or a mirror, and verify it."""
    from eosflow.datasets import ARCHIVES, download

    (name,), config = job.words, job.plan.config
    output = job.root / "data" / "archives" / name
    download.fetch(ARCHIVES[name], output, config["mirror"], config["checksums"].get(name))


def subset(job: Job) -> None:
    """DATASET WHICH: draw a subset of a dataset, `subset3`, or examples of its test split."""
    from eosflow.datasets import Resources
    from eosflow.datasets.subsets import write_subset
    from eosflow.workflow.data import Data, seed_of

    dataset, which = job.words
    seed = seed_of(which)
    data = Data(job.plan)
    settings = data.settings(dataset)
    with job.reading(archive.name for archive in settings.facts.archives) as archives:
        resources = Resources(
            archive=archives[-1] if archives else None,
            cache=job.root / "data" / "embeddings",
        )
        size, output = data.size(dataset, seed), Path(data.path(dataset, seed))
        write_subset(dataset, settings, seed, size, resources, output)


def train(job: Job) -> None:
    """EXP/nN/RUN: train a run, or continue it from its checkpoint, and take its measurements."""
    # A cluster ends a job so. As Ctrl-C does, it leaves a checkpoint.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    (folder,) = job.words
    with _run(job, folder) as (home, device):
        from eosflow.runs.train import train

        train(job.plan.run(folder), _subset_of(job, folder), home, device, job.threads)
        views.update(job.plan, folder, trained=True, measured=False)
        _measure(job, folder, home, device)


def measure(job: Job) -> None:
    """EXP/nN/RUN: take all measurements of a run; with VIEW and STEP, one of one snapshot."""
    folder, *one = job.words
    with _run(job, folder) as (home, device):
        _measure(job, folder, home, device, *one)


@contextlib.contextmanager
def _run(job: Job, folder: str) -> Iterator[tuple[Path, str]]:
    """The folder of a run, for this job alone, and the device that torch is to use."""
    home = job.plan.home(folder)
    with alone_in(home), gpu.lease(job.plan.config["device"], job.gpus) as device:
        import torch  # after the lease, which decides what torch sees

        torch.set_num_threads(job.threads)
        yield home, device


def _measure(job: Job, folder: str, home: Path, device: str, *one: str) -> None:
    from eosflow.runs.measure import measure_run, measure_snapshot

    subset = _subset_of(job, folder)
    if one:
        view, step = one
        wanted = job.plan.measurement(folder, view)
        measure_snapshot(home, int(step), subset, wanted, device)
    else:
        measure_run(home, subset, *job.plan.measured_of(folder).values(), device=device)
    whole = not any(map(any, job.plan.damages(folder)))
    views.update(job.plan, folder, trained=True, measured=whole)


def _subset_of(job: Job, folder: str) -> Path:
    from eosflow.workflow.data import Data

    run = job.plan.run(folder)
    return Path(Data(job.plan).path(run.dataset, run.subset_seed))


def discard(job: Job) -> None:
    """EXP/nN/RUN: delete the weight snapshots of a fully measured run."""
    from eosflow.workflow.clean import discard

    (folder,) = job.words
    folders = [measured_folder(each) for each in job.plan.measured_of(folder).values()]
    discard(job.plan.home(folder), folders)
    views.update(job.plan, folder, trained=True, measured=True)

"""Whether this machine can run a configuration: programs, data, disk, memory, GPU."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from eosflow.datasets import ARCHIVES
from eosflow.datasets.mirror import is_url
from eosflow.storage.errors import UserError
from eosflow.studies import STUDIES
from eosflow.workflow import config as configuration
from eosflow.workflow import gpu, resources
from eosflow.workflow.plan import Plan

GOOD, NOTE, BAD = "ok", "note", "missing"
_size = functools.partial(tqdm.format_sizeof, suffix="B")


@dataclass(frozen=True)
class Finding:
    """One thing that was checked: `verdict` is ok, note, or missing, which keeps from running."""

    verdict: str
    about: str
    words: str

    def line(self) -> str:
        """For people."""
        return f"{self.verdict:8}{self.about:13}{self.words}"


def check(plan: Plan) -> Iterator[Finding]:
    """Look at everything that the runs and studies of a configuration need."""
    yield from _packages(plan)
    yield _gpu(plan.config["device"])
    yield from _archives(plan)
    if plan.runs:
        yield _disk(plan)
        yield _memory(plan)


def _packages(plan: Plan) -> Iterator[Finding]:
    """Those that only some configurations need."""
    needed = {"torch": "eosflow", "snakemake": "eosflow[workflow]"}
    needed |= dict.fromkeys(("matplotlib", "statsmodels"), "eosflow[report]")
    for run in plan.runs.values():
        for part in (run.data, run.network, run.optimizer, run.batch, run.snapshots):
            needed |= {name: f"eosflow[{extra}]" for name, extra in part.packages().items()}
    needed.pop("cairocffi", None)  # it is there or not with its C library, see below
    for name, source in needed.items():
        if importlib.util.find_spec(name) is None:
            yield Finding(BAD, name, f"not installed: pip install '{source}'")
        else:
            yield Finding(GOOD, name, importlib.metadata.version(name))
    try:
        import cairocffi

        yield Finding(GOOD, "cairo", cairocffi.cairo_version_string())
    except (ImportError, OSError):  # without the C library the import ends in an OSError
        remedy = "apt install libcairo2, dnf install cairo or brew install cairo"
        yield Finding(
            BAD, "cairo", f"the library, which Table 3 and Dice need, is missing: {remedy}"
        )


def _gpu(device: str) -> Finding:
    gpus = gpu.devices()
    on_cpu = " trains on the CPU" if device == "auto" and not gpus else ""
    verdict = GOOD if gpus else BAD if device == "cuda" else NOTE
    return Finding(verdict, "gpu", f"{len(gpus) or 'none'} found; device: {device}{on_cpu}")


def _archives(plan: Plan) -> Iterator[Finding]:
    """Where the archives come from; nothing is looked up in a network."""
    mirror, folder = plan.config["mirror"], Path(plan.results, "data", "archives")
    of_runs = (archive for run in plan.runs.values() for archive in run.data.facts.archives)
    of_studies = (ARCHIVES[name] for study in plan.studies for name in STUDIES[study].archives)
    for archive in dict.fromkeys((*of_runs, *of_studies)):
        if (folder / archive.name).exists():
            yield Finding(GOOD, "data", f"{archive.name} is available")
        elif mirror is None or is_url(mirror):
            words = f"is to be fetched from {mirror or archive.url}"
            yield Finding(NOTE, "data", f"{archive.name} {words}")
        else:
            there = Path(mirror, archive.name).exists()
            words = f"{'is' if there else 'is not'} in the mirror {mirror}"
            yield Finding(GOOD if there else BAD, "data", f"{archive.name} {words}")


def _disk(plan: Plan) -> Finding:
    """Room for the snapshots of runs that are not there yet, as long as the runs seen so far.

    Where they are deleted, for those of as many runs as are under way at a time: a job for each
    core. Runs without a target loss end at their limit of iterations, and then keep theirs.
    """
    left = [run for f, run in plan.runs.items() if not (plan.home(f) / "manifest.json").exists()]
    counted, which = left, ""
    remedy = "; keep_snapshots=false deletes them after all measurements"
    if not plan.config["keep_snapshots"]:
        which = ", as many as exist at a time, because those of measured runs are deleted"
        remedy = "; use fewer --cores, or run fewer experiments at a time"
        passing = sorted((run for run in left if run.target_loss), key=resources.disk)
        counted = passing[-(os.cpu_count() or 1) :] + [run for run in left if not run.target_loss]
    needed = sum(map(resources.disk, counted))
    results = Path(plan.results).absolute()
    there = next(path for path in (results, *results.parents) if path.exists())
    free = shutil.disk_usage(there).free
    words = (
        f"{_size(needed)} for the snapshots of {len(counted)} of {len(plan.runs)} runs"
        f"{which}, if each takes as long as the longest seen so far; {_size(free)} are free"
    )
    return Finding(GOOD, "disk", words) if needed <= free else Finding(BAD, "disk", words + remedy)


def _memory(plan: Plan) -> Finding:
    needed, folder = max((resources.memory(run), folder) for folder, run in plan.runs.items())
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    words = (
        f"{_size(needed * 1e6)} for one job of the largest run ({folder}); "
        f"{_size(there * 1e6)} are here"
    )
    return Finding(GOOD if needed <= there else BAD, "memory", words)


def plan_of(files: list[Path], values: list[str]) -> Plan:
    """The plan of config.yaml in this folder, with files and `key=value` laid over it.

    Raises: UserError where there is no config.yaml, or a value cannot be used.
    """
    import yaml

    if not Path("config.yaml").exists():
        raise UserError(
            "There is no config.yaml here. Change to the folder of the workflow, which holds it."
        )
    overrides: dict[str, Any] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise UserError(f"--config {value}: write KEY=VALUE, such as mirror=FOLDER.")
        overrides[name] = yaml.safe_load(text)
    return Plan(configuration.load(["config.yaml", *files], overrides))

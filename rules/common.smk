# What the rules share. Only light modules: this is read again at every start, and in every job.
import shlex
import sys

from snakemake.settings.types import DeploymentMethod

from eosflow.datasets import catalog
from eosflow.results import figures
from eosflow.workflow import plan
from eosflow.runs import spec
from eosflow.workflow.plan import plain


wildcard_constraints:
    archive=r"[^/]+",
    dataset="|".join(catalog.CATALOG),
    figure=r"[a-z0-9-]+",
    folder=r"[^/]+/n\d+/[^/]+",
    seed=r"\d+",
    step=r"\d{6}\d*",


PLAN = plain(plan.Plan)(config)
config = PLAN.config
RESULTS = PLAN.results
RUNS = PLAN.runs

# A conda environment brings its own Python; otherwise jobs run in the one Snakemake runs in.
PYTHON = sys.executable
if workflow.deployment_settings is not None:
    if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
        PYTHON = "python"

# Numerics on the CPU allocate large arrays all the time. By default the C library of Linux gives
# each back to the kernel and gets zeroed pages anew, which costs more than the arithmetic of a
# narrow network; these settings make it keep them. Other systems ignore them.
KEEP_MEMORY = (
    "export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 "
    "MALLOC_MMAP_THRESHOLD_=100000000000 && "
)


def program(script, *options):
    """Start of a command; the package is imported from this tree also where it is not installed."""
    python = f"PYTHONPATH={shlex.quote(str(workflow.basedir))} {shlex.quote(PYTHON)}"
    return " ".join([python, f"scripts/{script}", *options, ""])


def numeric(script):
    """Start of the command of a job that may use a GPU."""
    return KEEP_MEMORY + program(script, "--device", config["device"])


def gpus(wildcards):
    return PLAN.gpus(local=workflow.local_exec)


# What is there may be of another specification, of another version, or damaged. Snakemake compares
# only with what it noted down in this very clone, so these input functions look at the files
# themselves and have Snakemake make them again. Each job asks one of them, not two: with hundreds
# of runs the calls are what planning spends its time on.
def force(path):
    if workflow.is_main_process:
        workflow.dag.forcefiles.add(path)


def look_at_subset(wildcards):
    if PLAN.redraw(wildcards.dataset, wildcards.seed):
        force(f"{RESULTS}/data/subsets/{wildcards.dataset}-subset{wildcards.seed}.npz")
    return []


@plain
def before_training(wildcards):
    if PLAN.remake_reason(wildcards.folder):
        force(f"{RESULTS}/{wildcards.folder}/manifest.json")
    return PLAN.subset_to_draw(wildcards.folder, "manifest.json")


@plain
def before_decomposition(wildcards):
    if PLAN.redecompose_reason(wildcards.folder):
        force(f"{RESULTS}/{wildcards.folder}/decomposition/index.json")
    return PLAN.subset_to_draw(wildcards.folder, "decomposition/index.json")


def look_at_tables(wildcards):
    if PLAN.collected_others():
        force(f"{RESULTS}/provenance/collect.json")
    return []


if workflow.is_main_process:
    for line in plain(PLAN.notes)():
        print(line, file=sys.stderr)


onstart:
    if workflow.is_main_process:
        plain(PLAN.lock)()
        note = plain(PLAN.device_note)() if workflow.local_exec else None
        if note:
            print(note, file=sys.stderr)

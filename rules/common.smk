# What the rules share. Only light modules: this is read again at every start, and in every job.
import os
import shlex
import sys

from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod, Quietness

from eosflow import results, runs
from eosflow.datasets.base import SUBSET_VERSION
from eosflow.results import figures
from eosflow.runs.names import index_key
from eosflow.runs.spec import TRAINING_VERSION
from eosflow.studies import JUDGED, OF_RUNS, STUDIES
from eosflow.storage import settings
from eosflow.storage.damage import CLEANED
from eosflow.storage.digests import canonical_json, digest
from eosflow.workflow import command_line, notes, places, plan, resources as needs
from eosflow.workflow.begin import begin
from eosflow.workflow.products import PAPER

# The tree that holds this file; `workflow.basedir` is another where it is used as a module.
ROOT = os.path.dirname(str(workflow.current_basedir.get_path_or_uri(secret_free=True)))

plain = command_line.plain
plain(places.check_tree)(ROOT)
PLAN = plain(plan.Plan)(config)
config = PLAN.config
RESULTS = PLAN.results
RUNS = PLAN.runs
# Those that tables, figures and report are made of; the others are of studies.
SELECTED = PLAN.selected
# The notes of what was deleted, where the configuration has the snapshots of all runs deleted.
DISCARDED = [f"{RESULTS}/{note}" for note in PLAN.jobs.discarded(RUNS)]
# All their measurements except the decomposition, of which the tables are made.
MEASURED = [name for name in PLAN.measurements if name != "decomposition"]


wildcard_constraints:
    archive=r"[^/]+",
    dataset=r"[^/]+?",
    figure=r"[a-z0-9-]+",
    folder=r"[^/]+/n\d+/[^/]+",
    measurement=r"[a-z0-9-]+",
    place=r"decomposition|measurements/[a-z0-9-]+",
    seed=r"\d+",
    step=r"\d{6}\d*",


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


# Snakemake formats every command once more, with these variables at hand, so that nothing a user
# wrote may be part of the text of a command: it is named in braces, with `:q`.
def program(script, *options):
    """Start of a command; the package is imported from this tree also where it is not installed."""
    path = shlex.quote(os.path.join(ROOT, "scripts", script))
    start = f"PYTHONPATH={shlex.quote(ROOT)} {shlex.quote(PYTHON)} {path}"
    # These two are no user's, but must come through the formatting as they are.
    start = start.replace("{", "{{").replace("}", "}}")
    return " ".join([start, *options, ""])


def numeric(script):
    """Start of the command of a job that may use a GPU."""
    device = config["device"]  # one of three words
    return KEEP_MEMORY + program(script, "--device", device)


def gpus(wildcards):
    return plain(needs.gpus)(config["device"], local=workflow.local_exec)


def memory(wildcards, attempt):
    return attempt * needs.memory(PLAN.run(wildcards.folder))


def archives(wildcards):
    """The options that tell the job of a subset of its archives."""
    return " ".join(
        f"--archive {shlex.quote(path)} {PLAN.data.checksum(os.path.basename(path))}".strip()
        for path in PLAN.data.archives(wildcards.dataset)
    )


# With several measurements beside the decomposition, as studies have, one job takes them all: most
# take less than a job takes to start. There is a rule for each such combination.
TOGETHER = PLAN.jobs.together()


def job_of(names):
    """The name of the rule that takes these measurements together."""
    return "_".join(["measure", *names]).replace("-", "_")


# What a profile sets for `measure` is meant for them too. Snakemake reads it at the first rule.
OF_PROFILE = workflow.resource_settings
for chosen in (OF_PROFILE.overwrite_resources, OF_PROFILE.overwrite_threads):
    if "measure" in chosen:
        for each in map(job_of, TOGETHER):
            chosen.setdefault(each, chosen["measure"])


# Tables, figures and report refuse sources that another Snakemake has made of other runs meanwhile.
MADE_OF = ["--made-of", PLAN.specifications[PAPER]]
MADE_OF_ANY = ["--made-of", *PLAN.specifications.values()]  # also those of the studies


if workflow.is_main_process:
    plain(PLAN.settle)()
    for line in plain(notes.notes)(PLAN):
        print(line, file=sys.stderr)


onstart:
    if workflow.is_main_process:
        quiet = Quietness.ALL in (workflow.output_settings.quiet or ())
        begin(PLAN, workflow.local_exec, quiet)


# Snakemake says of a misspelt target only that no rule makes it; the targets are not known here.
def targets():
    made = [str(path) for rule in workflow.rules for path in rule.output]
    runs = [f"{RESULTS}/{folder}/manifest.json" for folder in RUNS]
    figures = expand(rules.figure.output, figure=PLAN.figures)
    return [path for path in made if "{" not in path] + figures + runs


logger.addHandler(places.NearTargets(RESULTS, targets))

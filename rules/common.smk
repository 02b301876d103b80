# What the rules share. Only light modules: this is read again at every start, and in every job.
import os
import re
import shlex
import sys

import snakemake.dag
import snakemake.io
import snakemake.workflow
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod, Quietness

from eosflow.workflow import again, inputs, places, resources as needs
from eosflow.workflow.begin import begin
from eosflow.workflow.command_line import exit_on_user_error
from eosflow.workflow.plan import Plan

# The tree that holds this file; `workflow.basedir` is another where it is used as a module.
ROOT = os.path.dirname(str(workflow.current_basedir.get_path_or_uri(secret_free=True)))

PLAN = exit_on_user_error(Plan)(config)
config = PLAN.config
RESULTS = PLAN.results
STATE = (
    exit_on_user_error(again.look)(PLAN) if workflow.is_main_process else again.State()
)
ASK = inputs.Inputs(PLAN, STATE)


# Names say of what a file is made, so its time says nothing. Snakemake 9.27 compares times whatever
# the rerun-triggers are, and stops where a clock is ahead; it has no setting for either.
async def never(*_):
    return False


class ByName(snakemake.dag.DAG):
    """Makes what is missing and what STATE names, and what depends on that."""

    async def init(self, *arguments, **keywords):
        self.forcefiles.update(STATE.forced)  # `--forcerun` would make targets of them
        await super().init(*arguments, **keywords)

    async def check_output_mtime(self, *_):
        pass


snakemake.io._IOFile.is_newer = never
snakemake.workflow.DAG = ByName


FOLDER, NONE = r"[^/]+/n\d+/[^/]+", "(?!)"
TRAINED = "|".join(map(re.escape, sorted(STATE.trained)))


wildcard_constraints:
    archive="|".join(map(re.escape, ASK.archives)),
    dataset=r"[^/]+?",
    figure=r"[a-z0-9-]+",
    folder=FOLDER,
    measurement=r"(?!decomposition\b)[a-z0-9-]+",
    view=r"decomposition|measurements/[a-z0-9-]+",
    step=r"\d{6}\d*",
    which=r"subset\d+|held-out",


# A conda environment brings its own Python; otherwise jobs run in the one Snakemake runs in.
PYTHON = sys.executable
if workflow.deployment_settings is not None:
    if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
        PYTHON = "python"


def text(*words):
    """Words of a command as they are, through the shell and Snakemake's formatting."""
    return shlex.join(words).replace("{", "{{").replace("}", "}}")


# Numerics on the CPU allocate large arrays all the time. By default the C library of Linux gives
# each back to the kernel and gets zeroed pages anew, which costs more than the arithmetic of a
# narrow network; these settings make it keep them. Other systems ignore them.
KEEP_MEMORY = (
    "MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 "
    "MALLOC_MMAP_THRESHOLD_=100000000000 "
)


def job(name, words=""):
    """The command of a job; the words are wildcards in braces, which Snakemake fills in."""
    start = text(PYTHON, os.path.join(ROOT, "scripts", "job.py"), name, PLAN.file)
    return f"{start} {words} >> {{log:q}} 2>&1"


def numeric(name, words):
    """The command of a job that takes a GPU and several threads."""
    held = "--gpus {resources.gpu} --threads {threads}"
    return KEEP_MEMORY + job(name, f"{words} {held}")


def gpus(wildcards):
    return exit_on_user_error(needs.gpus)(config["device"], local=workflow.local_exec)


def memory(wildcards, attempt):
    return attempt * needs.memory(PLAN.run(wildcards.folder))


def minutes(wildcards, attempt):
    folder, train = wildcards.folder, wildcards.folder not in STATE.trained
    run, count = PLAN.run(folder), len(PLAN.measured_of(folder))
    return attempt * needs.minutes(run, config, count, train)


if workflow.is_main_process:
    for line in STATE.lines:
        print(line, file=sys.stderr)


onstart:
    if workflow.is_main_process:
        quiet = Quietness.ALL in (workflow.output_settings.quiet or ())
        begin(PLAN, quiet)


# Snakemake says of a misspelt target only that no rule makes it; the targets are not known here.
def targets():
    made = [str(path) for rule in workflow.rules for path in rule.output]
    runs = [f"{RESULTS}/{folder}/manifest.json" for folder in PLAN.runs]
    drawn = expand(rules.figure.output, figure=PLAN.figures)
    return [path for path in made if "{" not in path] + drawn + runs


logger.addHandler(places.NearTargets(RESULTS, targets))

# From raw data to every table and figure. What it does, and where to change it: docs/workflow.md.
import gc

from snakemake.utils import min_version

min_version("9.27.1")
# Planning makes millions of small objects that stay; looking for garbage among them takes longer
# than some of the planning.
gc.set_threshold(200_000, 20, 100)


configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/datasets.smk"
include: "rules/runs.smk"
include: "rules/results.smk"


# Each by name, not the report alone: what is missing is then made again even if the report, which
# comes last, is there.
rule all:
    default_target: True
    input:
        ASK.everything,


localrules:
    all,
    studies,
    fetch,
    discard,
    collect,
    tables,
    study_claims,
    figure,
    report,

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
include: "rules/training.smk"
include: "rules/measuring.smk"
include: "rules/tables.smk"
include: "rules/studies.smk"
include: "rules/figures.smk"
include: "rules/report.smk"


# Each by name, not the manifest alone: what is missing is then made again even if the manifest,
# which comes last, is there. Without selected experiments it is the studies alone.
rule all:
    default_target: True
    input:
        f"{RESULTS}/manifest.json",
        STUDIED,
        DISCARDED,
        branch(
            bool(SELECTED),
            then=[
                *rules.collect.output,
                *rules.table1.output,
                *rules.table2.output,
                *rules.alignment.output,
                *rules.table3.output,
                *rules.claims.output,
            ],
        ),
        expand(rules.figure.output, figure=PLAN.figures),
        expand(rules.collect_measurement.output, measurement=MEASURED),
        branch(bool(SELECTED), then=rules.report.output, otherwise=STUDIES_PAGE),


localrules:
    all,
    studies,
    fetch,
    discard,
    collect,
    collect_measurement,
    table1,
    table2,
    table3,
    claims,
    figure,
    report,
    studies_page,
    manifest,

OF_SELECTED = [
    rules.collect.output.record,
    rules.table1.output.record,
    rules.table2.output.record,
    rules.alignment.output.record,
    rules.table3.output.record,
    rules.claims.output.record,
]
SUMMARIES = [
    *(OF_SELECTED if SELECTED else []),
    *STUDY_RECORDS,
    *(
        f"{RESULTS}/provenance/figures/{name}.json"
        for name in PLAN.figures
        if name not in PLAN.study_figures
    ),
    *(f"{RESULTS}/provenance/measurements/{name}.json" for name in MEASURED),
]


rule report:
    input:
        records=SUMMARIES,
        others=lambda _: PLAN.summaries.before("report.html"),
    output:
        html=report(f"{RESULTS}/report.html", category="The whole on one page"),
        record=f"{RESULTS}/provenance/report.json",
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.tsv"
    conda:
        "../envs/eosflow.yaml"
    params:
        version=results.TABLES_VERSION,
        results=subpath(output.html, parent=True),
    shell:
        program("report.py", *MADE_OF_ANY)
        + "--results {params.results:q} --sources {input.records:q} "
        "--output {output.html:q} --record {output.record:q} >> {log:q} 2>&1"


rule manifest:
    input:
        SUMMARIES,
        rules.report.output.record if SELECTED else STUDIES_PAGE[1:],
        DISCARDED,
        others=lambda _: PLAN.summaries.before("manifest.json"),
    output:
        f"{RESULTS}/manifest.json",
    log:
        f"{RESULTS}/logs/manifest.log",
    benchmark:
        f"{RESULTS}/benchmarks/manifest.tsv"
    conda:
        "../envs/eosflow.yaml"
    params:
        results=subpath(output[0], parent=True),
        folders=" ".join(map(shlex.quote, RUNS)),
    shell:
        program("manifest.py")
        + "--results {params.results:q} --runs {params.folders} "
        "--output {output:q} >> {log:q} 2>&1"

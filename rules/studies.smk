# These studies have problems of their own, so nothing of the configuration enters.
rule study:
    output:
        csv=f"{RESULTS}/studies/{{study}}/table.csv",
        record=f"{RESULTS}/provenance/studies/{{study}}/table.json",
    log:
        f"{RESULTS}/logs/studies/{{study}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/studies/{{study}}.tsv"
    wildcard_constraints:
        study="|".join(sorted(set(STUDIES) - set(OF_RUNS))),
    conda:
        "../envs/eosflow.yaml"
    threads: 1
    params:
        version=lambda wildcards: STUDIES[wildcards.study].version,
    shell:
        KEEP_MEMORY + program("study.py") + "{wildcards.study} --threads {threads} "
        "--output {output.csv:q} --record {output.record:q} >> {log:q} 2>&1"


# And these are made of runs, of the experiments that name them.
rule study_of_runs:
    input:
        plain(lambda wildcards: PLAN.summaries.before_study(wildcards.study)),
    output:
        csv=f"{RESULTS}/studies/{{study}}/table.csv",
        record=f"{RESULTS}/provenance/studies/{{study}}/table.json",
    log:
        f"{RESULTS}/logs/studies/{{study}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/studies/{{study}}/table.tsv"
    wildcard_constraints:
        study="|".join(OF_RUNS),
    conda:
        "../envs/eosflow.yaml"
    params:
        version=lambda wildcards: STUDIES[wildcards.study].version,
        results=subpath(output.csv, ancestor=3),
        runs=lambda wildcards: PLAN.summaries.study_options(wildcards.study),
        made_of=lambda wildcards: PLAN.specifications[wildcards.study],
    shell:
        program("study_of_runs.py")
        + "{wildcards.study} --results {params.results:q} {params.runs} "
        "--output {output.csv:q} --record {output.record:q} >> {log:q} 2>&1"


# The verdicts on what the study's source says, from its table.
rule study_claims:
    input:
        csv=f"{RESULTS}/studies/{{study}}/table.csv",
        record=f"{RESULTS}/provenance/studies/{{study}}/table.json",
        others=lambda wildcards: PLAN.summaries.before(
            f"studies/{wildcards.study}/claims.csv"
        ),
    output:
        csv=f"{RESULTS}/studies/{{study}}/claims.csv",
        record=f"{RESULTS}/provenance/studies/{{study}}/claims.json",
    log:
        f"{RESULTS}/logs/studies/{{study}}-claims.log",
    benchmark:
        f"{RESULTS}/benchmarks/studies/{{study}}/claims.tsv"
    wildcard_constraints:
        study="|".join(JUDGED),
    conda:
        "../envs/eosflow.yaml"
    params:
        version=results.TABLES_VERSION,
    shell:
        program("study_claims.py", "{wildcards.study}", *MADE_OF_ANY)
        + "--table {input.csv:q} "
        "--source-record {input.record:q} --output {output.csv:q} --record {output.record:q} "
        ">> {log:q} 2>&1"


# The studies of the configuration: tables, verdicts, figures.
STUDIED = [
    *(f"{RESULTS}/{STUDIES[name].data}" for name in PLAN.studies),
    *(f"{RESULTS}/{STUDIES[name].record}" for name in PLAN.studies),
    *expand(rules.study_claims.output, study=PLAN.judged),
    *(
        f"{RESULTS}/figures/{name}.{end}"
        for name in PLAN.study_figures
        for end in ("pdf", "png")
    ),
]


STUDY_RECORDS = [
    *(f"{RESULTS}/{STUDIES[name].record}" for name in PLAN.study_runs),
    *(f"{RESULTS}/provenance/studies/{name}/claims.json" for name in PLAN.judged),
    *(f"{RESULTS}/provenance/figures/{name}.json" for name in PLAN.study_figures),
]


# The studies on a page of their own; the report has them beside the experiments.
rule studies_page:
    input:
        records=STUDY_RECORDS,
        others=lambda _: PLAN.summaries.before("studies.html"),
    output:
        html=report(f"{RESULTS}/studies.html", category="The studies on one page"),
        record=f"{RESULTS}/provenance/studies.json",
    log:
        f"{RESULTS}/logs/studies-page.log",
    benchmark:
        f"{RESULTS}/benchmarks/studies.tsv"
    conda:
        "../envs/eosflow.yaml"
    params:
        version=results.TABLES_VERSION,
        results=subpath(output.html, parent=True),
        studies=" ".join(PLAN.studies),
        runs=canonical_json(PLAN.study_runs),
    shell:
        program("studies_page.py", *MADE_OF_ANY)
        + "--results {params.results:q} --studies {params.studies} --runs {params.runs:q} "
        "--sources {input.records:q} --output {output.html:q} --record {output.record:q} "
        ">> {log:q} 2>&1"


STUDIES_PAGE = list(rules.studies_page.output) if STUDY_RECORDS else []


rule studies:
    input:
        STUDIED,
        STUDIES_PAGE,
        *(
            f"{RESULTS}/{note}"
            for folders in PLAN.study_runs.values()
            for note in PLAN.jobs.discarded(folders)
        ),

rule collect:
    input:
        [f"{RESULTS}/{folder}/decomposition/index.json" for folder in SELECTED],
        others=lambda _: PLAN.summaries.before("decomposition.parquet"),
    output:
        decomposition=f"{RESULTS}/decomposition.parquet",
        runs=f"{RESULTS}/runs.parquet",
        record=f"{RESULTS}/provenance/collect.json",
    log:
        f"{RESULTS}/logs/collect.log",
    benchmark:
        f"{RESULTS}/benchmarks/collect.tsv"
    conda:
        "../envs/eosflow.yaml"
    params:
        runs=digest({folder: RUNS[folder].key for folder in SELECTED}),
        version=results.TABLES_VERSION,
        results=subpath(output.runs, parent=True),
        folders=" ".join(map(shlex.quote, SELECTED)),
    shell:
        program("collect.py") + "--results {params.results:q} --runs {params.folders} "
        "--decomposition {output.decomposition:q} --table {output.runs:q} "
        "--record {output.record:q} >> {log:q} 2>&1"


rule table1:
    input:
        runs=rules.collect.output.runs,
        record=rules.collect.output.record,
        others=lambda _: PLAN.summaries.before("table1.csv"),
    output:
        csv=report(
            f"{RESULTS}/table1.csv",
            caption="captions/table.rst",
            category="Tables",
            labels={"table": "table1"},
        ),
        latex=f"{RESULTS}/table1.tex",
        record=f"{RESULTS}/provenance/table1.json",
    log:
        f"{RESULTS}/logs/table1.log",
    benchmark:
        f"{RESULTS}/benchmarks/table1.tsv"
    conda:
        "../envs/eosflow.yaml"
    params:
        version=results.TABLES_VERSION,
    shell:
        program("table.py", *MADE_OF)
        + "table1 --runs {input.runs:q} --source-record {input.record:q} "
        "--csv {output.csv:q} --latex {output.latex:q} --record {output.record:q} >> {log:q} 2>&1"


rule table2:
    input:
        decomposition=rules.collect.output.decomposition,
        runs=rules.collect.output.runs,
        record=rules.collect.output.record,
        others=lambda _: PLAN.summaries.before("table2.csv"),
    output:
        csv=report(
            f"{RESULTS}/table2.csv",
            caption="captions/table.rst",
            category="Tables",
            labels={"table": "table2"},
        ),
        latex=f"{RESULTS}/table2.tex",
        record=f"{RESULTS}/provenance/table2.json",
    log:
        f"{RESULTS}/logs/table2.log",
    benchmark:
        f"{RESULTS}/benchmarks/table2.tsv"
    conda:
        "../envs/eosflow.yaml"
    params:
        version=results.TABLES_VERSION,
    shell:
        program("table.py", *MADE_OF)
        + "table2 --decomposition {input.decomposition:q} "
        "--runs {input.runs:q} --source-record {input.record:q} --csv {output.csv:q} "
        "--latex {output.latex:q} --record {output.record:q} >> {log:q} 2>&1"


rule alignment:
    input:
        decomposition=rules.collect.output.decomposition,
        runs=rules.collect.output.runs,
        record=rules.collect.output.record,
        others=lambda _: PLAN.summaries.before("alignment.csv"),
    output:
        csv=report(
            f"{RESULTS}/alignment.csv",
            caption="captions/table.rst",
            category="Tables",
            labels={"table": "alignment"},
        ),
        latex=f"{RESULTS}/alignment.tex",
        record=f"{RESULTS}/provenance/alignment.json",
    log:
        f"{RESULTS}/logs/alignment.log",
    benchmark:
        f"{RESULTS}/benchmarks/alignment.tsv"
    conda:
        "../envs/eosflow.yaml"
    params:
        version=results.TABLES_VERSION,
    shell:
        program("table.py", *MADE_OF)
        + "alignment --decomposition {input.decomposition:q} "
        "--runs {input.runs:q} --source-record {input.record:q} --csv {output.csv:q} "
        "--latex {output.latex:q} --record {output.record:q} >> {log:q} 2>&1"


rule table3:
    input:
        parameters=rules.dice_parameters.output.parquet,
        record=rules.dice_parameters.output.record,
        others=lambda _: PLAN.summaries.before("table3.csv"),
    output:
        csv=report(
            f"{RESULTS}/table3.csv",
            caption="captions/table.rst",
            category="Tables",
            labels={"table": "table3"},
        ),
        latex=f"{RESULTS}/table3.tex",
        record=f"{RESULTS}/provenance/table3.json",
    log:
        f"{RESULTS}/logs/table3.log",
    benchmark:
        f"{RESULTS}/benchmarks/table3.tsv"
    conda:
        "../envs/eosflow.yaml"
    params:
        version=results.TABLES_VERSION,
    shell:
        program("table.py") + "table3 --parameters {input.parameters:q} "
        "--source-record {input.record:q} --csv {output.csv:q} --latex {output.latex:q} "
        "--record {output.record:q} >> {log:q} 2>&1"


rule claims:
    input:
        decomposition=rules.collect.output.decomposition,
        runs=rules.collect.output.runs,
        record=rules.collect.output.record,
        others=lambda _: PLAN.summaries.before("claims.csv"),
    output:
        csv=report(
            f"{RESULTS}/claims.csv",
            caption="captions/table.rst",
            category="Tables",
            labels={"table": "claims"},
        ),
        record=f"{RESULTS}/provenance/claims.json",
    log:
        f"{RESULTS}/logs/claims.log",
    benchmark:
        f"{RESULTS}/benchmarks/claims.tsv"
    conda:
        "../envs/eosflow.yaml"
    params:
        version=results.TABLES_VERSION,
    shell:
        program("table.py", *MADE_OF)
        + "claims --decomposition {input.decomposition:q} "
        "--runs {input.runs:q} --source-record {input.record:q} --csv {output.csv:q} "
        "--record {output.record:q} >> {log:q} 2>&1"


# The frame of a measurement beyond the decomposition: one row per snapshot of every run.
rule collect_measurement:
    input:
        lambda wildcards: [
            f"{RESULTS}/{folder}/measurements/{wildcards.measurement}/index.json"
            for folder in SELECTED
        ],
        others=lambda wildcards: PLAN.summaries.before(
            f"measurements/{wildcards.measurement}.parquet"
        ),
    output:
        parquet=f"{RESULTS}/measurements/{{measurement}}.parquet",
        record=f"{RESULTS}/provenance/measurements/{{measurement}}.json",
    log:
        f"{RESULTS}/logs/measurements/{{measurement}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measurements/{{measurement}}.tsv"
    conda:
        "../envs/eosflow.yaml"
    params:
        runs=digest({folder: RUNS[folder].key for folder in SELECTED}),
        version=results.TABLES_VERSION,
        results=subpath(output.parquet, ancestor=2),
        folders=" ".join(map(shlex.quote, SELECTED)),
    shell:
        program("collect_measurement.py")
        + "{wildcards.measurement} --results {params.results:q} --runs {params.folders} "
        "--output {output.parquet:q} --record {output.record:q} >> {log:q} 2>&1"

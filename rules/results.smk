MEASURED = [f"{RESULTS}/{folder}/measured.json" for folder in PLAN.selected]


# The frame of a measurement beyond the decomposition: one row per snapshot of every run.
rule collect:
    input:
        MEASURED,
    output:
        parquet=f"{RESULTS}/measurements/{{measurement}}.parquet",
        record=f"{RESULTS}/provenance/measurements/{{measurement}}.json",
    log:
        f"{RESULTS}/logs/measurements/{{measurement}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measurements/{{measurement}}.tsv"
    conda:
        "../envs/eosflow.yaml"
    shell:
        job("collect", "{wildcards.measurement}")


# The frames of all runs and their snapshots, and what is made of them.
rule tables:
    input:
        MEASURED,
    output:
        frames=[f"{RESULTS}/decomposition.parquet", f"{RESULTS}/runs.parquet"],
        csv=report(
            expand(f"{RESULTS}/{{table}}.csv", table=ASK.tables),
            caption="captions/table.rst",
            category="Tables",
        ),
        record=f"{RESULTS}/provenance/tables.json",
    log:
        f"{RESULTS}/logs/tables.log",
    benchmark:
        f"{RESULTS}/benchmarks/tables.tsv"
    conda:
        "../envs/eosflow.yaml"
    shell:
        job("tables")


# Of a fixed problem, so that nothing of the configuration enters, or of runs.
rule study:
    input:
        exit_on_user_error(lambda wildcards: ASK.before_study(wildcards.study)),
    output:
        csv=f"{RESULTS}/studies/{{study}}/table.csv",
        record=f"{RESULTS}/provenance/studies/{{study}}/table.json",
    log:
        f"{RESULTS}/logs/studies/{{study}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/studies/{{study}}.tsv"
    wildcard_constraints:
        study="|".join(ASK.every_study),
    priority: 1  # some take as long as many runs: they go first
    conda:
        "../envs/eosflow.yaml"
    threads: 1
    shell:
        KEEP_MEMORY + job("study", "{wildcards.study} --threads {threads}")


# The verdicts on what the study's source says, from its table.
rule study_claims:
    input:
        rules.study.output,
    output:
        csv=f"{RESULTS}/studies/{{study}}/claims.csv",
        record=f"{RESULTS}/provenance/studies/{{study}}/claims.json",
    log:
        f"{RESULTS}/logs/studies/{{study}}-claims.log",
    benchmark:
        f"{RESULTS}/benchmarks/studies/{{study}}/claims.tsv"
    wildcard_constraints:
        study="|".join(ASK.judged),
    conda:
        "../envs/eosflow.yaml"
    shell:
        job("study_claims", "{wildcards.study}")


# One figure by its name.
rule figure:
    input:
        exit_on_user_error(lambda wildcards: ASK.before_figures(wildcards.figure)),
    output:
        pdf=f"{RESULTS}/figures/{{figure}}.pdf",
        png=f"{RESULTS}/figures/{{figure}}.png",
        record=f"{RESULTS}/provenance/figures/{{figure}}.json",
    log:
        f"{RESULTS}/logs/figures/{{figure}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/{{figure}}.tsv"
    conda:
        "../envs/eosflow.yaml"
    shell:
        job("figure", "{wildcards.figure}")


# With all figures, in one process: its libraries take longer to load than most figures to draw.
rule report:
    input:
        exit_on_user_error(lambda _: ASK.before_report()),
    output:
        html=report(f"{RESULTS}/report.html", category="The whole on one page"),
        record=f"{RESULTS}/provenance/report.json",
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.tsv"
    conda:
        "../envs/eosflow.yaml"
    threads: 4
    shell:
        job("report", "--threads {threads}")


# Alone: `snakemake studies --configfile config/studies-demo.yaml`
rule studies:
    input:
        ASK.of_studies,

rule fetch:
    output:
        f"{RESULTS}/data/archives/{{archive}}",
    log:
        f"{RESULTS}/logs/fetch/{{archive}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fetch/{{archive}}.tsv"
    retries: 2
    conda:
        "../envs/eosflow.yaml"
    shell:
        job("fetch", "{wildcards.archive:q}")


# The rows that runs of a dataset read, or examples of the test split for measurements.
rule subset:
    input:
        exit_on_user_error(
            lambda wildcards: ASK.before_drawing(wildcards.dataset, wildcards.which)
        ),
    output:
        npz=f"{RESULTS}/data/subsets/{{dataset}}-{{which}}.npz",
        facts=f"{RESULTS}/data/subsets/{{dataset}}-{{which}}.json",
    log:
        f"{RESULTS}/logs/subset/{{dataset}}-{{which}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/subset/{{dataset}}-{{which}}.tsv"
    conda:
        "../envs/eosflow.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: attempt * ASK.data.memory(wildcards.dataset),
        runtime=lambda wildcards, attempt: attempt * 60,
    shell:
        job("subset", "{wildcards.dataset:q} {wildcards.which}")


rule dice_parameters:
    output:
        parquet=f"{RESULTS}/data/dice-parameters.parquet",
        table=report(
            f"{RESULTS}/table3.csv", caption="captions/table.rst", category="Tables"
        ),
        record=f"{RESULTS}/provenance/dice-parameters.json",
    log:
        f"{RESULTS}/logs/dice-parameters.log",
    benchmark:
        f"{RESULTS}/benchmarks/dice-parameters.tsv"
    conda:
        "../envs/eosflow.yaml"
    shell:
        job("dice_parameters")

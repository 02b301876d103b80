# The mirror is not among the params: an archive is the same wherever it comes from.
MIRROR = ["--mirror={config[mirror]:q}"] if config["mirror"] else []


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
    params:
        archive=plain(lambda wildcards: PLAN.data.archive(wildcards.archive)),
        checksum=lambda wildcards: PLAN.data.checksum(wildcards.archive),
    shell:
        program("fetch.py", *MIRROR)
        + "--archive-name {params.archive:q} {params.checksum} "
        "--output {output:q} >> {log:q} 2>&1"


rule subset:
    input:
        plain(
            lambda wildcards: PLAN.data.before_drawing(
                wildcards.dataset, int(wildcards.seed)
            )
        ),
    output:
        npz=f"{RESULTS}/data/subsets/{{dataset}}-subset{{seed}}.npz",
        facts=f"{RESULTS}/data/subsets/{{dataset}}-subset{{seed}}.json",
    log:
        f"{RESULTS}/logs/subset/{{dataset}}-subset{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/subset/{{dataset}}-subset{{seed}}.tsv"
    conda:
        "../envs/eosflow.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: attempt * PLAN.data.memory(wildcards.dataset),
        runtime=lambda wildcards, attempt: attempt * 60,
    params:
        settings=lambda wildcards: canonical_json(PLAN.data.record(wildcards.dataset)),
        size=plain(lambda wildcards: PLAN.data.size(wildcards.dataset)),
        version=SUBSET_VERSION,
        archive=archives,
    shell:
        program("subset.py")
        + "--dataset {wildcards.dataset:q} --settings {params.settings:q} "
        "--seed {wildcards.seed} --size {params.size} {params.archive} --device cpu "
        "--output {output.npz:q} >> {log:q} 2>&1"


# Examples of the test split, for the measurements that want some.
rule held_out:
    input:
        plain(lambda wildcards: PLAN.data.before_drawing(wildcards.dataset, None)),
    output:
        npz=f"{RESULTS}/data/subsets/{{dataset}}-held-out.npz",
        facts=f"{RESULTS}/data/subsets/{{dataset}}-held-out.json",
    log:
        f"{RESULTS}/logs/subset/{{dataset}}-held-out.log",
    benchmark:
        f"{RESULTS}/benchmarks/subset/{{dataset}}-held-out.tsv"
    conda:
        "../envs/eosflow.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: attempt * PLAN.data.memory(wildcards.dataset),
        runtime=lambda wildcards, attempt: attempt * 60,
    params:
        settings=lambda wildcards: canonical_json(PLAN.data.record(wildcards.dataset)),
        size=plain(lambda wildcards: PLAN.data.size(wildcards.dataset, None)),
        version=SUBSET_VERSION,
        archive=archives,
    shell:
        program("subset.py")
        + "--dataset {wildcards.dataset:q} --settings {params.settings:q} "
        "--size {params.size} {params.archive} --device cpu "
        "--output {output.npz:q} >> {log:q} 2>&1"


rule dice_parameters:
    output:
        parquet=f"{RESULTS}/data/dice-parameters.parquet",
        record=f"{RESULTS}/provenance/dice-parameters.json",
    log:
        f"{RESULTS}/logs/dice-parameters.log",
    benchmark:
        f"{RESULTS}/benchmarks/dice-parameters.tsv"
    conda:
        "../envs/eosflow.yaml"
    params:
        settings=lambda _: canonical_json(config["datasets"]["dice"]),
        version=SUBSET_VERSION,
    shell:
        program("dice_parameters.py") + "--settings {params.settings:q} "
        "--output {output.parquet:q} --record {output.record:q} >> {log:q} 2>&1"

# Where an archive comes from is no parameter of the rule: it is the same archive from anywhere.
MIRROR = ["--mirror", shlex.quote(config["mirror"])] if config["mirror"] else []


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
        dataset=plain(lambda wildcards: PLAN.dataset_of(wildcards.archive)),
        checksum=lambda wildcards: PLAN.checksum(wildcards.archive),
    shell:
        program("fetch.py", *MIRROR) + "--dataset {params.dataset} {params.checksum} "
        "--output {output:q} >> {log:q} 2>&1"


rule subset:
    input:
        archives=lambda wildcards: PLAN.archives_to_fetch(
            wildcards.dataset, wildcards.seed
        ),
        remake=look_at_subset,
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
        mem_mb=lambda wildcards, attempt: attempt
        * PLAN.subset_memory(wildcards.dataset),
        runtime=lambda wildcards, attempt: attempt * 60,
    params:
        settings=lambda wildcards: spec.canonical_json(
            config["datasets"][wildcards.dataset]
        ),
        size=plain(lambda wildcards: PLAN.subset_size(wildcards.dataset)),
        version=catalog.SUBSET_VERSION,
        archive=lambda wildcards: " ".join(
            f"--archive {shlex.quote(path)}"
            for path in PLAN.archives(wildcards.dataset)
        ),
    shell:
        program("subset.py")
        + "--dataset {wildcards.dataset} --settings {params.settings:q} "
        "--seed {wildcards.seed} --size {params.size} {params.archive} --device cpu "
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
        settings=spec.canonical_json(config["datasets"]["dice"]),
        version=catalog.SUBSET_VERSION,
    shell:
        program("dice_parameters.py") + "--settings {params.settings:q} "
        "--output {output.parquet:q} --record {output.record:q} >> {log:q} 2>&1"

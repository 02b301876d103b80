# One job for all snapshots of a run, for a job a snapshot would spend most of its time starting.
rule decompose_run:
    input:
        manifest=f"{RESULTS}/{{folder}}/manifest.json",
        subset=before_decomposition,
    output:
        index=f"{RESULTS}/{{folder}}/decomposition/index.json",
    log:
        f"{RESULTS}/logs/decompose/{{folder}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/decompose/{{folder}}.tsv"
    conda:
        "../envs/eosflow.yaml"
    threads: config["threads"]
    resources:
        gpu=gpus,
        mem_mb=lambda wildcards, attempt: attempt * PLAN.memory(wildcards.folder),
        runtime=lambda wildcards, attempt: attempt
        * PLAN.decomposition_minutes(wildcards.folder),
    params:
        subset=lambda wildcards: PLAN.subset(wildcards.folder),
        folder=subpath(input.manifest, parent=True),
        key=lambda wildcards: RUNS[wildcards.folder].key,
        version=spec.DECOMPOSITION_VERSION,
    shell:
        numeric("decompose.py") + "--folder {params.folder:q} "
        "--subset {params.subset:q} --gpus {resources.gpu} "
        "--threads {threads} >> {log:q} 2>&1"


# Any one snapshot by name, such as results/dice-ce/n468/init0-subset0/decomposition/step000300.json
rule decompose_snapshot:
    input:
        manifest=plain(
            lambda wildcards: PLAN.manifest(wildcards.folder, wildcards.step)
        ),
        subset=plain(
            lambda wildcards: PLAN.subset_to_draw(
                wildcards.folder, f"decomposition/step{wildcards.step}.json"
            )
        ),
    output:
        f"{RESULTS}/{{folder}}/decomposition/step{{step}}.json",
    log:
        f"{RESULTS}/logs/decompose/{{folder}}/step{{step}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/decompose/{{folder}}/step{{step}}.tsv"
    conda:
        "../envs/eosflow.yaml"
    threads: config["threads"]
    resources:
        gpu=gpus,
        mem_mb=lambda wildcards, attempt: attempt * PLAN.memory(wildcards.folder),
        runtime=lambda wildcards, attempt: attempt * 30,
    params:
        subset=lambda wildcards: PLAN.subset(wildcards.folder),
        folder=subpath(input.manifest, parent=True),
        key=lambda wildcards: RUNS[wildcards.folder].key,
        version=spec.DECOMPOSITION_VERSION,
    shell:
        numeric("decompose.py") + "--folder {params.folder:q} "
        "--step {wildcards.step} --subset {params.subset:q} "
        "--gpus {resources.gpu} --threads {threads} >> {log:q} 2>&1"

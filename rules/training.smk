# The manifest is written last; snapshots, trajectory and checkpoint lie beside it undeclared,
# for Snakemake deletes what is declared before a job starts, and a run could not be resumed.
rule train:
    input:
        subset=before_training,
    output:
        manifest=f"{RESULTS}/{{folder}}/manifest.json",
    log:
        f"{RESULTS}/logs/train/{{folder}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{folder}}.tsv"
    conda:
        "../envs/eosflow.yaml"
    threads: config["threads"]
    resources:
        gpu=gpus,
        mem_mb=lambda wildcards, attempt: attempt * PLAN.memory(wildcards.folder),
        runtime=lambda wildcards, attempt: attempt
        * PLAN.training_minutes(wildcards.folder),
    params:
        spec=lambda wildcards: spec.canonical_json(RUNS[wildcards.folder].to_record()),
        subset=lambda wildcards: PLAN.subset(wildcards.folder),
        folder=subpath(output.manifest, parent=True),
        version=spec.TRAINING_VERSION,
    shell:
        numeric("train.py") + "--spec {params.spec:q} --subset {params.subset:q} "
        "--folder {params.folder:q} --gpus {resources.gpu} --threads {threads} "
        ">> {log:q} 2>&1"

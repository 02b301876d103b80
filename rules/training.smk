# The manifest is written last. Snapshots, trajectory and checkpoint lie beside it undeclared:
# Snakemake deletes declared outputs before a job starts, and a run could not be resumed.
rule train:
    input:
        plain(lambda wildcards: PLAN.jobs.before_training(wildcards.folder)),
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
        mem_mb=memory,
        runtime=lambda wildcards, attempt: attempt
        * needs.training_minutes(RUNS[wildcards.folder], config),
    params:
        spec=lambda wildcards: canonical_json(RUNS[wildcards.folder].to_brief()),
        subset=lambda wildcards: PLAN.subset(wildcards.folder),
        folder=subpath(output.manifest, parent=True),
        version=TRAINING_VERSION,
    shell:
        numeric("train.py") + "--spec {params.spec:q} --subset {params.subset:q} "
        "--folder {params.folder:q} --gpus {resources.gpu} --threads {threads} "
        ">> {log:q} 2>&1"

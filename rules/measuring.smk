# One job measures all snapshots of a run; jobs of one snapshot would take longer to start than to run.
# `place` is decomposition, or measurements/NAME.
rule measure:
    input:
        manifest=f"{RESULTS}/{{folder}}/manifest.json",
        others=plain(
            lambda wildcards: PLAN.before_measuring(wildcards.folder, wildcards.place)
        ),
    output:
        index=f"{RESULTS}/{{folder}}/{{place}}/index.json",
    log:
        f"{RESULTS}/logs/measure/{{folder}}/{{place}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure/{{folder}}/{{place}}.tsv"
    conda:
        "../envs/eosflow.yaml"
    threads: config["threads"]
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=lambda wildcards, attempt: attempt
        * needs.measuring_minutes(RUNS[wildcards.folder], config),
    params:
        subset=lambda wildcards: PLAN.subset(wildcards.folder),
        folder=subpath(input.manifest, parent=True),
        key=lambda wildcards: RUNS[wildcards.folder].key,
        measurement=lambda wildcards: canonical_json(
            PLAN.measured(wildcards.folder, wildcards.place)
        ),
        version=lambda wildcards: PLAN.measurement(
            wildcards.folder, wildcards.place
        ).version,
    shell:
        numeric("measure.py") + "--folder {params.folder:q} "
        "--measurement {params.measurement:q} --subset {params.subset:q} "
        "--gpus {resources.gpu} --threads {threads} >> {log:q} 2>&1"


# Any one snapshot by name, such as results/dice-ce/n468/init0-subset0/decomposition/step000300.json
rule measure_snapshot:
    input:
        manifest=f"{RESULTS}/{{folder}}/manifest.json",
        others=plain(
            lambda wildcards: PLAN.before_one_snapshot(
                wildcards.folder, wildcards.place, wildcards.step
            )
        ),
    output:
        f"{RESULTS}/{{folder}}/{{place}}/step{{step}}.json",
    log:
        f"{RESULTS}/logs/measure/{{folder}}/{{place}}/step{{step}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure/{{folder}}/{{place}}/step{{step}}.tsv"
    conda:
        "../envs/eosflow.yaml"
    threads: config["threads"]
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=lambda wildcards, attempt: attempt * 30,
    params:
        subset=lambda wildcards: PLAN.subset(wildcards.folder),
        folder=subpath(input.manifest, parent=True),
        key=lambda wildcards: RUNS[wildcards.folder].key,
        measurement=lambda wildcards: canonical_json(
            PLAN.measured(wildcards.folder, wildcards.place)
        ),
        version=lambda wildcards: PLAN.measurement(
            wildcards.folder, wildcards.place
        ).version,
    shell:
        numeric("measure.py") + "--folder {params.folder:q} "
        "--measurement {params.measurement:q} --step {wildcards.step} "
        "--subset {params.subset:q} --gpus {resources.gpu} --threads {threads} "
        ">> {log:q} 2>&1"

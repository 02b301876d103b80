# A run lies in RESULTS/runs/KEY, undeclared: Snakemake deletes declared outputs before a job starts,
# and a run could not be resumed. What is declared are links and a note in EXP/nN/RUN, which the job
# makes last and which are there if and only if what they stand for is whole.


# One process trains a run and takes all its measurements: most take less than a process to start.
rule train:
    input:
        exit_on_user_error(lambda wildcards: ASK.before_measuring(wildcards.folder)),
    output:
        f"{RESULTS}/{{folder}}/manifest.json",
        f"{RESULTS}/{{folder}}/measured.json",
    log:
        f"{RESULTS}/logs/train/{{folder}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{folder}}.tsv"
    wildcard_constraints:
        folder=rf"(?!({TRAINED})/){FOLDER}" if TRAINED else FOLDER,
    conda:
        "../envs/eosflow.yaml"
    threads: config["threads"]
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=minutes,
    shell:
        numeric("train", "{wildcards.folder:q}")


# What has been trained already: with a measurement, or a setting of one, that is new.
rule measure:
    input:
        exit_on_user_error(lambda wildcards: ASK.before_measuring(wildcards.folder)),
    output:
        f"{RESULTS}/{{folder}}/measured.json",
    log:
        f"{RESULTS}/logs/measure/{{folder}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure/{{folder}}.tsv"
    wildcard_constraints:
        folder=TRAINED or NONE,
    conda:
        "../envs/eosflow.yaml"
    threads: config["threads"]
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=minutes,
    shell:
        numeric("measure", "{wildcards.folder:q}")


# Any one snapshot by name, such as results/dice-ce/n468/init0-subset0/decomposition/step000300.json
rule measure_snapshot:
    input:
        f"{RESULTS}/{{folder}}/manifest.json",
        exit_on_user_error(
            lambda wildcards: ASK.before_one_snapshot(
                wildcards.folder, wildcards.view, wildcards.step
            )
        ),
    output:
        f"{RESULTS}/{{folder}}/{{view}}/step{{step}}.json",
    log:
        f"{RESULTS}/logs/measure/{{folder}}/{{view}}/step{{step}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure/{{folder}}/{{view}}/step{{step}}.tsv"
    conda:
        "../envs/eosflow.yaml"
    threads: config["threads"]
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=lambda wildcards, attempt: attempt * 30,
    shell:
        numeric("measure", "{wildcards.folder:q} {wildcards.view} {wildcards.step}")


# With `keep_snapshots: false`: the weight snapshots go when all is measured of them.
rule discard:
    input:
        f"{RESULTS}/{{folder}}/measured.json",
    output:
        f"{RESULTS}/{{folder}}/cleaned.json",
    log:
        f"{RESULTS}/logs/discard/{{folder}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/discard/{{folder}}.tsv"
    priority: 1  # what frees them goes before what makes more of them
    conda:
        "../envs/eosflow.yaml"
    shell:
        job("discard", "{wildcards.folder:q}")

# A run lies in RESULTS/runs/KEY, undeclared: Snakemake deletes declared outputs before a job starts,
# and a run could not be resumed. What is declared are links and a note in EXP/nN/RUN, which the job
# makes last and which are there if and only if what they stand for is whole.
rule train:
    input:
        plain(lambda wildcards: ASK.before_training(wildcards.folder)),
    output:
        f"{RESULTS}/{{folder}}/manifest.json",
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
        * needs.training_minutes(PLAN.runs[wildcards.folder], config),
    shell:
        numeric("train", "{wildcards.folder:q}")


# One job takes all measurements of all snapshots of a run: most take less than a job takes to start.
rule measure:
    input:
        f"{RESULTS}/{{folder}}/manifest.json",
        plain(lambda wildcards: ASK.before_measuring(wildcards.folder)),
    output:
        f"{RESULTS}/{{folder}}/measured.json",
    log:
        f"{RESULTS}/logs/measure/{{folder}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure/{{folder}}.tsv"
    # Where snapshots are deleted, what frees them goes before what makes more of them.
    priority: 0 if config["keep_snapshots"] else 1
    conda:
        "../envs/eosflow.yaml"
    threads: config["threads"]
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=lambda wildcards, attempt: attempt
        * len(PLAN.measured_of(wildcards.folder))
        * needs.measuring_minutes(PLAN.runs[wildcards.folder], config),
    shell:
        numeric("measure", "{wildcards.folder:q}")


# Any one snapshot by name, such as results/dice-ce/n468/init0-subset0/decomposition/step000300.json
rule measure_snapshot:
    input:
        f"{RESULTS}/{{folder}}/manifest.json",
        plain(
            lambda wildcards: ASK.before_one_snapshot(
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
    shell:
        numeric("measure", "{wildcards.folder:q} {wildcards.place} {wildcards.step}")


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
    priority: 0 if config["keep_snapshots"] else 1
    conda:
        "../envs/eosflow.yaml"
    shell:
        job("discard", "{wildcards.folder:q}")

import re

# Where snapshots are deleted, what frees them goes before what makes more of them.
MEASURING_FIRST = 0 if config["keep_snapshots"] else 1


MEASURE = (
    numeric("measure.py") + "--folder {params.folder:q} "
    "--measurement {params.measurement:q} --subset {params.subset:q} "
    "--gpus {resources.gpu} --threads {threads} >> {log:q} 2>&1"
)


BY_ITSELF = r"[^/]+/n\d+/[^/]+"  # a folder with one measurement of its own
if TOGETHER:
    joined = "|".join(re.escape(each) for of in TOGETHER.values() for each in of)
    BY_ITSELF = rf"(?!(?:{joined})/n\d+/[^/]+/measurements/){BY_ITSELF}"


# One job measures all snapshots of a run; jobs of one snapshot would take longer to start than to run.
# `place` is decomposition, or measurements/NAME.
rule measure:
    input:
        manifest=f"{RESULTS}/{{folder}}/manifest.json",
        others=plain(
            lambda wildcards: PLAN.jobs.before_measuring(
                wildcards.folder, [wildcards.place]
            )
        ),
    output:
        index=f"{RESULTS}/{{folder}}/{{place}}/index.json",
    log:
        f"{RESULTS}/logs/measure/{{folder}}/{{place}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure/{{folder}}/{{place}}.tsv"
    wildcard_constraints:
        folder=BY_ITSELF,
    priority: MEASURING_FIRST
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
        measurement=lambda wildcards: PLAN.jobs.measured(
            wildcards.folder, [wildcards.place]
        ),
        version=lambda wildcards: PLAN.measurement(
            wildcards.folder, wildcards.place
        ).version,
    shell:
        MEASURE


for names, experiments in TOGETHER.items():

    rule:
        name:
            job_of(names)
        input:
            manifest=f"{RESULTS}/{{folder}}/manifest.json",
            others=plain(
                lambda wildcards: PLAN.jobs.before_measuring(
                    wildcards.folder, PLAN.jobs.beside(wildcards.folder)
                )
            ),
        output:
            expand(
                f"{RESULTS}/{{{{folder}}}}/measurements/{{name}}/index.json",
                name=names,
            ),
        log:
            f"{RESULTS}/logs/measure/{{folder}}/measurements.log",
        benchmark:
            f"{RESULTS}/benchmarks/measure/{{folder}}/measurements.tsv"
        wildcard_constraints:
            folder=rf"(?:{'|'.join(map(re.escape, experiments))})/n\d+/[^/]+",
        priority: MEASURING_FIRST
        conda:
            "../envs/eosflow.yaml"
        threads: config["threads"]
        resources:
            gpu=gpus,
            mem_mb=memory,
            runtime=lambda wildcards, attempt: attempt
            * len(PLAN.jobs.beside(wildcards.folder))
            * needs.measuring_minutes(RUNS[wildcards.folder], config),
        params:
            subset=lambda wildcards: PLAN.subset(wildcards.folder),
            folder=subpath(input.manifest, parent=True),
            key=lambda wildcards: RUNS[wildcards.folder].key,
            measurement=lambda wildcards: PLAN.jobs.measured(
                wildcards.folder, PLAN.jobs.beside(wildcards.folder)
            ),
            version=lambda wildcards: [
                PLAN.measurement(wildcards.folder, place).version
                for place in PLAN.jobs.beside(wildcards.folder)
            ],
        shell:
            MEASURE


# Any one snapshot by name, such as results/dice-ce/n468/init0-subset0/decomposition/step000300.json
rule measure_snapshot:
    input:
        manifest=f"{RESULTS}/{{folder}}/manifest.json",
        others=plain(
            lambda wildcards: PLAN.jobs.before_one_snapshot(
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
        measurement=lambda wildcards: PLAN.jobs.measured(
            wildcards.folder, [wildcards.place]
        ),
        version=lambda wildcards: PLAN.measurement(
            wildcards.folder, wildcards.place
        ).version,
    shell:
        MEASURE.replace(">>", "--step {wildcards.step} >>")


# With `keep_snapshots: false`: the weight snapshots go when all is measured of them.
rule discard:
    input:
        plain(lambda wildcards: PLAN.jobs.measured_files(wildcards.folder)),
    output:
        note=f"{RESULTS}/{{folder}}/{CLEANED}",
    log:
        f"{RESULTS}/logs/discard/{{folder}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/discard/{{folder}}.tsv"
    priority: MEASURING_FIRST
    conda:
        "../envs/eosflow.yaml"
    params:
        folder=subpath(output.note, parent=True),
        measurements=lambda wildcards: list(PLAN.measured_of(wildcards.folder)),
    shell:
        program("discard.py") + "--folder {params.folder:q} "
        "--measurements {params.measurements:q} >> {log:q} 2>&1"

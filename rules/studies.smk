# Studies of the method itself. They have a problem of their own, so nothing of the configuration enters.
rule work_precision:
    output:
        csv=f"{RESULTS}/studies/work-precision/table.csv",
        record=f"{RESULTS}/provenance/studies/work-precision/table.json",
    log:
        f"{RESULTS}/logs/studies/work-precision.log",
    benchmark:
        f"{RESULTS}/benchmarks/studies/work-precision.tsv"
    conda:
        "../envs/eosflow.yaml"
    threads: 1
    params:
        version=STUDIES_VERSION,
    shell:
        KEEP_MEMORY + program("work_precision.py") + "--threads {threads} "
        "--output {output.csv:q} --record {output.record:q} >> {log:q} 2>&1"

# Studies of the method itself. They have a problem of their own, so nothing of the configuration enters.
rule study:
    output:
        csv=f"{RESULTS}/studies/{{study}}/table.csv",
        record=f"{RESULTS}/provenance/studies/{{study}}/table.json",
    log:
        f"{RESULTS}/logs/studies/{{study}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/studies/{{study}}.tsv"
    wildcard_constraints:
        study="|".join(STUDIES),
    conda:
        "../envs/eosflow.yaml"
    threads: 1
    params:
        version=STUDIES_VERSION,
    shell:
        KEEP_MEMORY + program("study.py") + "{wildcards.study} --threads {threads} "
        "--output {output.csv:q} --record {output.record:q} >> {log:q} 2>&1"

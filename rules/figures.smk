rule figure:
    input:
        decomposition=rules.collect.output.decomposition,
        runs=rules.collect.output.runs,
        record=rules.collect.output.record,
        dice=plain(lambda wildcards: PLAN.figure_subset_to_draw(wildcards.figure)),
    output:
        pdf=f"{RESULTS}/figures/{{figure}}.pdf",
        png=report(
            f"{RESULTS}/figures/{{figure}}.png",
            caption="captions/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        record=f"{RESULTS}/provenance/figures/{{figure}}.json",
    log:
        f"{RESULTS}/logs/figures/{{figure}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/{{figure}}.tsv"
    conda:
        "../envs/eosflow.yaml"
    params:
        against=config["figures"]["against"],
        version=figures.FIGURES_VERSION,
        caption=lambda wildcards: figures.NAMES[wildcards.figure].caption,
        dice=lambda wildcards: PLAN.figure_subset_option(wildcards.figure),
    shell:
        program("figure.py")
        + "{wildcards.figure} --decomposition {input.decomposition:q} "
        "--runs {input.runs:q} {params.dice} --against {params.against} "
        "--source-record {input.record:q} --pdf {output.pdf:q} --png {output.png:q} "
        "--record {output.record:q} >> {log:q} 2>&1"
